"""Test the figures that ``jobs/stats`` reads for a live screen, including the count of late events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ticketbottle_payctl.jobs.stats import By, collect_stats
from ticketbottle_payctl.jobs.stats.live import collect_live
from ticketbottle_payctl.store.payments.refused_callbacks import refused_lately

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
    """The breakdown of a live screen has the pending events of each type. Dead events are listed by error."""
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
    """A live screen searches the newest 1,000 callbacks, and lists the refused callbacks, newest first."""
    execute(REFUSED.format(1001))
    refused = collect_live(engine, max_retries=5).refused
    assert (refused.looked_at, refused.closed) == (1000, 0)
    assert [each.order_ref for each in refused.refused] == [f"TB-{number}" for number in range(1, 1001)]


@pytest.mark.parametrize(
    ("allowed", "listed", "closed"),
    [
        ("SELECT ON payments, payctl.run_items, payctl.webhook_receipts", [2], 1),
        ("SELECT ON payments, payctl.webhook_receipts", [1, 2], 0),
        ("SELECT (id) ON payments", None, None),
        ("SELECT ON payctl.run_items, payctl.webhook_receipts", [1, 2], 0),
        ("SELECT (id, received_at, provider, order_ref, result, reason) ON payctl.webhook_receipts", [1, 2], 0),
        ("SELECT (id) ON payctl.webhook_receipts", None, None),
        (None, None, None),
    ],
)
def test_a_role_that_may_not_read_the_closings_sees_every_refused_callback_as_open(
    engine, execute, allowed, listed, closed
):
    """Only a role that is allowed to read the payments and the closing records sees a callback as closed.

    Every role must be allowed to read the receipts.
    """
    execute(REFUSED.format(2))
    execute(
        """UPDATE payctl.webhook_receipts SET body_sha256 = order_ref::bytea;
        INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, after)
        VALUES (gen_random_uuid(), 0, 0, 'TB-1', 'closed', jsonb_build_object('until', now()))"""
    )
    execute(f"CREATE ROLE live; {f'GRANT USAGE ON SCHEMA payctl TO live; GRANT {allowed} TO live' if allowed else ''}")
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL ROLE live")
            found = refused_lately(connection, 1000)
    finally:
        execute("DROP OWNED BY live; DROP ROLE live")
    seen = found and ([int(each.order_ref[3:]) for each in found.refused], found.closed)
    assert seen == (None if listed is None else (listed, closed))


@pytest.mark.usefixtures("events")
def test_a_pending_event_is_late_after_an_hour(engine, insert):
    """The statistics count the pending events that are more than an hour old as late."""
    insert(1, age=timedelta(minutes=30))
    report = collect_stats(engine, max_retries=5)
    assert (report.late, report.window_s, report.blocked, report.causes) == (2, 3600, 0, ())
