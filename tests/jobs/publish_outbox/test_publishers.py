"""Test that concurrent publishers share the shards of an outbox, and that each shard has one publisher at a time."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import KafkaError
from sqlalchemy import event

from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED, GOOD, NEW, OLD, Clockwork, new_producer
from ticketbottle_payctl.jobs.publish_outbox import Observer
from ticketbottle_payctl.store.outbox import shard_lock
from ticketbottle_payctl.store.outbox.shard_lock import Entry

TYPES = (FAILED, COMPLETED)


def enter(connection, shard=0, shards=1, lane=0, owner="somebody"):
    """Enter a shard, as a running publisher does."""
    assert shard_lock.enter(connection, shard, shards, lane, owner) is not Entry.REFUSED


@pytest.mark.parametrize("lane", [0, 1])
def test_a_second_publisher_reports_locked(outbox, lane):
    """If one of a shard's two locks is held, a second publisher gives up after two seconds and claims nothing."""
    outbox.insert(5)
    clockwork = Clockwork()
    with outbox.engine.connect() as other:
        enter(other, lane=lane)
        report = outbox.run(clockwork)
        other.rollback()
    assert (report.stopped_because, report.counts.claimed) == ("locked", 0)
    assert 2 < clockwork.now - 1000 < 3.5
    assert set(outbox.states()) == {"pending"}


def test_the_next_publisher_enters_as_soon_as_the_first_is_gone(outbox):
    """The next publisher enters a shard as soon as the first publisher's connection ends."""
    outbox.insert(5)
    with outbox.engine.connect() as other:
        enter(other)
        gone = Clockwork(at={3: other.invalidate})
        report = outbox.run(gone)
    assert (report.stopped_because, report.counts.published) == ("empty", 5)
    assert gone.now - 1000 < 0.1


@pytest.mark.parametrize(("theirs", "ours"), [(1, 2), (2, 1), (4, 2), (64, 1)])
def test_publishers_with_different_numbers_of_shards_exclude_each_other(outbox, theirs, ours):
    """Publishers with different numbers of shards exclude each other, because their shards overlap."""
    outbox.insert(5)
    with outbox.engine.connect() as other:
        enter(other, shard=theirs - 1, shards=theirs)
        report = outbox.run(Clockwork(), shards=ours)
        other.rollback()
    assert (report.stopped_because, report.counts.claimed) == ("locked", 0)
    assert outbox.run(Clockwork(), shards=ours).counts.published == 5


def test_a_shard_that_is_taken_does_not_stop_the_others(outbox):
    """If another publisher holds one of four shards, the other three are drained, and the report names that shard."""
    outbox.insert(200)
    with outbox.engine.connect() as other:
        enter(other, shard=2, shards=4)
        report = outbox.run(Clockwork(), shards=4)
        other.rollback()
    assert report.stopped_because == "locked"
    assert [each.shard for each in report.obstacles.locked] == [2]
    assert 100 < report.counts.published < 200
    assert outbox.run(Clockwork(), shards=4).counts.published == 200 - report.counts.published
    assert outbox.verdict() == GOOD


def test_a_loop_that_gets_no_lock_polls_at_growing_intervals(outbox):
    """A publisher loop that does not get the lock polls at growing intervals, even if it remembers a due retry."""
    outbox.add("k", age=3.0, retry_count=1)
    with outbox.engine.connect() as other:
        clockwork = Clockwork(waits=40, at={1: lambda: enter(other)})
        outbox.run(clockwork, loop=True)
        other.rollback()
    assert all(seconds > 0.5 for seconds in clockwork.waited[-10:])


@pytest.mark.parametrize("publishers", [1, 2, 4])
@pytest.mark.parametrize("shards", [1, 2, 4])
def test_concurrent_publishers_send_every_event_once_and_in_order(outbox, mock_kafka, publishers, shards):
    """Concurrent publishers send every event once and in order, even after delivery failures."""
    for age in (OLD, OLD / 2, OLD / 4, NEW):
        outbox.insert(20, event_type=FAILED, aggregates=9, age=age)
        outbox.insert(20, event_type=COMPLETED, aggregates=7, age=age)
    mock_kafka.fail_next(*[KafkaError.NO_ERROR, KafkaError.NO_ERROR, KafkaError.NOT_ENOUGH_REPLICAS] * 4)
    together = threading.Barrier(publishers)
    producers = [new_producer(mock_kafka.bootstrap) for _ in range(publishers)]

    def run(producer):
        ready = Observer(on_ready=lambda: together.wait(20))
        return outbox.publish(producer=producer, observer=ready, shards=shards, batch_size=15)

    with ThreadPoolExecutor(publishers) as pool:
        reports = list(pool.map(run, producers))
    for producer in producers:
        producer.close()
    outbox.publish(shards=shards)
    assert sum(report.counts.published for report in reports) <= 160
    assert {report.stopped_because for report in reports} <= {"empty", "locked"}
    assert outbox.verdict() == GOOD
    assert set(outbox.states()) == {"published"}


def test_two_loops_share_the_shards(outbox, mock_kafka):
    """Two publisher loops share the shards if there is enough work."""
    outbox.insert(1500, age=OLD)
    stop = threading.Event()
    together = threading.Barrier(2)
    producers = [new_producer(mock_kafka.bootstrap) for _ in range(2)]
    tallies = [0, 0]

    def run(number):
        def batch(counts):
            tallies[number] = counts.published
            if sum(tallies) == 1500:
                stop.set()

        observer = Observer(on_ready=lambda: together.wait(20), on_progress=batch)
        return outbox.publish(
            producer=producers[number], observer=observer, stop=stop, loop=True, shards=4, batch_size=10
        )

    at_the_latest = threading.Timer(30, stop.set)
    at_the_latest.start()
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(run, (0, 1)))
    at_the_latest.cancel()
    for producer in producers:
        producer.close()
    shares = [report.counts.published for report in reports]
    assert sum(shares) == 1500
    assert min(shares) > 0
    assert outbox.verdict() == GOOD


def test_a_batch_is_committed_only_if_the_other_connection_has_its_lock(outbox):
    """A batch is committed only after the publisher's other connection gets its lock.

    Another publisher can briefly hold this lock until it is refused.
    """
    outbox.insert(30, age=OLD)
    lock = shard_lock.keeping(0, 1, 1)
    newcomers, reports = [], []

    def come_in_between(_connection, _cursor, statement, *_):
        if lock in statement and not newcomers:
            newcomers.append(outbox.engine.connect())
            newcomers[0].exec_driver_sql(f"SELECT {lock}")

    event.listen(outbox.engine, "before_cursor_execute", come_in_between)
    publisher = threading.Thread(target=lambda: reports.append(outbox.publish(batch_size=10)))
    publisher.start()
    deadline = time.monotonic() + 1.5  # less than the lock timeout of two seconds
    while len(outbox.messages()) < 10 and time.monotonic() < deadline:
        pass
    assert set(outbox.states()) == {"pending"}
    newcomers[0].close()
    publisher.join(20)
    assert (reports[0].counts.published, outbox.verdict()) == (30, GOOD)


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (1, 3), (2, 1), (3, 2)])
def test_a_returning_publisher_reads_what_another_one_changed(outbox, mock_kafka, ours, theirs):
    """A returning publisher notices that an event died under another publisher, even if their shard counts differ.

    The returning publisher does not send events behind the dead event.
    """
    poison, behind = [], []

    def interlude():
        poison.append(outbox.add("k", "NO_SUCH_TYPE", age=5))
        other = new_producer(mock_kafka.bootstrap)
        outbox.publish(producer=other, shards=theirs)
        other.close()
        behind.append(outbox.add("k", COMPLETED))

    outbox.insert(1)
    report = outbox.run(Clockwork(waits=12, at={4: interlude}), loop=True, shards=ours)
    assert report.counts.published == 1
    assert (outbox.row(poison[0]).state, outbox.row(behind[0]).state) == ("dead", "pending")


def test_alternating_publishers_keep_the_order(outbox, mock_kafka):
    """Two publisher loops that take turns keep the order, because a loop rereads the events when it gets the lock."""
    stop = threading.Event()
    producers = [new_producer(mock_kafka.bootstrap) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(outbox.publish, producer=producer, stop=stop, loop=True, batch_size=3) for producer in producers
        ]
        for number in range(40):
            outbox.add(f"k{number % 3}", TYPES[number % 2])
        deadline = time.monotonic() + 20
        while "pending" in outbox.states() and time.monotonic() < deadline:
            stop.wait(0.02)
        stop.set()
        assert sum(run.result(20).counts.published for run in runs) == 40
    for producer in producers:
        producer.close()
    assert outbox.verdict() == GOOD


@pytest.mark.parametrize(("waits", "age"), [(20, 3600), (60, 0)])
def test_an_idle_loop_renews_its_heartbeat_at_each_rescan(outbox, waits, age):
    """An idle publisher loop renews its heartbeat at each rescan, but not at each poll."""
    names = []

    def grow_old():
        sql = "UPDATE payctl.publishers SET since = since - interval '1 hour' RETURNING owner"
        names.extend(outbox.execute(sql))

    sql = "SELECT owner, EXTRACT(epoch FROM now() - since)::int FROM payctl.publishers"
    before_the_end = []
    at = {10: grow_old, waits - 1: lambda: before_the_end.append(outbox.execute(sql))}
    outbox.run(Clockwork(waits=waits, at=at), loop=True)
    ((owner, seen),) = before_the_end[0]
    assert names == [(owner,)]
    assert seen == pytest.approx(age, abs=5)


def test_a_heartbeat_does_not_hide_another_publisher(outbox):
    """A publisher's heartbeat does not hide that a publisher with a different number of shards has run."""
    with outbox.engine.begin() as connection:
        enter(connection, owner="us")
        shard_lock.show_life(connection, 0, 1, "us")
    with outbox.engine.begin() as connection:
        assert shard_lock.enter(connection, 0, 1, 0, "us") is Entry.UNCHANGED
    with outbox.engine.begin() as connection:
        enter(connection, shard=1, shards=2, owner="them")
        shard_lock.show_life(connection, 1, 2, "them")
    with outbox.engine.begin() as connection:
        assert shard_lock.enter(connection, 0, 1, 0, "us") is Entry.TAKEN_OVER


@pytest.mark.parametrize("taken_over", [False, True])
def test_a_publisher_that_ends_marks_its_row_as_ended(outbox, taken_over):
    """When a publisher stops, it marks its row as ended, unless another publisher has taken the row over."""

    def take_over():
        with outbox.engine.begin() as connection:
            enter(connection, owner="host:9:them")

    outbox.run(Clockwork(waits=5, at={5: take_over} if taken_over else {}), loop=True)
    ((owner,),) = outbox.execute("SELECT owner FROM payctl.publishers")
    name, ended = shard_lock.name_of(owner)
    assert ended is not taken_over
    assert name == ("host:9" if taken_over else f"{socket.gethostname()}:{os.getpid()}")
