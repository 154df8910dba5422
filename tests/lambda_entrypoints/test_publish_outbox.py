"""Test the publisher's function in this process when events are waiting."""

from __future__ import annotations

import pytest

from lambda_entrypoints.publish_outbox import handler
from ticketbottle_payctl.errors import BrokerUnavailableError
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.outbox import shard_lock


@pytest.fixture
def places(database_url, mock_kafka):
    """Return the settings for a short run with the test's database and the mock cluster."""
    return {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap, "PAYCTL_LOOP_SECONDS": "3"}


@pytest.fixture
def blocked(engine):
    """Insert a dead event and a later event of the same payment."""
    with engine.begin() as connection:
        insert_events(connection, 2, aggregates=1)
        connection.exec_driver_sql("""
            UPDATE outbox SET "retryCount" = 5, "lastError" = 'MSG_SIZE_TOO_LARGE: x'
            WHERE "createdAt" = (SELECT min("createdAt") FROM outbox)
        """)


def waiting(called):
    """Return the log lines about waiting events."""
    return [line for line in called.printed.logs if line["message"] == "publish_outbox_waiting"]


@pytest.mark.usefixtures("blocked")
def test_a_blocked_event_is_not_a_failure_of_the_function(called, places):
    """If an event is blocked, the publisher's function succeeds, and its log and metrics report the event once."""
    assert called(handler, {}, **places) == {"stopped_because": "deadline", "published": 0}
    (line,) = waiting(called)
    assert (line["blocked_by"][0]["reason"], line["held"], line["level"]) == ("dead", 1, "WARN")
    assert called.printed.metrics["OutboxFailed"] == 1


def test_a_locked_shard_is_not_a_failure_of_the_function(called, places, engine):
    """If another publisher holds the shard, the publisher's function succeeds, and its log names the holder."""
    with engine.connect() as other:
        shard_lock.enter(other, 0, 1, 0, "elsewhere:77:abc")
        answer = called(handler, {}, **{**places, "PAYCTL_LOOP_SECONDS": "8"})  # the lock is reported after two seconds
        other.rollback()
    assert answer == {"stopped_because": "deadline", "published": 0}
    assert waiting(called)[0]["locked_by"][0]["holder"].startswith("database session ")


def test_the_function_reports_the_outbox_while_another_publisher_holds_it(called, places, engine):
    """With `LoopSeconds=0`, a tick next to another publisher ends at once and still reports the waiting events.

    Therefore the alarms about the outbox keep working if another publisher sends the events.
    """
    with engine.begin() as connection:
        insert_events(connection, 2, aggregates=1)
        connection.exec_driver_sql("""UPDATE outbox SET "createdAt" = "createdAt" - interval '1 hour'""")
    with engine.connect() as other:
        shard_lock.enter(other, 0, 1, 0, "elsewhere:77:abc")
        answer = called(handler, {}, **{**places, "PAYCTL_LOOP_SECONDS": "0"})
        other.rollback()
    assert answer["published"] == 0
    metrics = called.printed.metrics
    assert (metrics["OutboxPending"], metrics["OutboxDeadHarmful"]) == (2, 0)
    assert metrics["OutboxOldestPendingAge"] > 3500


def test_the_function_publishes_as_soon_as_no_other_publisher_holds_the_outbox(called, places, engine):
    """With `LoopSeconds=0`, a tick publishes the whole backlog if the other publisher has stopped."""
    with engine.begin() as connection:
        insert_events(connection, 2, aggregates=1)
    assert called(handler, {}, **{**places, "PAYCTL_LOOP_SECONDS": "0"}) == {
        "stopped_because": "empty",
        "published": 2,
    }
    assert called.printed.metrics["OutboxPending"] == 0


def test_an_unavailable_broker_is_a_failure_of_the_function(called, places):
    """If no broker is available, the publisher's function raises an error, so the function's alarm goes off."""
    with pytest.raises(BrokerUnavailableError):
        called(handler, {}, **{**places, "KAFKA_BROKERS": "127.0.0.1:1"})
    assert "publish_outbox_failed" in {line["message"] for line in called.printed.logs}
