"""Test that a cleanup deletes in short batches, skips locked rows, and pauses longer while the server is busy."""

from __future__ import annotations

from datetime import timedelta
from threading import Event
from uuid import uuid4

import pytest
from sqlalchemy import event

from ticketbottle_payctl.jobs.cleanup import CleanupStoppedBecause
from ticketbottle_payctl.jobs.cleanup.delete_batches import Rest
from ticketbottle_payctl.store.outbox import shard_lock
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun

OLD = timedelta(days=8)


def test_each_cleanup_batch_is_one_short_transaction(clean, insert, engine):
    """Each batch of a cleanup is one transaction, and no batch is larger than the batch size."""
    insert(25, state="published", age=OLD)
    commits, sizes = [], []
    event.listen(engine, "commit", commits.append)
    report = clean(batch_size=10, done=lambda swept: sizes.append(swept.deleted))
    assert (report.batches, sizes) == (3, [10, 20, 25])
    assert len(commits) == 4
    assert not report.dry_run
    assert clean(clock=lambda: 5.0).seconds == 0


def test_a_cleanup_deletes_all_events_of_one_instant(clean, insert, engine, events):
    """If events have the same timestamp, a cleanup deletes all of them, even in several batches."""
    insert(25, state="published", age=OLD)
    with engine.begin() as connection:
        connection.exec_driver_sql('UPDATE outbox SET "createdAt" = (SELECT min("createdAt") FROM outbox)')
    assert clean(batch_size=4).deleted == 25
    assert events() == 0


def test_a_cleanup_skips_locked_rows(clean, insert, engine, events):
    """A cleanup counts locked rows without waiting for them. The next cleanup deletes these rows."""
    insert(6, state="published", age=OLD)
    with engine.connect() as other:
        other.exec_driver_sql('SELECT FROM outbox ORDER BY "createdAt" LIMIT 2 FOR UPDATE')
        report = clean(batch_size=3)
        assert (report.deleted, report.remaining, report.matched) == (4, 2, 6)
    assert clean().deleted == 2
    assert events() == 0


def test_a_signal_ends_a_cleanup_after_its_batch(clean, insert, events):
    """After a signal, a cleanup commits its current batch. The next cleanup deletes the remaining rows."""
    insert(10, state="published", age=OLD)
    stop = Event()
    report = clean(batch_size=2, stop=stop, done=lambda swept: stop.set() if swept.deleted >= 4 else None)
    assert (report.stopped_because, report.deleted, report.remaining) == (CleanupStoppedBecause.SIGNAL, 4, 6)
    assert clean().deleted == 6
    assert events() == 0


def test_the_time_limit_ends_a_cleanup_between_two_batches(clean, insert):
    """When a cleanup reaches its time limit, it ends between two batches."""
    insert(10, state="published", age=OLD)
    seconds = [0.0]

    def tick(_):
        seconds[0] += 1.0

    report = clean(batch_size=2, max_duration=timedelta(seconds=3), clock=lambda: seconds[0], done=tick)
    assert (report.stopped_because, report.deleted) == (CleanupStoppedBecause.DEADLINE, 6)


def test_a_cleanup_keeps_an_event_that_is_replayed_during_the_run(clean, insert, engine, events):
    """A cleanup keeps an event that becomes pending again during the run."""
    insert(4, state="published", age=OLD)

    def replay(swept):
        if swept.batches == 1:
            with engine.begin() as connection:
                connection.exec_driver_sql('UPDATE outbox SET published = false, "publishedAt" = NULL')

    assert clean(batch_size=2, done=replay).deleted == 2
    assert events() == 2


def test_each_cleanup_batch_is_an_index_scan_from_the_last_position(clean, insert, engine):
    """On a large table, each cleanup batch uses an index and starts where the previous batch ended."""
    insert(2000, state="published", age=OLD)
    insert(3000, state="published", age=timedelta(days=1))
    plans = []

    def explain(_connection, cursor, statement, parameters, _context, _many):
        if "SKIP LOCKED" in statement:
            limits, _, delete = statement.rpartition(";\n")
            cursor.execute(f"{limits}; EXPLAIN (ANALYZE, FORMAT JSON) {delete}", parameters)
            plans.append([node for node in nodes(cursor.fetchone()[0][0]["Plan"]) if "Relation Name" in node])
            cursor.execute("ROLLBACK")

    event.listen(engine, "before_cursor_execute", explain)
    try:
        clean(batch_size=500)
    finally:
        event.remove(engine, "before_cursor_execute", explain)
    assert len(plans) == 6  # five batches of published rows (the last is empty), and one of half-marked rows
    for plan in plans:
        (search,) = [node for node in plan if node["Node Type"] == "Index Scan" and node["Alias"] == "outbox"]
        assert search.get("Rows Removed by Filter", 0) <= 1
        assert not [node for node in plan if node["Node Type"] == "Seq Scan"]


def nodes(plan):
    """Yield the nodes of a query plan, starting with the top node."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def test_a_cleanup_pauses_longer_while_a_publisher_works(clean, insert, engine):
    """While a publisher holds its lock, a cleanup pauses for twice as long as the previous batch took."""
    insert(9, state="published", age=OLD)
    pauses = []

    class Recording(Event):
        """A stop event that records how long each wait would be, but does not wait."""

        def wait(self, timeout=None):
            pauses.append(timeout)

    seconds = [0.0]

    def tick(_):
        seconds[0] += 0.01

    with engine.connect() as publisher:
        shard_lock.enter(publisher, 0, 1, 0, "somebody")
        clean(batch_size=3, stop=Recording(), clock=lambda: seconds[0], done=tick, max_duration=timedelta(hours=1))
        beside, pauses[:] = list(pauses), []
        publisher.rollback()
    insert(9, state="published", age=OLD)
    clean(batch_size=3, stop=Recording(), clock=lambda: seconds[0], done=tick, max_duration=timedelta(hours=1))
    assert beside == pytest.approx([0.02] * 3)
    assert pauses == pytest.approx([0.001] * 3)


@pytest.mark.parametrize(("slow", "share"), [(1.0, 0.1), (2.0, 0.1), (10.0, 0.8)])
def test_the_pause_grows_while_the_server_is_slow(slow, share):
    """If a cleanup batch takes much longer than the fastest batch, the next pause is longer, up to one second."""
    rest = Rest()
    rest.after(0.1, 1000)
    pauses = [rest.after(0.1 * slow, 1000) for _ in range(3)]
    assert pauses[-1] == pytest.approx(min(1.0, 0.1 * slow * share))


def test_the_pause_is_halved_after_each_fast_batch():
    """When the server is fast again, each pause is half as long as the last one, down to a tenth of a batch's time."""
    rest = Rest()
    for seconds in (0.1, 1.0, 1.0, 1.0):
        rest.after(seconds, 1000)
    assert [rest.after(0.1, 1000) for _ in range(4)] == pytest.approx([0.04, 0.02, 0.01, 0.01])


def test_a_pause_is_between_a_millisecond_and_a_second():
    """A cleanup's pause between batches lasts at least a millisecond and at most a second."""
    assert (Rest().after(0.0, 0), Rest().after(100.0, 1)) == (0.001, 1.0)


def test_a_cleanup_shows_as_running_while_it_works(clean, insert, engine):
    """The recorded status of a cleanup is "running" during the run and "done" after it."""
    insert(4, state="published", age=OLD)
    run = NewRun(str(uuid4()), "cleanup", Actor("me", "here"))
    seen = []

    def look(_=None):
        with engine.connect() as connection:
            seen.extend(found.status for found in runs.find(connection, run.id))

    clean(batch_size=2, run=run, done=look)
    look()
    assert seen == ["running", "running", "done"]
