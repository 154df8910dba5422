"""Test that each command prints the target line in the right place.

The target line names the profile, the database and the brokers.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.money import refused_money
from ticketbottle_payctl.cli.app.registry import COMMANDS
from ticketbottle_payctl.sandbox.callbacks import environment
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(240)]

ORDER, RUN = "TB-PLACE-20261129-8D39986M", "5d0c7a12-0f6b-4c86-8d0a-1e2f3a4b5c6d"
CALLBACK = f"simulate momo paid --order-code {ORDER}"

BELOW_FIRST_LINE = [
    "stats", "stats --check", "stats --since 1h", "doctor --only database", "doctor --fix-published-flags -n",
    "list outbox", "list outbox --failed --since 1d", "list outbox --wide", "list payments", "list receipts",
    "list receipts --result settled", f"show {ORDER}", "show TB-PLACE", "errors", "runs list", f"runs show {RUN}",
    f"runs resume {RUN} --no-input", "report", "reconcile payments --provider payos -n", "reconcile outbox",
    "db status", "db upgrade -n", "publish-outbox -n", "cleanup -n", f"close {ORDER} -n --reason x", "cdc mark -n",
    "cdc cut-over", "cdc cut-back", "replay --failed -n",
]  # fmt: skip
"""Commands that change nothing. They print the target line below the first line of the answer, which may wrap."""
BELOW_PLAN = [
    "replay --failed --no-input", "replay --failed -y", "cleanup --older-than 1d --no-input",
    f"close {ORDER} --no-input --reason x", "doctor --fix-published-flags --no-input",
]  # fmt: skip
"""Commands that show a plan before a change. They print the target line below the plan's first line."""
BEFORE_CHANGE = [
    "db upgrade", "cleanup", "publish-outbox", f"close {ORDER} -y --reason x", f"runs cancel {RUN}",
    f"{CALLBACK} --to process-webhook", "process-webhook - --provider momo",
]  # fmt: skip
"""Commands that change data without a plan. They print the target line first, because payctl has no answer yet."""
ABOVE_DOCUMENT = [CALLBACK, "stats --prometheus"]
"""Commands that print a document for another program. They print the target line above the document."""
WITHOUT = {
    "verify-signature", "gateways list", "gateways register-webhook", "config show", "config path", "config validate",
    "cdc config", "schema", "completion", "version", "help", "demo",
}  # fmt: skip
"""Commands that do not use a configured database. They do not print a target line."""
A_SERVER = {"listen"}


@pytest.fixture
def world(engine, database_url, mock_kafka):
    """Insert one or more rows of each kind, and return the environment for payctl."""
    with engine.begin() as connection:
        order = insert_payment(connection, provider="MOMO", order_code=ORDER, amount=320_000, age=timedelta(minutes=5))
        refused_money(connection, order)
        insert_events(connection, 2, state="dead", last_error="timeout", age=timedelta(hours=3))
        insert_events(connection, 2, state="published", age=timedelta(days=3))
        insert_events(connection, 1, state="sent_unmarked", age=timedelta(hours=1))
        insert_payments_of_events(connection)
        runs.start(connection, NewRun(RUN, "replay", Actor("an", "here")))
    return {**environment(), "DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}


@pytest.fixture
def place(world, terminal):
    """Return a function that runs a command and returns how many rows of text are above the target line.

    A folded row counts once.
    """

    def find(command):
        with terminal(*command.split(), columns=100, lines=100, **world) as it:
            if " - " in command:
                it.press(b"{}\n\x04")
            it.finish()
            rows = it.text().splitlines()
        rows = [row for row in rows if row != "{}"]
        places = [number for number, row in enumerate(rows) if row.startswith("profile none · database 127.0.0.1:")]
        assert len(places) == 1, "\n".join([command, *rows])
        return sum(not row.startswith(" ") for row in rows[: places[0]])

    return find


def test_every_command_is_in_a_table():
    """Each command is in one of this file's tables."""
    tables = (*BELOW_FIRST_LINE, *BELOW_PLAN, *BEFORE_CHANGE, *ABOVE_DOCUMENT)
    named = {command.name for command in COMMANDS}
    seen = {name for name in named if any(f"{each} ".startswith(f"{name} ") for each in tables)}
    assert named - seen == WITHOUT | A_SERVER


@pytest.mark.parametrize("part", [0, 1, 2])
def test_the_line_is_below_the_first_line_of_an_answer(place, part):
    """A command that changes nothing prints the target line below the first line of its answer or its error."""
    commands = BELOW_FIRST_LINE[part::3]
    assert {command: place(command) for command in commands} == dict.fromkeys(commands, 1)


def test_the_line_is_below_the_first_line_of_a_plan(place):
    """A command that shows a plan prints the target line directly below the first line of the plan."""
    assert {command: place(command) for command in BELOW_PLAN} == dict.fromkeys(BELOW_PLAN, 1)


@pytest.mark.parametrize("commands", [BEFORE_CHANGE, ABOVE_DOCUMENT], ids=["change", "document"])
def test_the_line_is_above_a_change_without_a_plan_and_above_a_document(place, commands):
    """The target line comes first if a command changes data without a plan, or if it prints a document."""
    assert {command: place(command) for command in commands} == dict.fromkeys(commands, 0)


def test_a_server_prints_the_line_below_its_address(world, terminal):
    """`payctl listen` prints the target line below the addresses that it listens on."""
    with terminal("listen", "--port", "0", columns=150, **world) as it:
        it.wait_for("stop with Ctrl-C")
        rows = it.picture().splitlines()
        it.end()
    assert rows[0].startswith("listening")
    assert rows[1].startswith("profile none · database 127.0.0.1:")


def test_without_a_configured_database_nothing_is_changed(process, world):
    """Without DATABASE_URL, `publish-outbox` exits with 3, and the target line says that the database is not set."""
    del world["DATABASE_URL"]
    shown = process("publish-outbox", **world)
    assert shown.returncode == 3
    assert shown.stderr.splitlines()[0].startswith("error[CONFIG]: ")
    assert shown.stderr.splitlines()[1].startswith("profile none · database not set · brokers 127.0.0.1:")
