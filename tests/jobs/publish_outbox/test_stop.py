"""Test that a stop or a deadline ends a publisher run in time, and commits or rolls back the open batch."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import event

from tests.jobs.publish_outbox.conftest import GOOD, NEW, OLD, Clockwork, new_producer
from ticketbottle_payctl.jobs.publish_outbox import Observer


@pytest.fixture
def patience(monkeypatch):
    """Set the time that an open batch gets after a stop to one second. In production, this time is five seconds."""
    monkeypatch.setattr("ticketbottle_payctl.broker.producer._STOP_PATIENCE", 1.0)
    return 1.0


@pytest.mark.parametrize("loop", [False, True])
def test_a_publisher_that_is_stopped_before_its_start_does_nothing(outbox, mock_kafka, loop):
    """If a publisher is stopped before it starts, it claims nothing and does not contact a broker."""
    mock_kafka.down()
    outbox.insert(3)
    stop = threading.Event()
    stop.set()
    report = outbox.publish(stop=stop, loop=loop)
    assert (report.stopped_because, report.counts.claimed, report.failure) == ("signal", 0, None)
    assert report.seconds < 1


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("age", [NEW, OLD])
def test_a_stop_between_batches_commits_what_was_sent(outbox, loop, age):
    """If a publisher is stopped between two batches, the sent events are committed, and no more events are sent."""
    outbox.insert(50, age=age)
    stop = threading.Event()
    report = outbox.publish(stop=stop, loop=loop, batch_size=5, observer=Observer(on_progress=lambda _: stop.set()))
    assert report.stopped_because == "signal"
    assert report.counts.published == outbox.states().count("published") == len(outbox.messages())
    assert report.counts.batches == 1


def test_a_stop_while_a_loop_loses_its_session_ends_with_a_report(outbox):
    """If the server ends the session of a publisher loop just after a stop, the run ends as after any other stop."""
    clockwork = Clockwork()
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"

    def stop_and_end(_connection, _cursor, statement, *_others):
        if "EXTRACT(epoch" in statement and not clockwork.is_set():
            clockwork.set()
            outbox.execute(f"{others} AND pid <> pg_backend_pid()")

    event.listen(outbox.engine, "before_cursor_execute", stop_and_end)
    report = outbox.run(clockwork, loop=True)
    assert (report.stopped_because, report.failure) == ("signal", None)


def test_a_stop_ends_a_wait_at_once(outbox):
    """If an idle publisher loop is stopped, its wait ends at once."""
    stop = threading.Event()
    timer = threading.Timer(1.5, stop.set)
    timer.start()
    began = time.monotonic()
    report = outbox.publish(stop=stop, loop=True)
    assert report.stopped_because == "signal"
    assert time.monotonic() - began < 1.5 + 1
    timer.join()


def stop_once_sent(outbox, stop, trouble):
    """Start a thread that waits until a batch is claimed, causes a fault, and stops the publisher.

    Return the thread.
    """

    def wait_and_stop():
        deadline = time.monotonic() + 20
        sql = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND state = 'idle in transaction' AND query ILIKE '%%UPDATE outbox%%'
        """
        while not outbox.execute(sql)[0][0] and time.monotonic() < deadline:
            time.sleep(0.01)
        trouble()
        stop.set()

    thread = threading.Thread(target=wait_and_stop)
    thread.start()
    return thread


def test_a_stop_in_the_middle_of_a_slow_batch_lets_it_finish(outbox, mock_kafka):
    """If the broker acknowledges a batch within a second after a stop, payctl commits the batch."""
    outbox.insert(5)
    stop = threading.Event()
    thread = stop_once_sent(outbox, stop, lambda: None)
    report = outbox.publish(stop=stop, observer=Observer(on_ready=lambda: mock_kafka.set_rtt(1000)))
    thread.join()
    mock_kafka.set_rtt(0)
    assert (report.stopped_because, report.counts.published, report.failure) == ("signal", 5, None)
    assert outbox.verdict() == GOOD


def test_a_stop_during_a_broker_outage_rolls_the_batch_back(outbox, mock_kafka, patience):
    """If a publisher is stopped during a broker outage, the open batch is rolled back after its time limit."""
    outbox.insert(5)
    stop = threading.Event()
    thread = stop_once_sent(outbox, stop, mock_kafka.down)
    report = outbox.publish(stop=stop, observer=Observer(on_ready=lambda: mock_kafka.set_rtt(60_000)))
    thread.join()
    assert report.seconds < patience + 4
    assert (report.stopped_because, report.counts.published, report.failure) == ("signal", 0, None)
    assert {(row.state, row.retry_count, row.last_error) for row in outbox.rows()} == {("pending", 0, None)}


def test_a_deadline_ends_a_run_in_time(outbox, mock_kafka, patience):
    """A publisher run ends soon after its deadline, even if the broker does not respond."""
    outbox.insert(5)
    report = outbox.publish(
        budget=timedelta(seconds=0.5), observer=Observer(on_ready=lambda: mock_kafka.set_rtt(60_000))
    )
    assert report.seconds < 0.5 + patience + 4
    assert report.stopped_because == "broker_unavailable"
    assert set(outbox.states()) == {"pending"}


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("age", [NEW, OLD])
def test_no_batch_starts_after_the_deadline(outbox, loop, age):
    """At its deadline, a publisher finishes the open batch and does not start another one."""
    outbox.insert(30, age=age)
    clockwork = Clockwork()

    def tick(_tally):
        clockwork.now += 4

    report = outbox.run(
        clockwork, observer=Observer(on_progress=tick), budget=timedelta(seconds=10), batch_size=5, loop=loop
    )
    assert report.stopped_because == "deadline"
    assert report.counts.published in (15, 20)
    assert report.counts.published == outbox.states().count("published") == len(outbox.messages())


def test_a_loop_with_a_time_limit_ends_at_its_deadline(outbox):
    """A publisher loop with a time limit ends when the limit is reached."""
    outbox.insert(3)
    report = outbox.run(Clockwork(), budget=timedelta(seconds=50), loop=True)
    assert (report.stopped_because, report.counts.published, report.failure) == ("deadline", 3, None)
    assert report.seconds == pytest.approx(50)


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("age", [NEW, OLD])
def test_max_batches_is_exact(outbox, most, loop, age):
    """With --max-batches, a publisher sends and marks exactly that number of batches."""
    outbox.insert(50, age=age)
    report = outbox.publish(max_batches=most, batch_size=5, loop=loop)
    assert (report.stopped_because, report.counts.batches, report.counts.published) == ("max_batches", most, most * 5)
    assert outbox.states() == ["published"] * most * 5 + ["pending"] * (50 - most * 5)
    assert len(outbox.messages()) == most * 5


def test_a_slow_broker_is_not_a_failure(outbox, mock_kafka):
    """If a broker is slow, the publisher waits for acknowledgements and does not report a failure."""
    mock_kafka.set_rtt(300)
    outbox.insert(5)
    producer = new_producer(mock_kafka.bootstrap)
    report = outbox.publish(producer=producer)
    producer.close()
    assert (report.stopped_because, report.counts.published) == ("empty", 5)
