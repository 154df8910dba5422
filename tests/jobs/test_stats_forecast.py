"""Test the figures and the forecast of ``jobs/stats`` with made-up counts, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.domain.evidence import LOCKED
from ticketbottle_payctl.domain.causes import Evidence
from ticketbottle_payctl.jobs.stats import By, Drain, Lag, follower
from ticketbottle_payctl.jobs.stats.breakdown import tallied
from ticketbottle_payctl.jobs.stats.collect import explained, report_of
from ticketbottle_payctl.store.outbox.stats import PARTS, Group, Recent, Total, Unpublished

NOW = datetime(2026, 11, 29, 12)  # noqa: DTZ001 - the outbox has UTC without a zone
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
RECENT = Recent(NOW, NOW - HOUR, NOW - HOUR, 0, 0, 0, 0, 1.0, 2.0, 3.0, {}, {})
PENDING = Unpublished(60, 0, 0, 0, 5.0, "e", None, 0, 0, {})
NONE = PENDING._replace(pending=0, oldest_pending_age_s=None, oldest_pending_id=None)


def report(recent=RECENT, found=PENDING, total=None):
    """Return the report on these counts."""
    return report_of(recent, found, total or Total(1000, exact=True))


@pytest.mark.parametrize(
    ("created", "still_pending", "sent", "expected"),
    [
        (0, 0, 0, (Drain.STALLED, None)),
        (30, 30, 60, (Drain.STALLED, None)),
        (30, 29, 60, (Drain.DRAINING, 3600.0)),
        (30, 31, 60, (Drain.GROWING, None)),
        (0, 0, 120, (Drain.DRAINING, 30.0)),
    ],
)
def test_a_backlog_drains_if_more_events_were_sent_than_created(created, still_pending, sent, expected):
    """The forecast compares how many events were created and sent in the last minute.

    The current state of these events is irrelevant.
    """
    recent = RECENT._replace(recent_created=created, recent_sent=sent)
    found = report(recent, PENDING._replace(recent_created=still_pending))
    assert (found.drain, found.drain_eta_s) == expected
    empty = report(recent, NONE._replace(recent_created=still_pending))
    assert (empty.drain, empty.drain_eta_s) == (Drain.EMPTY, 0.0)


@pytest.mark.parametrize(
    ("since", "window_s", "created_per_s", "sent_per_s", "eta"),
    [
        (HOUR, 3600, 0.033333, 0.066667, 30.0),
        (MINUTE, 60, 2.0, 4.0, 30.0),
        (20 * SECOND, 20, 6.0, 12.0, 10.0),
        (SECOND / 2, 1, 120.0, 240.0, 0.5),
    ],
)
def test_rates_are_those_of_the_window_and_a_forecast_those_of_a_minute(
    since, window_s, created_per_s, sent_per_s, eta
):
    """The rates are computed over the whole window, and the forecast over at most its last minute.

    A window lasts at least a second.
    """
    recent = RECENT._replace(created_since=NOW - since, sent_since=NOW - since, created=70, sent=240, recent_sent=240)
    found = report(recent, PENDING._replace(created=50, recent_created=120))
    assert (found.window_s, found.in_per_s, found.out_per_s) == (window_s, created_per_s, sent_per_s)
    assert (found.drain, found.drain_eta_s) == (Drain.DRAINING, eta)


def test_a_single_event_drains_in_the_time_of_one_event():
    """The forecast for one pending event is the time in which one event leaves the backlog."""
    found = report(RECENT._replace(recent_sent=120), PENDING._replace(pending=1))
    assert (found.drain, found.drain_eta_s) == (Drain.DRAINING, 0.5)


def test_each_rate_covers_the_time_for_which_its_count_is_complete():
    """The counts of created and of sent events can be complete for different periods.

    Each rate is computed over the period of its own count.
    """
    recent = RECENT._replace(created_since=NOW - 10 * SECOND, sent_since=NOW - 40 * SECOND, created=10, sent=80)
    found = report(recent._replace(recent_created=10, recent_sent=80))
    assert (found.window_s, found.in_per_s, found.out_per_s, found.drain_eta_s) == (10, 1.0, 2.0, 60.0)


def test_the_published_events_are_the_rest_of_the_table():
    """The number of published events is the total minus the pending and dead events.

    An estimated total is at least the number of known rows.
    """
    some = PENDING._replace(pending=4, dead=3, sent_unmarked=2, late=1, oldest_dead_age_s=9.0)
    found = report(RECENT, some, Total(10, exact=False))
    assert (found.pending, found.dead, found.published, found.total, found.exact) == (4, 3, 3, 10, False)
    assert (found.sent_unmarked, found.late, found.oldest_pending_age_s, found.oldest_dead_age_s) == (2, 1, 5.0, 9.0)
    assert (found.oldest_pending_id, found.lag) == ("e", Lag(1.0, 2.0, 3.0))
    low = report(RECENT, some, Total(6, exact=False))
    assert (low.published, low.total) == (0, 9)
    assert (low.blocked, low.locked, low.superseded, low.closed, low.repeated) == (0, 0, 0, 0, 0)
    assert (low.by_debezium, low.idle, low.away, low.awaits_rescan) == (False, None, None, False)


def test_each_part_of_the_window_has_its_own_count():
    """For each part of the window, the number of created events includes published and unpublished events."""
    recent = RECENT._replace(created_in={"1": 5, "3": 1}, sent_in={str(PARTS): 4, "2": 2})
    found = report(recent, PENDING._replace(created_in={"1": 2, str(PARTS): 7}))
    assert found.created == (7, 0, 1, *[0] * (PARTS - 4), 7)
    assert found.sent == (0, 2, *[0] * (PARTS - 3), 4)


@pytest.mark.parametrize(
    ("pending", "blocked", "drain", "expected"),
    [
        (60, 59, Drain.DRAINING, (Drain.DRAINING, 0.5)),
        (1, 0, Drain.DRAINING, (Drain.DRAINING, 30.0)),
        (60, 60, Drain.DRAINING, (Drain.BLOCKED, None)),
        (60, 61, Drain.GROWING, (Drain.BLOCKED, None)),
        (0, 0, Drain.EMPTY, (Drain.EMPTY, 0.0)),
        (60, 20, Drain.STALLED, (Drain.STALLED, None)),
    ],
)
def test_an_explained_forecast_leaves_out_blocked_events(pending, blocked, drain, expected):
    """If the caller asks for an explanation, the forecast covers only events that are not blocked.

    If all events are blocked, the forecast says so.
    """
    eta = {Drain.DRAINING: 30.0, Drain.EMPTY: 0.0}.get(drain)
    found = explained(replace(report(), pending=pending, drain=drain, drain_eta_s=eta), Evidence(blocked=blocked))
    assert (found.drain, found.drain_eta_s, found.blocked) == (*expected, blocked)


def held_for(seconds):
    """Return a session that has held a lock for this time."""
    return LOCKED.holder._replace(seconds=seconds)


@pytest.mark.parametrize(
    ("evidence", "locked", "expected"),
    [
        (Evidence(waiting=[LOCKED._replace(events=60)]), 60, (Drain.BLOCKED, None)),
        (Evidence(waiting=[LOCKED._replace(events=20)]), 20, (Drain.DRAINING, 20.0)),
        (Evidence(waiting=[LOCKED._replace(events=20)], blocked=40), 20, (Drain.BLOCKED, None)),
        (Evidence(pending=60, table_locks=[LOCKED.holder]), 60, (Drain.BLOCKED, None)),
        (Evidence(pending=60, waiting=[LOCKED], table_locks=[LOCKED.holder]), 60, (Drain.BLOCKED, None)),
        (Evidence(pending=60, table_locks=[held_for(10)]), 0, (Drain.DRAINING, 30.0)),
        (Evidence(waiting=[LOCKED._replace(events=60, holder=held_for(10))]), 0, (Drain.DRAINING, 30.0)),
        (Evidence(waiting=[LOCKED._replace(events=60, holder=held_for(10.1))]), 60, (Drain.BLOCKED, None)),
        (Evidence(waiting=[LOCKED._replace(events=60, holder=held_for(None))]), 60, (Drain.BLOCKED, None)),
        (Evidence(waiting=[LOCKED._replace(events=60, holder=None, oldest_s=60)]), 0, (Drain.DRAINING, 30.0)),
        (Evidence(pending=60, blocked=40, table_locks=[LOCKED.holder]), 60, (Drain.BLOCKED, None)),
    ],
)
def test_an_explained_forecast_leaves_out_locked_events(evidence, locked, expected):
    """The forecast covers only events that no other session has locked for ten seconds.

    If no such event is left, the forecast says so. If a session has locked the whole table for ten seconds, all pending
    events are locked. A lock of unknown age counts if its event is overdue. No event counts as stuck twice.
    """
    found = explained(replace(report(), drain=Drain.DRAINING, drain_eta_s=30.0), evidence)
    assert (found.drain, found.drain_eta_s, found.locked) == (*expected, locked)
    assert found.stuck <= found.pending
    assert follower()(found).drain is expected[0]


@pytest.mark.parametrize(("active", "expected"), [(None, False), (False, True), (True, True)])
def test_an_outbox_with_a_slot_is_published_by_debezium(active, expected):
    """If Debezium's slot exists, active or idle, the report says that Debezium publishes the outbox."""
    assert explained(report(), Evidence(slot_active=active)).by_debezium is expected


def followed(*samples):
    """Return the forecast after the last sample.

    Each sample has a time in seconds and the counts of pending and blocked events.
    """
    follow, start = follower(), report()
    reports = [
        follow(replace(start, at=start.at + timedelta(seconds=at), pending=pending, blocked=blocked))
        for at, pending, blocked in samples
    ]
    return reports[-1].drain, reports[-1].drain_eta_s


def test_the_first_sample_keeps_its_own_forecast():
    """The first sample's forecast is not changed, because there is no earlier sample to compare it with."""
    assert followed((0, 60, 0)) == (Drain.STALLED, None)
    assert follower()(report(RECENT._replace(recent_sent=60))).drain is Drain.DRAINING


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([(0, 100, 0), (10, 50, 0)], (Drain.DRAINING, 10.0)),
        ([(0, 100, 0), (10, 99, 0)], (Drain.DRAINING, 990.0)),
        ([(0, 100, 0), (10, 50, 10)], (Drain.DRAINING, 8.0)),
        ([(0, 100, 0), (10, 100, 0)], (Drain.STALLED, None)),
        ([(0, 100, 0), (10, 101, 0)], (Drain.GROWING, None)),
        ([(0, 100, 0), (10, 0, 0)], (Drain.EMPTY, 0.0)),
        ([(0, 100, 0), (10, 50, 50)], (Drain.BLOCKED, None)),
        ([(0, 1000, 0), (40, 100, 0), (99, 50, 0)], (Drain.DRAINING, 5.2)),
        ([(0, 1000, 0), (40, 100, 0), (100, 50, 0)], (Drain.DRAINING, 60.0)),
        ([(0, 1000, 0), (40, 100, 0), (40, 90, 0), (100, 50, 0)], (Drain.DRAINING, 75.0)),
    ],
)
def test_a_forecast_uses_the_newest_sample_that_is_a_minute_old(samples, expected):
    """A forecast compares the last sample with the newest earlier sample that is at least a minute old."""
    assert followed(*samples) == expected


def group(events, *, dead=False, name="PAYMENT_COMPLETED", age=1.0, **facts):
    """Return a group of unpublished events."""
    values = {"event_type": name, "provider": None, "error": None, "error_group": None, **facts}
    return Group(dead=dead, events=events, oldest=NOW, age_s=age, **values)


def test_a_breakdown_adds_up_the_groups_of_each_label():
    """A breakdown has one row for each label. Rows with dead events come first, then rows with pending events."""
    groups = [
        group(2, name="a"),
        group(3, name="b"),
        group(4, name="c", dead=True, age=7.0),
        group(1, name="c", age=9.0),
    ]
    groups += [group(3, name="aa"), group(1, dead=True, name="c", age=2.0)]
    found = tallied(report(), By.TYPE, groups, {"a": 5, "d": 6})
    assert [(row.label, row.pending, row.dead, row.published, row.oldest_age_s) for row in found.items] == [
        ("c", 1, 5, 0, 9.0), ("aa", 3, 0, 0, 1.0), ("b", 3, 0, 0, 1.0), ("a", 2, 0, 5, 1.0), ("d", 0, 0, 6, None),
    ]  # fmt: skip
    assert (found.by, tallied(report(), None, groups, {}).items) == (By.TYPE, ())


def test_a_breakdown_by_error_and_by_provider_have_their_own_labels():
    """A breakdown by error contains each error group's id, but does not count published events.

    A breakdown by provider counts published events.
    """
    groups = [group(2, name=None, error="no", error_group="abc", dead=True), group(1, name=None)]
    found = tallied(report(), By.ERROR, groups, {})
    assert [(row.label, row.dead, row.published, row.error_group) for row in found.items] == [
        ("no", 2, None, "abc"), (None, 0, None, None),
    ]  # fmt: skip
    (row,) = tallied(report(), By.PROVIDER, [group(2, name=None, provider="MOMO")], {"MOMO": 4}).items
    assert (row.label, row.pending, row.published) == ("MOMO", 2, 4)


def test_a_breakdown_by_status_repeats_the_counts_and_ages():
    """A breakdown by status repeats the report's counts and ages. Its row for published events has no age."""
    whole = replace(report(), pending=4, dead=3, published=2, oldest_pending_age_s=5.0, oldest_dead_age_s=9.0)
    rows = tallied(whole, By.STATUS, [], {}).items
    assert [(row.label, row.pending, row.dead, row.published, row.oldest_age_s) for row in rows] == [
        ("pending", 4, 0, None, 5.0), ("dead", 0, 3, None, 9.0), ("published", 0, 0, 2, None),
    ]  # fmt: skip
