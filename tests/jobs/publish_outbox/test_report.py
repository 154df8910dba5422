"""Test the counts, the lags and the log line that a publisher run reports."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.jobs.publish_outbox.conftest import CANCELLED, COMPLETED, FAILED
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.publish_outbox import (
    DeadEvent,
    LagPercentiles,
    PublishCounts,
    PublishOptions,
    PublishReport,
    StoppedBecause,
    preview_outbox,
)
from ticketbottle_payctl.jobs.publish_outbox.facts import BlockReason
from ticketbottle_payctl.jobs.publish_outbox.obstacles import Blocker, LockedShard, Obstacles
from ticketbottle_payctl.jobs.publish_outbox.report import LagSample


def test_a_report_counts_by_type(outbox):
    """A publisher's report contains the published events by type, the batches, the rate, and why the run ended."""
    outbox.insert(3, event_type=FAILED)
    outbox.insert(5, event_type=COMPLETED)
    outbox.insert(2, event_type=CANCELLED)
    report = outbox.publish(batch_size=4)
    counts = report.counts
    assert dict(counts.published_by_type) == {FAILED: 3, COMPLETED: 5, CANCELLED: 2}
    assert (counts.claimed, counts.published, counts.batches, report.stopped_because) == (10, 10, 3, "empty")
    assert report.events_per_second == pytest.approx(10 / report.seconds, rel=0.01)
    assert report.oldest_pending_age_s is None


def test_a_run_without_events_succeeds_with_a_report(outbox):
    """If the outbox is empty, a publisher run succeeds, and its report does not contain a lag."""
    report = outbox.publish()
    assert (report.stopped_because, report.counts.claimed, report.counts.batches, report.lag) == ("empty", 0, 0, None)
    assert (report.partial, report.failure, report.events_per_second) == (False, None, 0.0)


def test_the_lag_is_the_time_from_writing_to_the_acknowledgement(outbox):
    """The lag is the number of seconds from an event's creation to its acknowledgement, by the database's clock."""
    outbox.insert(100, age=timedelta(seconds=60))
    lag = outbox.publish().lag
    assert 60 <= lag.p50 <= lag.p95 <= lag.p99 < 75


def test_a_run_writes_one_line_to_the_log(outbox, caplog):
    """A publisher run writes one log line with the figures from its report."""
    caplog.set_level(logging.INFO, logger="ticketbottle_payctl")
    outbox.insert(10, age=timedelta(seconds=60))
    outbox.add("k", "NO_SUCH_TYPE")
    report = outbox.publish()
    (record,) = [record for record in caplog.records if record.getMessage() == "publish_outbox_ended"]
    assert record.payctl_fields == {
        "counts": {"claimed": 11, "published": 10, "retried": 0, "dead": 1, "held": 0},
        "batches": 1,
        "stopped_because": "empty",
        "events_per_second": report.events_per_second,
        "lag_s": {"p50": report.lag.p50, "p95": report.lag.p95, "p99": report.lag.p99},
        "oldest_pending_age_s": None,
        "published_by_type": {COMPLETED: 10},
        "stopped_types": {},
        "blocked_by": [],
        "locked_by": [],
        "dead_in_outbox": 1,
        "dead_failures_in_outbox": 0,
        "dead_closed_in_outbox": 0,
        "unsent_successes": {"events": 0, "oldest": []},
        "dead_unknown_in_outbox": 1,
    }


def test_all_dead_events_are_counted_and_the_first_thousand_listed():
    """A publisher's report counts all dead events but lists only the first thousand."""
    counts = PublishCounts()
    for number in range(7):
        died = [DeadEvent(f"{number}-{index}", "k", COMPLETED, "e") for index in range(300)]
        counts.add_dead(died)
        assert counts.newly_dead == died
    assert (counts.dead, len(counts.dead_events)) == (2100, 1000)
    assert counts.dead_events[-1].id == "3-99"
    counts.add_dead([])
    assert (counts.dead, counts.newly_dead) == (2100, [])


def test_the_age_of_the_oldest_pending_event_is_reported(outbox):
    """A publisher's report contains the age of the oldest pending event. A dead event does not change this age."""
    outbox.add("dead", age=500, retry_count=5)
    outbox.add("dead", age=100)
    report = outbox.publish()
    assert 100 <= report.oldest_pending_age_s < 115


def test_the_facts_of_a_report_and_of_a_wait_name_every_reason():
    """The report and the log of a waiting publisher name the blocks, the locks, the topics and the oldest event."""
    blockers = [Blocker(BlockReason.RETRY_LATER, 2, "e1", COMPLETED, "refused", 5.0)]
    locked, away = [LockedShard(1, 2, "pid 7", "7")], DatabaseUnavailableError("no answer")
    found = Obstacles(away, locked, {FAILED: "missing"}, blockers, Counter({FAILED: 3}), oldest_pending_age_s=7.5)
    report = PublishReport(PublishCounts(), StoppedBecause.EMPTY, 1.0, found)
    named = {
        "blocked_by": [blockers[0].facts],
        "locked_by": [{"shard": 1, "holder": "pid 7"}],
        "oldest_pending_age_s": 7.5,
    }
    away_named = {"code": "DATABASE_UNAVAILABLE", "held": 3, "stopped_types": {FAILED: "missing"}}
    assert found.facts == {**named, **away_named}
    assert named.items() <= report.facts.items()
    assert (blockers[0].facts["event_id"], report.oldest_pending_age_s) == ("e1", 7.5)


def test_a_preview_counts_and_changes_nothing(outbox):
    """A preview of publishing counts the pending events by type and does not change a row."""
    outbox.insert(3, event_type=FAILED)
    outbox.insert(2)
    outbox.insert(4, state="dead")
    outbox.insert(4, state="published")
    outbox.insert(4, state="sent_unmarked")
    before = outbox.execute("SELECT id, xmin::text FROM outbox ORDER BY id")
    waiting = preview_outbox(outbox.engine, PublishOptions()).waiting
    assert [(row.event_type, row.events) for row in waiting] == [(COMPLETED, 2), (FAILED, 3)]
    assert preview_outbox(outbox.engine, PublishOptions(types=(FAILED,))).waiting[0].events == 3
    assert outbox.execute("SELECT id, xmin::text FROM outbox ORDER BY id") == before


@given(st.lists(st.integers(0, 5000), max_size=30))
def test_a_sample_of_lags_is_bounded_and_evenly_spaced(batches):
    """A sample of lags has a bounded size and takes every n-th lag."""
    sample, number = LagSample(), 0
    for count in batches:
        events = range(number, number + count)
        number += count
        sample.add(float(event) for event in events[sample.pick(count)])
    kept = sample._seconds  # noqa: SLF001
    assert len(kept) <= 8192
    assert len(kept) == number or (number > 8192 and len(kept) > 4000)
    gaps = {b - a for a, b in pairwise(kept)}
    assert len(gaps) <= 1


def test_a_sample_begins_with_every_event():
    """A sample of lags keeps every lag until it is full."""
    sample = LagSample()
    assert [sample.pick(3), sample.pick(2)] == [slice(0, 3, 1), slice(0, 2, 1)]


def test_a_full_sample_has_8192_lags():
    """A sample holds up to 8,192 lags, and one more lag halves it.

    The sample's spread includes the smallest and the largest lag.
    """
    sample = LagSample()
    sample.add(range(8192))
    assert (len(sample._seconds), sample.spread(4)) == (8192, [0, 2730, 5460, 8191])  # noqa: SLF001
    assert (sample.spread(8192), sample.spread(9000)) == ([*range(8192)], [*range(8192)])
    sample.add([9000.0])
    assert len(sample._seconds) == 4097  # noqa: SLF001


def test_percentiles_are_by_nearest_rank():
    """The percentiles of the lag are the values at the nearest rank."""
    sample = LagSample()
    sample.add(number / 10 for number in range(100, 0, -1))
    assert sample.percentiles() == LagPercentiles(5.0, 9.5, 9.9)
