"""Fixtures and events for the tests of why events wait."""

from __future__ import annotations

import shlex
from datetime import timedelta

import pytest

from ticketbottle_payctl.sandbox.payment_service import insert_events

MINUTES = timedelta(minutes=10)
SECONDS = timedelta(seconds=1)
HALF_A_MINUTE = timedelta(seconds=30)
SEEN = "INSERT INTO payctl.publishers VALUES (1000, 'host:12:x', clock_timestamp() - interval '{}')"
ONE_PAYMENT = """UPDATE outbox SET "aggregateId" = 'one'"""


@pytest.fixture
def world(database_url, mock_kafka):
    """Return the settings for the test's database and the mock cluster."""
    return {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}


@pytest.fixture
def given(engine):
    """Return a function that inserts events and runs SQL statements."""

    def run(*steps):
        with engine.begin() as connection:
            for step in steps:
                if isinstance(step, str):
                    connection.exec_driver_sql(step)
                else:
                    insert_events(connection, **{"count": 1, "payload_bytes": 0, **step})

    return run


DEAD = {"state": "dead", "last_error": "MSG_SIZE_TOO_LARGE: no", "age": MINUTES + SECONDS}
"""A dead event that is older than all other events in this file.

Events from the same millisecond have no fixed order.
"""


@pytest.fixture
def paste(invoke, answer, world):
    """Return a function that runs the command that ``stats`` or ``doctor`` suggests for the given cause."""

    def run(command, kind, *more):
        if command == "stats":
            causes = answer("stats", **world)["result"]["causes"]
            advised = next(cause["command"] for cause in causes if cause["cause"] == kind)
        else:
            items = answer("doctor", "--only", "backlog", **world)["items"]
            advised = next(item["command"] for item in items if kind in item["fact"])
        program, *words = shlex.split(advised)
        assert program == "payctl"
        return invoke(*words, *more, **world)

    return run
