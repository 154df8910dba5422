"""Test that a publisher finds events that are committed late, and does not overtake them."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from threading import Event

import pytest

from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED, GOOD, Clockwork
from ticketbottle_payctl.jobs.publish_outbox import Observer, PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.run import PublisherRun


def arrivals(clockwork):
    """Return a dictionary, and an observer that fills it.

    The dictionary maps each count of published events to the seconds until that count was reached.
    """
    noted = {}
    return noted, Observer(on_progress=lambda counts: noted.setdefault(counts.published, clockwork.now - 1000))


@pytest.mark.parametrize(
    ("behind", "least", "most"), [(1.5, 0.0, 1.0), (2.5, 0.0, 1.0), (10.0, 1.0, 35.0), (7200.0, 1.0, 35.0)]
)
def test_an_event_that_commits_late_is_published(outbox, behind, least, most):
    """The next poll finds an event that is committed within the late-commit window. A rescan finds later commits."""
    outbox.insert(3)
    clockwork = Clockwork(waits=80, at={3: lambda: outbox.add("late", age=behind)})
    noted, observer = arrivals(clockwork)
    report = outbox.run(clockwork, observer=observer, loop=True)
    assert (report.counts.published, outbox.verdict().lost) == (4, [])
    assert least <= noted[4] <= most


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
@pytest.mark.parametrize("age", [0.75, 1.2])
def test_an_event_that_commits_late_is_not_overtaken(outbox, batch_size, age):
    """If a late event and its payment's next event become visible together, the publisher sends them in order."""
    for number in range(6):
        outbox.add(f"n{number}", age=1 - number / 10)
    ids = []

    def commit_late(_tally):
        if not ids:
            ids.append(outbox.add("k", FAILED, age=age))
            ids.append(outbox.add("k", COMPLETED))

    outbox.publish(observer=Observer(on_progress=commit_late), batch_size=batch_size)
    assert [id_ for id_ in outbox.sent() if id_ in ids] in (ids, [])
    outbox.publish()
    assert outbox.verdict() == GOOD


def test_a_slow_broker_does_not_shorten_the_late_commit_window(outbox):
    """The late-commit window starts when a publisher reads a batch, so a slow broker does not shorten the window."""
    clockwork = Clockwork(waits=5)
    for age, key in ((60.0, "a1"), (60.0, "a2"), (0.7, "b1"), (0.5, "b2")):
        outbox.add(key, age=age)
    late = []
    claiming = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND state = 'idle in transaction' AND query LIKE '%%UPDATE outbox AS o%%'"""

    @contextmanager
    def span(_events):
        while not late and outbox.execute(claiming)[0][0] < 2:  # this batch and the next one
            Event().wait(0.01)
        if not late:
            late.extend([outbox.add("k", FAILED, age=0.6), outbox.add("k", COMPLETED), outbox.add("z")])
            clockwork.now += 3.5
        yield lambda _counts: None

    outbox.run(clockwork, observer=Observer(span=span), batch_size=2)
    outbox.publish()
    assert outbox.verdict() == GOOD


def test_an_event_dated_in_the_future_does_not_delay_others(outbox):
    """An event dated hours in the future does not delay later events, which the next rescan finds."""
    outbox.add("ahead", age=-7 * 3600)
    clockwork = Clockwork(waits=80, at={5: lambda: outbox.insert(2)})
    noted, observer = arrivals(clockwork)
    outbox.run(clockwork, observer=observer, loop=True)
    assert noted[3] <= 35
    assert outbox.verdict() == GOOD


def test_an_idle_publisher_does_not_read_old_dead_events_again(outbox):
    """After a rescan, the polls of an idle publisher do not read old dead events again."""
    outbox.insert(30, state="dead", age=timedelta(hours=1))
    clockwork = Clockwork(waits=5)
    run = PublisherRun(outbox.engine, outbox.producer, PublishOptions(loop=True), clockwork, Observer(), clockwork)
    run.run()
    (shard,) = run.shards
    assert shard.backlog.position[0] > max(row.created_at for row in outbox.rows())


def test_events_that_come_while_a_backlog_drains_are_published(outbox):
    """A publisher also sends events that are inserted while it drains a backlog, even with earlier timestamps."""
    outbox.insert(60)
    added = []

    def come(_tally):
        if len(added) < 5:
            added.append(outbox.add("new"))
            added.append(outbox.add("older", age=60))

    clockwork = Clockwork(waits=60)
    report = outbox.run(clockwork, observer=Observer(on_progress=come), loop=True, batch_size=10)
    assert report.counts.published == 60 + len(added)
    assert outbox.verdict().lost == []
