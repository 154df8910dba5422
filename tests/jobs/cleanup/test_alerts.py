from __future__ import annotations

import logging
from datetime import timedelta

import pytest


@pytest.fixture
def logged(caplog):
    """``logged()``: the log's events with their fields."""
    caplog.set_level(logging.INFO, logger="ticketbottle_payctl")
    return lambda: {record.getMessage(): record.payctl_fields for record in caplog.records}


def test_dead_events_are_reported_with_their_reasons(clean, insert, logged):
    """One alert line, counted by type and kind of error, whatever ids the errors name."""
    insert(2, state="dead", age=timedelta(hours=3), last_error="MSG_SIZE_TOO_LARGE: 1001 bytes")
    insert(1, state="dead", age=timedelta(hours=2), last_error="MSG_SIZE_TOO_LARGE: 2002 bytes")
    insert(1, state="dead", event_type="PAYMENT_ODD", last_error="unknown event type")
    report = clean()
    alert = logged()["outbox_dead_events"]
    assert (report.dead, alert["events"]) == (4, 4)
    assert alert["reasons"] == [
        "3 PAYMENT_COMPLETED: MSG_SIZE_TOO_LARGE: # bytes",
        "1 PAYMENT_ODD: unknown event type",
    ]
    assert 3 * 3600 <= alert["oldest_age_s"] < 3 * 3600 + 60
    assert [(group.events, group.dead) for group in report.groups] == [(3, True), (1, True)]


def test_late_events_are_reported(clean, insert, logged):
    """Pending for more than an hour means that nobody publishes."""
    insert(3, age=timedelta(hours=2))
    insert(4, age=timedelta(minutes=10))
    report = clean()
    assert (report.pending, report.unpublished.late) == (7, 3)
    assert logged()["outbox_late_events"]["events"] == 3


def test_a_healthy_outbox_raises_no_alert(clean, insert, logged):
    """Fresh pending events and published ones are what an outbox is for."""
    insert(3)
    insert(3, state="published", age=timedelta(days=9))
    clean()
    assert logged() == {}


def test_a_preview_reports_too(clean, insert, logged):
    """It reads the same."""
    insert(1, state="dead")
    assert clean(dry_run=True).dead == 1
    assert "outbox_dead_events" in logged()
