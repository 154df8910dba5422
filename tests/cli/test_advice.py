"""Test that the commands in payctl's output work when pasted, with and without a guarded profile."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from datetime import timedelta

import pytest

from tests.cli.money import refused_money
from ticketbottle_payctl.formats import PLACEHOLDER
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events

pytestmark = pytest.mark.postgres
COMMAND = re.compile(r"(?:^|\t|  )(payctl [a-z].*)$", re.MULTILINE)
ADDED = re.compile(r"then add (--.*)$", re.MULTILINE)
"""The options that a refusal's hint adds to the command."""

ASKING = ("replay", "runs resume", "reconcile payments", "close")
"""Commands that ask for confirmation. The test adds --yes, because its shell cannot answer questions."""

ACCEPTED = {0, 4, 5, 6, 10}
"""The exit codes that a suggested command may have.

They mean done, unavailable, negative result, partly done, and timed out.
"""

PROFILES = {
    "no profile": "",
    "protected with a cap": "protected = true\nmax_affected = 1",
}
BASH = shutil.which("bash") or "/bin/sh"
CODE = "TB-IT'S ODD $(x)-1D25"


def dead(connection, count=1, **more):
    """Insert dead events that a replay can repair."""
    insert_events(connection, count, state="dead", age=timedelta(hours=1), **more)
    insert_payments_of_events(connection)


def one(connection):
    """Return the order code of the only payment."""
    return connection.exec_driver_sql('SELECT "orderCode" FROM payments').scalar_one()


def dead_with_blanks(connection):
    """Insert a dead event whose id begins with a hyphen and contains spaces."""
    dead(connection)
    connection.exec_driver_sql("UPDATE outbox SET id = '-- of hand'")
    return one(connection)


def blocked(connection):
    """Insert a success event that is blocked by a dead failure event of the same payment."""
    insert_events(connection, 1, state="dead", event_type="PAYMENT_FAILED", age=timedelta(hours=2), aggregates=1)
    dead(connection)
    first = 'SELECT "aggregateId" FROM outbox ORDER BY "createdAt" LIMIT 1'
    connection.exec_driver_sql(f'UPDATE outbox SET "aggregateId" = ({first})')  # noqa: S608
    connection.exec_driver_sql('UPDATE outbox SET "retryCount" = 0 WHERE "eventType" = \'PAYMENT_COMPLETED\'')
    connection.exec_driver_sql(f"DELETE FROM payments WHERE id <> ({first})")  # noqa: S608
    connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
    return one(connection)


def pending(connection, age):
    """Insert a pending event."""
    insert_events(connection, 1, age=age)
    insert_payments_of_events(connection)
    return one(connection)


def published(connection):
    """Insert a published event."""
    insert_events(connection, 1, state="published", age=timedelta(hours=1))
    insert_payments_of_events(connection)
    return one(connection)


def unpaid(connection):
    """Insert an order whose callback never arrived."""
    return insert_payment(connection, provider="MOMO", order_code=CODE, age=timedelta(hours=2)).order_code


def wrong_amount(connection):
    """Insert an order whose payment needs manual review."""
    payment = insert_payment(connection, provider="MOMO", order_code=CODE, age=timedelta(hours=2), status="COMPLETED")
    refused_money(connection, payment)
    return payment.order_code


SCREENS = {
    "show: closed by an operator": (lambda c: ["show", wrong_amount(c)], 1),
    "publish-outbox: blocked": (lambda c: blocked(c) and ["publish-outbox"], 1),
    "publish-outbox: a harmless dead event": (
        lambda c: dead(c, 1, event_type="PAYMENT_FAILED", last_error="x") or ["publish-outbox"], 1),
    "publish-outbox: planned": (lambda c: pending(c, timedelta(hours=1)) and ["publish-outbox", "-n"], 1),
    "stats: overdue": (lambda c: pending(c, timedelta(hours=1)) and ["stats"], 1),
    "doctor: overdue": (lambda c: pending(c, timedelta(hours=1)) and ["doctor", "--only", "backlog"], 1),
    "show: dead": (lambda c: dead(c) or ["show", one(c)], 1),
    "show: an odd id": (lambda c: ["show", dead_with_blanks(c)], 1),
    "show: blocked": (lambda c: ["show", blocked(c)], 1),
    "show: waiting": (lambda c: ["show", pending(c, timedelta(seconds=5))], 1),
    "show: overdue": (lambda c: ["show", pending(c, timedelta(hours=1))], 1),
    "show: published": (lambda c: ["show", published(c)], 1),
    "show: no callback": (lambda c: ["show", unpaid(c)], 1),
    "errors": (lambda c: dead(c, 3, last_error="it's odd") or ["errors"], 2),
    "errors: superseded": (
        lambda c: dead(c, 2, event_type="PAYMENT_FAILED", last_error="x")
        or (c.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'") and ["errors", "--failed"]),
        1,
    ),
    "replay: an order code": (lambda c: dead(c, 1) or ["replay", one(c), "-n"], 1),
    "replay: a published order code": (lambda c: ["replay", published(c), "-n"], 1),
    "replay: requeued": (lambda c: dead(c, 3) or ["replay", "--failed", "-y"], 1),
    "replay: stopped": (
        lambda c: dead(c, 3) or ["replay", "--failed", "-y", "--canary", "1", "--canary-timeout", "1ms"], 1),
    "replay: planned": (lambda c: dead(c, 3) or ["replay", "--failed", "--plan-out", "plan file"], 1),
}  # fmt: skip


@pytest.fixture
def shell(tmp_path, database_url, mock_kafka, payctl_path):
    """Return a function that runs a line in bash. The line can use payctl and a profile named prod."""

    def run(line, guard):
        url = json.dumps(database_url)
        (tmp_path / "config.toml").write_text(
            f"[profiles.prod]\nDATABASE_URL = {url}\n[profiles.prod.guard]\n{guard}\n"
        )
        environment = {**os.environ, "KAFKA_BROKERS": mock_kafka.bootstrap, "XDG_CONFIG_HOME": str(tmp_path / "none")}
        environment |= {"PATH": payctl_path, "MOMO_PARTNER_CODE": "x"}
        environment |= {"MOMO_ACCESS_KEY": "x", "MOMO_SECRET_KEY": "x", "PAYCTL_MOMO_URL": "http://127.0.0.1:1"}
        if not guard:
            environment["DATABASE_URL"] = database_url
        return subprocess.run(
            [BASH, "-c", line], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )

    return run


def typed(arguments, guard):
    """Return the given arguments with the options that the profile's guard requires."""
    changes = "-y" in arguments or arguments == ["publish-outbox"]
    words = ["-p", "prod", "--config", "config.toml"] if guard else []
    words += ["--max-affected", "9"] if "max_affected" in guard and "-y" in arguments else []
    words += ["--reason", "night shift", "--confirm", "prod"] if "protected" in guard and changes else []
    return [*arguments, *words]


def as_pasted(command):
    """Return the command to paste, with -y if the command asks for confirmation."""
    asks = command.removeprefix("payctl ").startswith(ASKING)
    return (
        command.replace("payctl replay", "payctl replay -y", 1)
        if asks and " -- " in command
        else (f"{command} -y" if asks else command)
    )


@pytest.mark.parametrize("guard", PROFILES)
@pytest.mark.parametrize("screen", SCREENS)
def test_an_advised_command_is_accepted_when_it_is_pasted(engine, shell, screen, guard):
    """Each command that payctl suggests works if a user pastes the commands in the printed order."""
    prepare, least = SCREENS[screen]
    with engine.begin() as connection:
        arguments = prepare(connection)
    rules = PROFILES[guard]
    seen = shell(shlex.join(["payctl", *typed(arguments, rules)]), rules)
    advised = COMMAND.findall(seen.stdout)
    assert len(advised) >= least, seen.stdout + seen.stderr
    for command in advised:
        accept(shell, as_pasted(command), rules)


def accept(shell, command, rules):
    """Check that a pasted command works.

    payctl must refuse a command with a placeholder until the placeholder is replaced.
    """
    if PLACEHOLDER in shlex.split(command):
        refused = shell(command, rules)
        assert (refused.returncode, f"{PLACEHOLDER} is a placeholder" in refused.stderr) == (2, True), refused.stderr
        command = command.replace(f"--reason {PLACEHOLDER}", "--reason 'night shift'")
    result = shell(command, rules)
    assert result.returncode in ACCEPTED, f"{command}: {result.returncode}\n{result.stdout}{result.stderr}"


# a command that is refused, because the profile needs more options
REFUSED = {
    "replay": lambda c: dead(c, 1) or ["replay", "--failed"],
    "close": lambda c: ["close", wrong_amount(c)],
    "publish-outbox": lambda c: pending(c, timedelta(hours=1)) and ["publish-outbox"],
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_options_of_a_hint_are_accepted_when_they_are_pasted(engine, shell, name):
    """The options in a refusal's hint complete the command once a person has replaced the placeholder."""
    rules = PROFILES["protected with a cap"]
    with engine.begin() as connection:
        command = shlex.join(["payctl", *REFUSED[name](connection), "-p", "prod", "--config", "config.toml"])
    refused = shell(command, rules)
    (options,) = ADDED.findall(refused.stderr)
    assert (refused.returncode, f"--reason {PLACEHOLDER}" in options) == (7, True)
    accept(shell, f"{command} {options}", rules)


def test_payctl_has_one_placeholder_for_a_reason(engine, shell):
    """`payctl show`, hints and `--help` use the same placeholder for the reason that a person must give."""
    with engine.begin() as connection:
        order = wrong_amount(connection)
    assert f"--reason {PLACEHOLDER}" in shell(f"payctl show {shlex.quote(order)}", "").stdout
    assert re.search(rf"--reason\s+{PLACEHOLDER}\b", shell("payctl close --help", "").stdout)


@pytest.mark.parametrize("guard", PROFILES)
def test_the_advised_command_of_a_stopped_run_resumes_it(engine, shell, guard):
    """Each command that `payctl runs show` suggests for a stopped run works, and the last one resumes the run."""
    with engine.begin() as connection:
        dead(connection, 3)
    rules = PROFILES[guard]
    start = ["replay", "--failed", "-y", "--canary", "1", "--canary-timeout", "1ms", "-o", "json"]
    run = json.loads(shell(shlex.join(["payctl", *typed(start, rules)]), rules).stdout)["run_id"]
    commands = COMMAND.findall(shell(shlex.join(["payctl", *typed(["runs", "show", run], rules)]), rules).stdout)
    assert commands[-1].startswith(f"payctl runs resume {run}")
    for command in commands:
        result = shell(as_pasted(command), rules)
        assert result.returncode in ACCEPTED, result.stderr
