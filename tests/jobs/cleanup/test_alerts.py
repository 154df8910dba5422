"""Test that a cleanup logs an alert for dead events and for events that have been pending too long."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

PAID_AND_ONE_CLOSED = """
    INSERT INTO payments (id, "orderCode", "amountCents", currency, provider, "providerTransactionId", "idempotencyKey",
        "redirectUrl", "paymentUrl", status, "updatedAt")
    SELECT "aggregateId", id, 1, 'VND', 'MOMO', id, id, '', '', 'COMPLETED', now() FROM outbox;
    INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, reason)
    SELECT gen_random_uuid(), 0, 0, min(id), 'closed', 'superseded' FROM outbox WHERE "eventType" = 'PAYMENT_FAILED'
"""


@pytest.fixture
def logged(caplog):
    """Return a function that returns the fields of each log event, with the event names as keys."""
    caplog.set_level(logging.INFO, logger="ticketbottle_payctl")
    return lambda: {record.getMessage(): record.payctl_fields for record in caplog.records}


def test_a_cleanup_logs_dead_events_with_their_reasons(clean, insert, logged):
    """A cleanup logs the dead events, grouped by type and error. Errors that differ only in an id form one group."""
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


def test_a_cleanup_logs_events_that_are_pending_for_more_than_an_hour(clean, insert, logged):
    """A cleanup logs events that have been pending for over an hour, because probably no publisher is running."""
    insert(3, age=timedelta(hours=2))
    insert(4, age=timedelta(minutes=10))
    report = clean()
    assert (report.pending, report.unpublished.late) == (7, 3)
    assert logged()["outbox_late_events"]["events"] == 3


def test_a_cleanup_of_a_healthy_outbox_logs_no_alert(clean, insert, logged):
    """If an outbox has only new pending events and published events, a cleanup does not log an alert."""
    insert(3)
    insert(3, state="published", age=timedelta(days=9))
    clean()
    assert logged() == {}


def test_a_dry_run_of_the_cleanup_logs_alerts_too(clean, insert, logged):
    """A dry run of a cleanup logs the same alerts as a real run."""
    insert(1, state="dead")
    assert clean(dry_run=True).dead == 1
    assert "outbox_dead_events" in logged()


def test_the_age_in_the_alert_is_that_of_an_event_that_is_not_harmless(clean, insert, logged, execute):
    """The age of the oldest dead event leaves out closed and other harmless events."""
    insert(2, state="dead", event_type="PAYMENT_FAILED", age=timedelta(hours=9))
    insert(1, state="dead", age=timedelta(hours=2))
    execute(PAID_AND_ONE_CLOSED)
    assert clean().closed == 1
    alert = logged()["outbox_dead_events"]
    assert (alert["events"], 2 * 3600 <= alert["oldest_age_s"] < 2 * 3600 + 600) == (2, True)


def test_an_alert_about_harmless_events_has_no_age(clean, insert, logged, execute):
    """If all dead events are harmless, the alert counts the open events and has no age."""
    insert(2, state="dead", event_type="PAYMENT_FAILED", age=timedelta(hours=9))
    execute(PAID_AND_ONE_CLOSED)
    clean()
    alert = logged()["outbox_dead_events"]
    assert (alert["events"], alert["oldest_age_s"]) == (1, None)
