"""Test that all commands show instants, durations, amounts, counts, rates and gateways in the same format."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from ticketbottle_payctl.cli.app.registry import COMMANDS
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(240)]

ORDER = "TB-FORMS-20261129-8D39986M"
ZALOPAY = "TB-FORMS-20261129-2C114F0B"
RUN = "5d0c7a12-0f6b-4c86-8d0a-1e2f3a4b5c6d"
ZONE = "Asia/Ho_Chi_Minh"
OFFSET = "+07:00"

LOOKS = [
    "stats", "stats --by type", "stats --by status", "stats --by provider", "stats --by error", "stats --check",
    "stats --wait pending=0 --timeout 200ms", "stats -w --interval 200ms",
    "doctor", "list outbox", "list payments", "list receipts", "list outbox --wide",
    f"show {ORDER}", f"show {ZALOPAY}", "errors", "runs list", f"runs show {RUN[:8]}",
    "reconcile outbox --since 3d", "gateways list", "config show", "config validate", "db status",
    "replay --failed -n", "publish-outbox -n", "cleanup -n --older-than 1d", "cdc mark -n", "db upgrade -n",
    "verify-signature --example zalopay", "verify-signature --example zalopay --tamper data.amount",
    "simulate momo paid --to process-webhook --order-code " + ORDER,
    "process-webhook -n - --provider momo", "help times", "help exit-codes", "version",
]  # fmt: skip
CHANGES = ["publish-outbox", "replay --failed -y", "cleanup --older-than 1d -y", "runs list", "stats"]
FOR_PROGRAMS = {"schema", "completion", "cdc config", "config path"}
"""Commands whose output is meant for another program."""
NOT_RUN = {
    "demo": "has its own tests and its own servers",
    "report": "is Markdown, and its commands name exact instants",
    "listen": "a server",
    "reconcile payments": "asks the gateways",
    "gateways register-webhook": "calls PayOS",
    "close": "prints what show prints",
    "runs resume": "prints what replay prints",
    "runs cancel": "has no figures",
    "cdc cut-over": "needs logical replication",
    "cdc cut-back": "needs logical replication",
}

FORBIDDEN = {
    "an instant for programs": r"\d{4}-\d\d-\d\dT\d\d:\d\d",
    "an instant with microseconds": r"\d\d:\d\d:\d\d\.\d{4,}",
    "an instant in another zone": r"\d\d:\d\d:\d\d(\.\d+)?(Z| ?[+-](?!07:00)\d\d:\d\d)",
    "a count that does not agree": r"\b1 (events|payments|callbacks|rows|times|tries|batches|runs|messages|brokers)\b",
    "a count of several in the singular": r"\b([2-9]|\d\d+) (event|payment|callback|row|batch|run|message|broker)\b",
    "scientific notation": r"(?<![-\w])\d(\.\d+)?[eE][+-]?\d\d(?![-\w])",
    "a duration as a clock": r"(?<![\d:-])0:\d\d(:\d\d)?\b",
    "a duration as Python writes it": r"\b\d+ days?,|timedelta|datetime\.",
    "a gateway in another case": r"(?<![\w/.-])(?!ZaloPay|PayOS|VNPay|MoMo)(?i:zalopay|payos|vnpay|momo)(?![\w.:-])",
    "money without separators": r"\b\d{4,} VND",
    "money with decimals": r"\d\.\d+ VND",
    "a long decimal": r"\d\.\d{4,}\b",
    "None": r"\bNone\b",
}
WINDOW = re.compile(r"\(\d{4}-\d\d-\d\dT[\d:.]+Z\)")
"""A pattern that matches the UTC part of a time window. payctl shows this part in parentheses after the local time."""


@pytest.fixture
def world(engine, database_url, mock_kafka, process):
    """Insert one or more rows of each kind, and return the environment for payctl."""
    with engine.begin() as connection:
        order = insert_payment(connection, provider="MOMO", order_code=ORDER, amount=7_200_000, age=timedelta(hours=5))
        late = insert_payment(connection, provider="ZALOPAY", order_code=ZALOPAY, amount=450_000)
        insert_events(connection, 1, state="dead", last_error="KafkaJSConnectionError: timeout", age=timedelta(hours=3))
        insert_events(connection, 2, event_type="PAYMENT_FAILED", state="dead", last_error="another error")
        insert_events(connection, 1, event_type="PAYMENT_CANCELLED", age=timedelta(days=2))
        insert_events(connection, 1200, state="published", age=timedelta(days=3))
        insert_events(connection, 1, state="published", age=timedelta(seconds=30))
        insert_payments_of_events(connection)
        runs.start(connection, NewRun(RUN, "reconcile payments", Actor("an", "here"), reason="a night in November"))
    settings = {**environment(), "DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}
    for payment, scenario in ((order, Scenario.WRONG_AMOUNT), (late, Scenario.PAID)):
        body = callback(payment, scenario).body.decode()
        process("process-webhook", "-", "--provider", payment.provider.lower(), stdin=body, **settings)
    return settings


def seen(command, world, terminal):
    """Return the text that a command shows on a terminal."""
    with terminal(*command.split(), "--tz", ZONE, **world) as it:
        if " -w" in command:
            it.wait_for("/s")
            text = it.picture()
            it.end()
            return text
        if " - " in command:
            it.press(b"{}\n\x04")
        it.finish()
        return it.text()


def prose(text):
    """Return the text without suggested commands, variables, JSON, or time windows in UTC."""
    text = re.sub(r"\n {8,}(?=\S)", " ", WINDOW.sub("", text))
    kept = [line for line in text.splitlines() if not re.search(r"payctl \w|[A-Z]+_[A-Z_]+|[{}]|^ *--", line)]
    return "\n".join(re.sub(r"'[^']*'|`[^`]*`", "", line) for line in kept)


def test_every_command_is_run_here():
    """Every command is in one of this file's tables. NOT_RUN gives the reason why a command is not run."""
    named = {command.name for command in COMMANDS}
    run = {name for name in named if any(f"{look} ".startswith(f"{name} ") for look in (*LOOKS, *CHANGES))}
    assert named - run == FOR_PROGRAMS | set(NOT_RUN)


@pytest.mark.parametrize("commands", [LOOKS[:12], LOOKS[12:24], LOOKS[24:], CHANGES], ids=["a", "b", "c", "changes"])
def test_each_kind_of_value_has_one_format(commands, world, terminal):
    """Every command shows instants, durations, amounts, counts and gateways in the documented formats."""
    found = []
    for command in commands:
        text = seen(command, world, terminal)
        found += [
            f"{command}: {what}: {line.strip()}"
            for what, pattern in FORBIDDEN.items()
            for line in prose(text).splitlines()
            if re.search(pattern, line) and not (command == "help times" and "instant" in what)
        ]
        assert text, command
        assert "error[INTERNAL]" not in text, command
    assert not found, "\n".join(found)


@pytest.mark.parametrize("width", [80, 200])
def test_first_lines_fit_and_give_the_answer(width, world, terminal):
    """The first line of each command's output gives the result in at most 80 columns.

    Only one other line names the database.
    """
    for command in ("stats", "doctor", f"show {ORDER}", f"show {ZALOPAY}", "errors", "runs list", "list outbox"):
        with terminal(*command.split(), columns=width, **world) as it:
            it.finish()
            lines = it.text().splitlines()
            assert len(lines[0]) <= (width if command == "list outbox" else 80)
            assert not lines[0].startswith("profile ")
            places = [line for line in lines if line.startswith("profile none · database 127.0.0.1:")]
            assert len(places) == 1, command
            assert max(map(len, lines)) <= width
