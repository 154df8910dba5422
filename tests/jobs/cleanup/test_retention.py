"""Test that a cleanup deletes old events and receipts, and keeps the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from ticketbottle_payctl.jobs.cleanup import CleanupStoppedBecause, preview_cleanup

OLD, NEW = timedelta(days=8), timedelta(days=6)


@pytest.mark.parametrize("state", ["published", "sent_unmarked"])
def test_published_events_are_deleted_after_the_retention(clean, insert, events, state):
    """A cleanup deletes published and half-marked events that are older than the retention, and keeps newer ones."""
    insert(5, state=state, age=OLD)
    insert(3, state=state, age=NEW)
    report = clean()
    assert (report.matched, report.deleted, report.remaining, events()) == (5, 5, 0, 3)
    assert report.stopped_because is CleanupStoppedBecause.EMPTY
    assert abs(datetime.now(UTC) - timedelta(days=7) - report.horizon) < timedelta(minutes=1)


@pytest.mark.parametrize("state", ["pending", "dead"])
def test_unpublished_events_are_never_deleted(clean, insert, events, state):
    """A cleanup never deletes pending or dead events."""
    insert(4, state=state, age=timedelta(days=900))
    report = clean(retention=timedelta(microseconds=1))
    assert (report.deleted, events()) == (0, 4)
    assert getattr(report, state) == 4


def test_the_retention_counts_from_publishing(clean, insert, engine, events):
    """The retention period starts at publishing, so a cleanup keeps an old event that was just published."""
    insert(4, state="published", age=timedelta(days=90))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE outbox SET \"publishedAt\" = clock_timestamp() AT TIME ZONE 'UTC'")
    assert clean().deleted == 0
    assert events() == 4


@pytest.mark.parametrize(("age", "left"), [(OLD, 0), (NEW, 2)])
def test_the_retention_counts_from_creation_if_publishedat_is_missing(clean, insert, engine, age, left):
    """If an event has no publishedAt, its retention starts when it was created."""
    insert(2, state="published", age=age)
    with engine.begin() as connection:
        connection.exec_driver_sql('UPDATE outbox SET "publishedAt" = NULL')
    assert clean().deleted == 2 - left


def test_a_creation_time_in_another_time_zone_hides_no_event(clean, insert, engine, events):
    """A cleanup deletes an old event even if its createdAt is 14 hours ahead.

    The old service wrote createdAt in the time zone of its session.
    """
    insert(2, state="published", age=timedelta(days=7, hours=1))
    with engine.begin() as connection:
        connection.exec_driver_sql('UPDATE outbox SET "createdAt" = "createdAt" + interval \'14 hours\'')
    clean()
    assert events() == 0


def test_keep_newest_limits_a_short_retention(clean, insert, events):
    """A cleanup keeps events that are newer than ``keep_newest``, even if the retention is shorter."""
    insert(2, state="published", age=timedelta(hours=2))
    insert(3, state="published", age=timedelta(hours=7))
    report = clean(retention=timedelta(minutes=1), keep_newest=timedelta(hours=6))
    assert (report.deleted, events()) == (3, 2)


def test_keep_newest_below_the_retention_changes_nothing(clean, insert):
    """If ``keep_newest`` is shorter than the retention, it has no effect on a cleanup."""
    insert(3, state="published", age=NEW)
    assert clean(keep_newest=timedelta(hours=6)).deleted == 0


def test_a_cleanup_preview_has_the_counts_of_the_real_run(clean, insert, events, engine):
    """A cleanup's preview counts the rows and bytes that the real run deletes, and changes nothing."""
    insert(5, state="published", age=OLD)
    insert(2, state="sent_unmarked", age=OLD)
    insert(9, state="dead", age=OLD)
    preview = preview_cleanup(engine, retention=timedelta(days=7), max_retries=5)
    dry = clean(dry_run=True)
    assert (dry.matched, dry.bytes, dry.dry_run) == (preview.matched, preview.bytes, True)
    assert (dry.deleted, dry.archived, dry.batches) == (0, 0, 0)
    assert events() == 16
    real = clean()
    assert (real.deleted, real.bytes) == (preview.matched, preview.bytes)
    assert 7 * 100 < real.bytes < 7 * 1000


def test_a_cleanup_deletes_nothing_that_expired_after_the_plan(clean, insert, events, engine):
    """A cleanup keeps events that expired after the plan was made, because the approved plan does not include them."""
    insert(3, state="published", age=OLD)
    insert(2, state="published", age=timedelta(days=7, hours=1))
    planned = preview_cleanup(engine, retention=timedelta(days=7, hours=2), max_retries=5)
    report = clean(planned=planned, receipts_older_than=timedelta(days=1))
    assert (report.deleted, report.horizon, events()) == (3, planned.horizon, 2)


def test_a_cleanup_deletes_the_context_of_deleted_events(clean, insert, engine, scalar):
    """A cleanup deletes the context of deleted events, and keeps the context of all other events."""
    insert(2, state="published", age=OLD)
    insert(1, state="dead", age=OLD)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO payctl.event_context (event_id) SELECT id FROM outbox")
    clean()
    assert scalar("SELECT count(*) FROM payctl.event_context") == 1


@pytest.mark.parametrize(("older_than", "left"), [(None, 3), (timedelta(days=100), 1)])
def test_receipts_are_deleted_only_if_asked(clean, engine, scalar, older_than, left):
    """A cleanup deletes receipts only if an age is given, because receipts prove what a gateway sent."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            """
            INSERT INTO payctl.webhook_receipts (id, received_at, provider, order_ref, reference, currency, outcome,
                result, method, path, query, body, body_sha256)
            SELECT gen_random_uuid(), clock_timestamp() - days * interval '1 day', 'vnpay', 'a', 'b', 'VND',
                'COMPLETED', 'settled', 'GET', '/', '', '', '' FROM unnest(ARRAY[1, 101, 102]) AS days
            """
        )
    report = clean(receipts_older_than=older_than, batch_size=1)
    assert (report.receipts, scalar("SELECT count(*) FROM payctl.webhook_receipts")) == (3 - left, left)


def test_at_most_100_000_remaining_events_are_counted(clean, engine):
    """A cleanup that ends at once counts the remaining expired events, but stops at 100,000."""
    with engine.begin() as connection:
        connection.exec_driver_sql("""
            INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, published, "createdAt")
            SELECT n, n, 'payment', 'PAYMENT_COMPLETED', '{}', true, '2026-01-01' FROM generate_series(1, 100001) AS n
        """)
    stop = Event()
    stop.set()
    report = clean(stop=stop)
    assert (report.remaining, report.matched, report.deleted) == (100_000, 100_000, 0)
