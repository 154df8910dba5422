"""Test the age of the oldest pending event, the sent events of a window, and the database's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.store.outbox.conftest import NOON
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox.oldest_pending import oldest_pending
from ticketbottle_payctl.store.outbox.sent_events import created_between


def test_the_age_of_the_oldest_pending_event(connection, add):
    """The age of the oldest pending event is in seconds by the database's clock.

    This age is never negative. If no event is pending, the age is None.
    """
    assert oldest_pending(connection, 5) is None
    add("dead", -999_999, retryCount=5)
    assert oldest_pending(connection, 5) is None
    connection.rollback()
    add("ahead", timedelta(days=36_500).total_seconds())
    assert oldest_pending(connection, 5) == 0.0
    connection.rollback()
    add("a", 0)
    real = connection.exec_driver_sql(
        "SELECT extract(epoch FROM clock_timestamp() AT TIME ZONE 'UTC' - %(noon)s)", {"noon": NOON}
    ).scalar_one()
    assert oldest_pending(connection, 5) == pytest.approx(max(0.0, float(real)), abs=5)


def test_the_sent_events_of_a_window_are_found_by_their_creation(connection, add):
    """Sent events are found by their creation time in a window that includes its start but not its end.

    Half-marked events count as sent.
    """
    sent = {"published": True, "publishedAt": NOON + timedelta(days=9)}
    for id_, second in (("early", -1), ("first", 0), ("last", 59), ("late", 60)):
        add(id_, second, **sent)
    add("half marked", 30, **sent | {"published": False})
    add("pending", 30)
    since = NOON.replace(tzinfo=UTC)
    window = (connection, since, since + timedelta(minutes=1))
    assert {one.id for one in created_between(*window, 9)} == {"first", "half marked", "last"}
    assert len([*created_between(*window, 2)]) == 2


def test_the_clock_is_the_database_s_in_utc(connection):
    """`outbox.now` returns the database's time in UTC, even if the session has a different time zone."""
    connection.exec_driver_sql("SET LOCAL timezone = 'Asia/Ho_Chi_Minh'")
    epoch = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
    now = outbox.now(connection)
    assert now.tzinfo is None
    assert (now - datetime(1970, 1, 1)).total_seconds() == pytest.approx(float(epoch), abs=5)  # noqa: DTZ001
