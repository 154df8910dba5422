"""Test each exit code once with a real process. Exit codes 1, 130 and 143 are tested in test_process.py."""

from __future__ import annotations

import json

import pytest

from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import shard_lock

pytestmark = pytest.mark.postgres

CASES = {
    ExitCode.DONE: ["version"],
    ExitCode.USAGE: ["version", "--bogus"],
    ExitCode.CONFIG: ["publish-outbox", "-p", "nobody", "--config", "/nonexistent"],
    ExitCode.UNAVAILABLE: ["db", "status"],
    ExitCode.NO: ["verify-signature", "--example", "vnpay", "--tamper", "amount"],
    ExitCode.PARTIAL: ["publish-outbox"],
    ExitCode.GUARD: ["doctor", "--fix-published-flags"],
    ExitCode.NOT_FOUND: ["schema", "bogus"],
    ExitCode.LOCKED: ["publish-outbox"],
    ExitCode.DEADLINE: ["publish-outbox", "--deadline", "1ms"],
}
ELSEWHERE = {ExitCode.BUG, ExitCode.INTERRUPTED, ExitCode.TERMINATED}


@pytest.fixture
def world(database_url, engine, mock_kafka):
    """Insert a publishable event, an unpublishable event and a half-marked event. Return the environment for payctl."""
    with engine.begin() as connection:
        insert_events(connection, 1)
        insert_events(connection, 1, event_type="PAYMENT_UNHEARD_OF")
        insert_events(connection, 1, state="sent_unmarked")
    return {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}


@pytest.mark.parametrize("code", CASES, ids=lambda code: code.name.lower())
def test_a_shell_sees_each_exit_code(code, world, engine, process):
    """For each exit code, the process exits with the code that its JSON document contains."""
    if code is ExitCode.UNAVAILABLE:
        world["DATABASE_URL"] = "postgresql://payctl@127.0.0.1:1/payments"
    with transaction(engine, Limits()) as connection:
        if code is ExitCode.LOCKED:
            shard_lock.enter(connection, 0, 1, 0, "another")
        result = process(*CASES[code], "-o", "json", **world)
    assert result.returncode == code, result.stderr
    assert json.loads(result.stdout)["exit_code"] == code


def test_every_exit_code_has_a_test():
    """Every exit code has a case in this file or a test in another file."""
    assert set(CASES) | ELSEWHERE == set(ExitCode)
