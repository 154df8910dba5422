"""Test that two commands that change the same dead event at once do not harm each other."""

from __future__ import annotations

import json

import pytest

from tests.cli.commands.show.dead_events.conftest import WHY
from ticketbottle_payctl.sandbox.server import wait_until

pytestmark = pytest.mark.postgres


def waiting(execute, number):
    """Return whether exactly this many sessions wait for a lock."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return execute(sql) == [number]


@pytest.fixture
def together(dead, engine, execute, started, database_url):
    """Return a function that runs `payctl close` several times at once, and returns the documents of all runs."""

    def run(number, change="SELECT 1"):
        words = ["close", dead, "-y", "--reason", WHY, "-o", "json"]
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT FROM outbox WHERE id = %s FOR UPDATE", (dead,))
            processes = [started(*words, DATABASE_URL=database_url) for _ in range(number)]
            wait_until(lambda: waiting(execute, number), what="each closing waits for the row", timeout=30)
            connection.exec_driver_sql(change)
            connection.commit()
        return [json.loads(process.communicate(timeout=30)[0]) for process in processes]

    return run


def test_of_two_closings_at_once_one_is_recorded(together, execute):
    """If two operators close an event at the same moment, the first request is recorded and the second is refused."""
    documents = together(2)
    assert sorted(each["exit_code"] for each in documents) == [0, 7]
    assert any("was closed by another run" in (each["error"] or {}).get("message", "") for each in documents)
    assert execute("SELECT status FROM payctl.runs") == ["done"]
    assert execute("SELECT outcome FROM payctl.run_items") == ["closed"]


def test_an_event_that_was_requeued_meanwhile_is_not_closed(together, execute):
    """If a replay requeues the event first, `payctl close` refuses to close the event and records nothing."""
    (document,) = together(1, 'UPDATE outbox SET "retryCount" = 0 WHERE "eventType" = \'PAYMENT_FAILED\'')
    assert (document["exit_code"], "is pending" in document["error"]["message"]) == (7, True)
    assert execute("SELECT * FROM payctl.runs") == []
