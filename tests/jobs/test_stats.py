"""Test the counts, lags, rates, forecasts and breakdowns of ``jobs/stats`` with a real database."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from ticketbottle_payctl.jobs.stats import By, Drain, Lag, collect_stats, followed
from ticketbottle_payctl.jobs.stats.live import collect_live
from ticketbottle_payctl.store.outbox.stats import NEWEST, recent


@pytest.fixture
def backlog(insert, execute):
    """Return a function that inserts the given numbers of published and pending events.

    The published events were published 5 seconds ago, and the pending events were created 10 seconds ago.
    """

    def run(published, pending):
        insert(published, state="published", age=timedelta(minutes=30))
        execute("UPDATE outbox SET \"publishedAt\" = clock_timestamp() AT TIME ZONE 'UTC' - interval '5 seconds'")
        insert(pending, age=timedelta(seconds=10))

    return run


@pytest.fixture
def stats(engine):
    """Return a function that returns the outbox's statistics."""
    return lambda **options: collect_stats(engine, **{"max_retries": 5, **options})


def test_stats_of_an_empty_outbox(stats):
    """The statistics of an empty outbox have no pending events, and their lag is unknown."""
    report = stats()
    assert (report.pending, report.dead, report.published, report.total, report.exact) == (0, 0, 0, 0, True)
    assert (report.oldest_pending_age_s, report.oldest_pending_id) == (None, None)
    assert (report.lag, report.drain, report.drain_eta_s) == (Lag(None, None, None), Drain.EMPTY, 0.0)
    assert sum(report.created) == sum(report.sent) == 0


def test_stats_count_the_events_of_each_state(stats, insert):
    """The statistics count pending, dead and published events. Half-marked events count as published."""
    insert(7, state="published")
    insert(5, state="sent_unmarked")
    insert(3, state="dead")
    insert(2)
    report = stats()
    assert (report.pending, report.dead, report.published, report.total) == (2, 3, 12, 17)
    assert report.sent_unmarked == 5


def test_stats_name_the_oldest_pending_event(stats, insert, engine):
    """The statistics name the oldest pending event, ignoring dead and half-marked events."""
    insert(1, state="dead", age=timedelta(days=3))
    insert(1, state="sent_unmarked", age=timedelta(days=3))
    insert(4, event_type="PAYMENT_FAILED", age=timedelta(hours=2))
    with engine.begin() as connection:
        sql = """UPDATE outbox SET "createdAt" = (SELECT min("createdAt") FROM outbox WHERE "eventType" LIKE '%%FAILED')
                 WHERE "eventType" LIKE '%%FAILED' RETURNING id"""
        first = min(connection.exec_driver_sql(sql).scalars())
    insert(3)
    report = stats()
    assert report.oldest_pending_id == first
    assert 7200 <= report.oldest_pending_age_s < 7260
    assert (report.late, report.oldest_dead_age_s > 259_000) == (4, True)


def test_the_retry_limit_decides_whether_an_event_is_dead(stats, insert):
    """The statistics count an event as dead if its retry count has reached the limit, and otherwise as pending."""
    insert(2, retry_count=3)
    assert (stats(max_retries=4).pending, stats(max_retries=3).dead) == (2, 2)


def test_stats_show_percentiles_of_the_lag(stats, insert, execute):
    """The lag percentiles in the statistics cover the events that were published in the time window."""
    insert(100, state="published", age=timedelta(minutes=10))
    execute("""UPDATE outbox AS o SET "publishedAt" = o."createdAt" + r.n * interval '1 second'
               FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM outbox) AS r WHERE r.id = o.id""")
    insert(50, state="published", age=timedelta(hours=3))
    assert stats().lag == Lag(50.0, 95.0, 99.0)
    assert stats(since=timedelta(minutes=1)).lag == Lag(None, None, None)


def test_stats_show_the_rates_of_the_time_window(stats, insert):
    """The rates in the statistics are the events created and published per second in the time window."""
    insert(360, state="published", age=timedelta(minutes=21))
    insert(360, age=timedelta(minutes=21))
    insert(999, state="published", age=timedelta(hours=2))
    report = stats()
    assert (report.in_per_s, report.out_per_s, report.window_s) == (0.2, 0.1, 3600)
    assert (sum(report.created), sum(report.sent)) == (720, 360)
    assert (report.created[19], report.sent[19]) == (720, 360)


def test_the_rates_cover_less_than_the_window_if_there_are_too_many_events(stats, insert):
    """If the time window has too many published events, the rates cover only the time of the newest ones."""
    insert(NEWEST + 500, state="published", age=timedelta(minutes=1))
    report = stats(since=timedelta(days=1))
    assert 60 <= report.window_s < 90
    assert report.out_per_s == pytest.approx(NEWEST / report.window_s, rel=0.1)
    assert sum(report.created) == sum(report.sent) == NEWEST


def test_the_newest_recently_sent_event_is_the_one_created_last(insert, execute, engine):
    """The newest of the recently sent events is the one that was created last.

    Events that were sent more than a minute ago do not count as recently sent.
    """
    insert(1, state="published", age=timedelta(hours=2))
    (at,) = execute("""UPDATE outbox SET "publishedAt" = clock_timestamp() AT TIME ZONE 'UTC' RETURNING "createdAt\"""")
    insert(1, state="published", age=timedelta(hours=1))
    with engine.connect() as connection:
        found = recent(connection, 3600)
    assert (found.newest_sent, found.recent_sent) == (at, 1)


@pytest.mark.parametrize(
    ("published", "pending", "expected"),
    [
        (600, 60, (Drain.DRAINING, pytest.approx(60 / (10 - 1), abs=0.2))),
        (0, 60, (Drain.GROWING, None)),
        (60, 0, (Drain.EMPTY, 0.0)),
    ],
)
def test_the_forecast_uses_the_rates_of_the_last_minute(stats, backlog, published, pending, expected):
    """A backlog is forecast to drain only if more events were published than created in the last minute."""
    backlog(published, pending)
    report = stats()
    assert (report.drain, report.drain_eta_s) == expected


def test_a_backlog_with_equal_rates_is_not_shrinking(stats, insert):
    """If as many events are created as published, the backlog counts as stalled."""
    insert(60, state="published", age=timedelta(seconds=10))
    insert(5, age=timedelta(hours=3))
    assert stats().drain is Drain.STALLED


def test_a_backlog_without_created_or_published_events_is_stalled(stats, insert):
    """If no event is created or published, the backlog counts as stalled."""
    insert(3, age=timedelta(hours=3))
    assert (stats().drain, stats().drain_eta_s) == (Drain.STALLED, None)


BLOCK = """UPDATE outbox SET "aggregateId" = 'one' WHERE id IN (
    (SELECT id FROM outbox WHERE "retryCount" > 0) UNION ALL
    (SELECT id FROM outbox WHERE NOT published AND "retryCount" = 0 ORDER BY id LIMIT {}))"""


@pytest.mark.parametrize(
    ("blocked", "expected"),
    [(20, (Drain.DRAINING, pytest.approx(40 / (10 - 1), abs=0.2))), (60, (Drain.BLOCKED, None))],
)
def test_the_forecast_leaves_out_blocked_events(stats, backlog, insert, execute, blocked, expected):
    """The backlog's forecast counts only events that can be sent. If all are blocked, the forecast says so."""
    backlog(600, 60)
    insert(1, state="dead", age=timedelta(hours=1))
    execute(BLOCK.format(blocked))
    report = stats(explain=True)
    assert (report.blocked, report.pending) == (blocked, 60)
    assert (report.drain, report.drain_eta_s) == expected


def test_two_samples_forecast_only_events_that_can_be_sent(stats):
    """If 60 of 100 pending events are blocked, the forecast is the time until the other 40 have been sent."""
    start = stats()
    late = start.at + timedelta(seconds=30)

    def second(**facts):
        looks = iter([replace(start, pending=400), replace(start, at=late, **facts)])
        look = followed(lambda: next(looks))
        return [look(), look()][-1]

    draining = second(pending=100, blocked=60)
    assert (draining.drain, draining.drain_eta_s) == (Drain.DRAINING, 4.0)
    left = second(pending=100, blocked=100)
    assert (left.drain, left.drain_eta_s) == (Drain.BLOCKED, None)


def rows(report):
    """Return the rows of a breakdown, omitting their ages."""
    return [(row.label, row.pending, row.dead, row.published) for row in report.items]


PUBLISH_OLDEST = """
    UPDATE outbox SET published = true, "publishedAt" = clock_timestamp() AT TIME ZONE 'UTC'
    WHERE id IN (SELECT id FROM outbox WHERE NOT published ORDER BY "createdAt" LIMIT {})
"""


def test_two_samples_show_that_an_old_backlog_drains(stats, insert, execute):
    """Two samples of the statistics show that an old backlog is draining. A single sample cannot show this."""
    insert(NEWEST + 1, state="published", age=timedelta(hours=2))
    insert(100, age=timedelta(days=10))
    look = followed(stats)
    assert look().drain is Drain.STALLED
    execute(PUBLISH_OLDEST.format(60))
    assert stats().drain is Drain.STALLED
    report = look()
    assert (report.pending, report.drain) == (40, Drain.DRAINING)
    assert 0 <= report.drain_eta_s < 60  # the two samples are milliseconds apart, and the rate is rounded
    execute(PUBLISH_OLDEST.format(40))
    assert (look().drain, look().drain_eta_s) == (Drain.EMPTY, 0.0)


def test_two_samples_show_that_a_backlog_grows_or_is_stalled(stats, insert):
    """If a second sample contains more pending events, the backlog is growing.

    If the count is the same, the backlog is stalled.
    """
    insert(3, age=timedelta(days=1))
    look = followed(stats)
    assert [look().drain, look().drain] == [Drain.STALLED, Drain.STALLED]
    insert(2, age=timedelta(days=1))
    assert (look().drain, look().drain_eta_s) == (Drain.GROWING, None)


def test_a_forecast_uses_the_last_sample_before_the_last_minute(stats):
    """The backlog's forecast uses the newest sample that is at least a minute old."""
    start = stats()

    def seen(*pending_after):
        looks = iter([replace(start, at=start.at + timedelta(seconds=at), pending=left) for at, left in pending_after])
        look = followed(lambda: next(looks))
        return [look() for _ in pending_after][-1]

    assert seen((0, 1000), (40, 100), (61, 100), (101, 100)).drain is Drain.STALLED
    hourly = seen((0, 1000), (3600, 400), (7200, 100))
    assert (hourly.drain, hourly.drain_eta_s) == (Drain.DRAINING, 1200.0)


@pytest.fixture
def mixed(insert):
    """Insert published, pending and dead events of two types."""
    insert(5, state="published")
    insert(4, event_type="PAYMENT_FAILED")
    insert(2, state="dead", last_error="MSG_SIZE_TOO_LARGE: 1001 bytes")
    insert(1, state="dead", last_error="MSG_SIZE_TOO_LARGE: 2002 bytes")


@pytest.mark.usefixtures("mixed")
def test_the_breakdown_by_type_begins_with_dead_events(stats):
    """The breakdown by type starts with the types that have dead events."""
    report = stats(by=By.TYPE)
    assert rows(report) == [("PAYMENT_COMPLETED", 0, 3, 5), ("PAYMENT_FAILED", 4, 0, 0)]
    assert report.by is By.TYPE


def test_the_breakdown_by_type_counts_the_newest_published_events(stats, insert):
    """The breakdown by type counts a newly published event, no matter how many older events the table contains."""
    insert(NEWEST, state="published", age=timedelta(hours=2))
    insert(1, state="published", event_type="PAYMENT_FAILED", age=timedelta(minutes=1))
    assert rows(stats(by=By.TYPE)) == [("PAYMENT_FAILED", 0, 0, 1)]


@pytest.mark.usefixtures("mixed")
def test_the_breakdown_by_error_groups_errors_of_one_kind(stats):
    """The breakdown by error puts errors that differ only in numbers or ids into one group."""
    report = stats(by=By.ERROR)
    assert rows(report) == [("MSG_SIZE_TOO_LARGE: # bytes", 0, 3, None), (None, 4, 0, None)]
    assert re.fullmatch(r"[0-9a-f]{8}", report.items[0].error_group)


@pytest.mark.usefixtures("mixed")
def test_the_breakdown_by_status_has_three_states(stats):
    """The breakdown by status contains one row each for pending, dead and published events."""
    assert rows(stats(by=By.STATUS)) == [("pending", 4, 0, None), ("dead", 0, 3, None), ("published", 0, 0, 5)]


@pytest.mark.usefixtures("mixed")
def test_the_breakdown_by_provider_reads_payload_and_payment(stats, execute):
    """The breakdown by provider takes the provider from the payload, or from the payment if the payload has none."""
    execute("""
        UPDATE outbox SET payload = '{"paymentId": "a"}' WHERE "eventType" = 'PAYMENT_FAILED';
        INSERT INTO payments (id, "orderCode", "amountCents", currency, provider, "providerTransactionId",
            "idempotencyKey", "redirectUrl", "paymentUrl", status, "updatedAt")
        SELECT "aggregateId", 'TB-1', 1, 'VND', 'momo', 'r', 'i', '', '', 'PENDING', now() FROM outbox
        WHERE "eventType" = 'PAYMENT_FAILED' LIMIT 1
    """)
    assert rows(stats(by=By.PROVIDER)) == [("ZALOPAY", 0, 3, 5), (None, 3, 0, 0), ("MOMO", 1, 0, 0)]


@pytest.mark.parametrize("kind", ["counts", "explained", "live"])
def test_stats_read_a_bounded_part_of_a_large_table(stats, insert, engine, execute, kind):
    """On a large table, the statistics use an index to read only unpublished and the newest published events."""
    for hours in (5, 4, 3):
        insert(25_000, state="published", age=timedelta(hours=hours), payload_bytes=300)
    insert(300, age=timedelta(minutes=1))
    insert(30, state="dead", age=timedelta(hours=1))
    execute("ANALYZE outbox")
    plans, counts = [], []

    def plan(_connection, cursor, statement, parameters, _context, _many):
        counts.append(statement)
        if "WITH" in statement or "EXISTS" in statement:
            limits, semicolon, select = statement.rpartition(";\n")
            cursor.execute(f"{limits}{semicolon} EXPLAIN (ANALYZE, BUFFERS) {select}", parameters)
            plans.append("\n".join(row[0] for row in cursor.fetchall()))

    event.listen(engine, "before_cursor_execute", plan)
    lately = datetime.now(UTC) - timedelta(seconds=10)
    live = kind == "live" and collect_live(engine, max_retries=5, created_after=lately)
    report = live.stats if live else stats(explain=kind == "explained")
    event.remove(engine, "before_cursor_execute", plan)
    assert (report.pending, report.total, report.exact) == (300, 75_330, False)
    assert (report.blocked, len(report.causes)) == ((0, 0) if kind == "counts" else (0, 2))
    assert len(counts) == {"counts": 4, "explained": 17, "live": 20}[kind]
    assert kind != "counts" or len(plans) == 2
    assert not any(statement.endswith("SELECT count(*) FROM outbox") for statement in counts)
    assert all("Index Scan" in plan and not re.search(r"(Seq|Bitmap Heap) Scan on outbox", plan) for plan in plans)
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("SELECT pg_relation_size('outbox') / 8192").scalar_one()
    read = sum(int(re.search(r"shared hit=(\d+)", plan)[1]) for plan in plans)
    assert read < pages / 4  # each statement reads the 330 unpublished events


def test_a_large_table_that_was_never_analysed_is_sampled(stats, insert, engine):
    """If a large table was never analysed, the total is estimated from a sample of its pages."""
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE outbox SET (autovacuum_enabled = false)")
    insert(60_000, state="published", age=timedelta(hours=3), payload_bytes=300)
    report = stats()
    assert not report.exact
    assert report.total == pytest.approx(60_000, rel=0.2)


def test_a_rate_of_few_events_an_hour_is_not_rounded_away(stats, insert):
    """The statistics do not round a rate of four events an hour to zero."""
    insert(4, age=timedelta(minutes=5))
    assert round(3600 * stats().in_per_s, 1) == 4.0
