"""Test what ``jobs/stats`` reads for a live screen, and which events it counts as late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ticketbottle_payctl.jobs.stats import By, collect_stats
from ticketbottle_payctl.jobs.stats.live import collect_live

pytestmark = pytest.mark.postgres
REFUSED = """
    INSERT INTO payctl.webhook_receipts (id, received_at, provider, order_ref, reference, amount, currency, outcome,
        result, reason, method, path, query, body, body_sha256)
    SELECT gen_random_uuid(), now() - n * interval '1 second', 'momo', 'TB-' || n, '', 1, 'VND', 'COMPLETED', 'refused',
        'wrong_amount', 'POST', '/', '', '', '' FROM generate_series(1, {}) AS n
"""


@pytest.fixture
def events(insert):
    """Insert two pending, three dead and four published events. All nine are 90 minutes old."""
    age = timedelta(minutes=90)
    insert(2, age=age)
    insert(3, state="dead", event_type="PAYMENT_FAILED", age=age)
    insert(4, state="published", age=age)


def rows(report):
    """Return the rows of a live screen's breakdown."""
    return [(row.label, row.pending, row.dead, row.published) for row in report.stats.items]


@pytest.mark.usefixtures("events")
def test_a_live_screen_lists_only_pending_events(engine):
    """The breakdown of a live screen has the pending events of each type. The dead ones are listed by their error."""
    live = collect_live(engine, max_retries=5)
    assert (rows(live), live.stats.by) == ([("PAYMENT_COMPLETED", 2, 0, 0)], By.TYPE)
    assert [(group.events, list(group.event_types)) for group in live.dead_groups] == [(3, ["PAYMENT_FAILED"])]
    assert (list(live.publishers), live.publishers_known, live.created) == ([], True, None)
    assert (live.stats.window_s, len(live.stats.causes)) == (3600, 2)
    whole = collect_live(engine, max_retries=5, by=By.STATUS)
    assert rows(whole) == [("pending", 2, 0, None), ("dead", 0, 3, None), ("published", 0, 0, 4)]


@pytest.mark.usefixtures("events")
def test_a_live_screen_counts_the_events_that_were_created_since_its_last_picture(engine, insert):
    """A live screen counts the events of every state that were created after the given instant."""
    before = datetime.now(UTC) - timedelta(minutes=5)
    insert(2, age=timedelta(minutes=1))
    insert(1, age=timedelta(minutes=9))
    assert collect_live(engine, max_retries=5, created_after=before).created == 2
    assert collect_live(engine, max_retries=5, created_after=before - timedelta(hours=2)).created == 12


def test_a_live_screen_shows_the_newest_refused_callbacks(engine, execute):
    """A live screen searches the newest 1,000 callbacks, and lists the refused ones, newest first."""
    execute(REFUSED.format(1001))
    refused = collect_live(engine, max_retries=5).refused
    assert (refused.looked_at, refused.closed) == (1000, 0)
    assert [each.order_ref for each in refused.refused] == [f"TB-{number}" for number in range(1, 1001)]


@pytest.mark.usefixtures("events")
def test_a_pending_event_is_late_after_an_hour(engine, insert):
    """The statistics count the pending events that are more than an hour old as late."""
    insert(1, age=timedelta(minutes=30))
    report = collect_stats(engine, max_retries=5)
    assert (report.late, report.window_s, report.blocked, report.causes) == (2, 3600, 0, ())
