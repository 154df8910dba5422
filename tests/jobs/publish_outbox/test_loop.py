"""Test the polls, the waits, the retries and the rate of a publisher loop."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from confluent_kafka import KafkaError

from tests.jobs.publish_outbox.conftest import GOOD, OLD, Clockwork
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.publish_outbox import Observer

LONG_AGO = 7200.0


class Heard:
    """A record of the calls to an observer, in order."""

    def __init__(self):
        self.said, self.waits = [], []
        self.observer = Observer(
            on_ready=lambda: self.said.append("ready"),
            on_progress=lambda counts: self.said.append(counts.published),
            on_wait=self._waiting,
        )

    def _waiting(self, error, seconds):
        self.said.append(error.code)
        self.waits.append(seconds)


def test_a_loop_publishes_new_events_until_it_is_stopped(outbox):
    """A publisher loop publishes new events until it is stopped.

    The loop notifies its observer of the start and each batch.
    """
    heard = Heard()
    clockwork = Clockwork(waits=6, at={n: lambda: outbox.insert(2) for n in (1, 3, 5)})
    report = outbox.run(clockwork, observer=heard.observer, loop=True)
    assert heard.said == ["ready", 2, 4, 6]
    assert (report.stopped_because, report.counts.published, outbox.verdict()) == ("signal", 6, GOOD)


def test_an_idle_loop_polls_at_growing_intervals(outbox):
    """The poll interval of an idle publisher loop grows from 5 milliseconds to one second, with jitter."""
    clockwork = Clockwork(waits=25)
    outbox.run(clockwork, loop=True)
    waited = clockwork.waited
    assert 0.004 <= waited[0] <= 0.006
    assert all(0.8 <= seconds <= 1.2 for seconds in waited[-8:])
    assert len(set(waited)) == len(waited)


def test_a_published_event_resets_the_poll_interval(outbox):
    """After an event is published, a publisher loop's poll interval is short again."""
    clockwork = Clockwork(waits=24, at={20: lambda: outbox.insert(1)})
    outbox.run(clockwork, loop=True)
    assert clockwork.waited[19] > 0.8
    assert clockwork.waited[20] < 0.01


@pytest.mark.usefixtures("short_probe")
def test_a_loop_waits_for_an_unavailable_broker(outbox, mock_kafka):
    """While no broker is available, a publisher loop claims nothing, and its waits grow to at most six seconds.

    When the broker is available again, the backlog drains.
    """
    heard = Heard()
    outbox.insert(5)
    mock_kafka.down()
    clockwork = Clockwork(waits=12, at={9: mock_kafka.up})
    report = outbox.run(clockwork, observer=heard.observer, loop=True)
    assert heard.said[:9] == ["KAFKA_UNAVAILABLE"] * 9
    assert heard.said[9:11] == ["ready", 5]
    assert 0.5 <= heard.waits[0] <= 1
    assert all(3 <= seconds <= 6 for seconds in heard.waits[4:9])
    assert (report.failure, report.counts.claimed, outbox.verdict()) == (None, 5, GOOD)


@pytest.mark.usefixtures("short_probe")
@pytest.mark.parametrize(
    ("end", "waits"), [(0, [0.5, 1, 2, 3, 3]), (1, [1, 2, 4, 6, 6])], ids=["the shortest", "the longest"]
)
def test_the_waits_of_an_outage_double_up_to_six_seconds(outbox, mock_kafka, monkeypatch, end, waits):
    """A publisher loop's waits during an outage double up to six seconds. Jitter shortens a wait by at most half."""
    monkeypatch.setattr("random.uniform", lambda *ends: ends[end])
    heard = Heard()
    mock_kafka.down()
    outbox.run(Clockwork(waits=5), observer=heard.observer, loop=True)
    assert heard.waits == waits


@pytest.mark.usefixtures("short_probe")
def test_an_idle_loop_notices_an_outage(outbox, mock_kafka):
    """An idle publisher loop notices an outage, because it probes the brokers every 30 seconds."""
    clockwork = Clockwork(at={1: mock_kafka.down})
    noticed = []

    def waiting(error, _seconds):
        noticed.append((error.code, clockwork.now))
        clockwork.set()

    outbox.run(clockwork, observer=Observer(on_wait=waiting), loop=True)
    assert noticed[0][0] == "KAFKA_UNAVAILABLE"
    assert 30 <= noticed[0][1] - 1000 <= 32


def test_each_failed_batch_makes_the_next_wait_longer(outbox, mock_kafka):
    """If the broker answers probes but does not accept messages, a loop waits longer after each failed batch."""
    heard = Heard()
    outbox.insert(1)
    outbox.producer.probe(5)
    mock_kafka.fail_next(*[KafkaError.INVALID_PRODUCER_EPOCH] * 200)
    outbox.run(Clockwork(waits=8), observer=heard.observer, loop=True)
    assert len(heard.waits) >= 4
    assert all(a < b for a, b in pairwise(heard.waits[:3]))
    assert outbox.row(outbox.rows()[0].id).retry_count == 0


@pytest.mark.usefixtures("short_probe")
def test_a_successful_poll_resets_the_waits_of_an_outage(outbox, mock_kafka):
    """After a successful poll, the first wait of the next outage is the shortest again."""
    heard = Heard()
    clockwork = Clockwork()
    mock_kafka.down()
    known, recovered = [], []

    def up():
        known.append(len(heard.waits))
        mock_kafka.up()

    def down_again():
        """Start a second outage after the first wait that is not part of an outage. A slow probe can delay this."""
        if not recovered and len(heard.waits) == known[-1]:
            recovered.append(len(heard.waits))
            mock_kafka.down()
        known.append(len(heard.waits))

    clockwork.at = {5: up} | dict.fromkeys(range(6, 1000), down_again)
    is_done = lambda: recovered and len(heard.waits) > recovered[0]  # noqa: E731
    heard.observer = replace(heard.observer, on_heartbeat=lambda _: clockwork.set() if is_done() else None)
    outbox.run(clockwork, observer=heard.observer, loop=True)
    assert 3 <= heard.waits[4] <= 6
    assert 0.5 <= heard.waits[recovered[0]] <= 1


def test_a_publisher_sends_a_heartbeat_at_each_drain_and_each_batch(outbox):
    """A publisher sends a heartbeat each time it drains a shard and for each batch."""
    shown = []
    outbox.insert(30, age=OLD)
    report = outbox.publish(batch_size=5, observer=Observer(on_heartbeat=lambda counts: shown.append(counts.batches)))
    assert set(shown) == set(range(report.counts.batches + 1))
    shown.clear()
    outbox.run(Clockwork(waits=1), loop=True, shards=4, observer=Observer(on_heartbeat=lambda _: shown.append(0)))
    assert len(shown) == 4


def test_a_loop_waits_for_an_unavailable_database(outbox, postgres):
    """If the database is unavailable, a publisher loop waits, and then publishes the remaining events.

    The loop says only once that it is ready.
    """
    heard = Heard()
    outbox.insert(3)

    def restart():
        postgres.restart("fast")
        outbox.insert(2)

    clockwork = Clockwork(waits=8, at={1: lambda: postgres.stop("immediate"), 4: restart})
    report = outbox.run(clockwork, observer=heard.observer, loop=True)
    assert "DATABASE_UNAVAILABLE" in heard.said
    assert heard.said.count("ready") == 1
    assert (report.stopped_because, report.counts.published, outbox.verdict()) == ("signal", 5, GOOD)


def test_a_stop_during_a_database_outage_ends_with_a_report(outbox, postgres):
    """After a stop during a database outage, a publisher loop's report contains the counts, but not the oldest age."""
    outbox.insert(3)
    clockwork = Clockwork(waits=3, at={1: lambda: postgres.stop("immediate")})
    try:
        report = outbox.run(clockwork, loop=True)
    finally:
        postgres.restart()
    assert (report.stopped_because, report.counts.published, report.oldest_pending_age_s) == ("signal", 3, None)


def test_a_single_run_does_not_wait_for_a_database(outbox, postgres):
    """If the database is unavailable, a publisher without --loop raises an error at once."""
    postgres.stop("immediate")
    try:
        with pytest.raises(DatabaseUnavailableError):
            outbox.run(Clockwork())
    finally:
        postgres.restart()


def test_a_failed_event_is_tried_again_after_its_backoff(outbox, mock_kafka):
    """A failed event is retried five seconds after its failure, but not earlier."""
    id_ = outbox.add("k", age=LONG_AGO)
    mock_kafka.fail_next(KafkaError.INVALID_REQUEST)
    clockwork = Clockwork()
    times = []
    heard = Observer(on_progress=lambda counts: times.append((clockwork.now, counts.published)))
    clockwork.at = {n: lambda: clockwork.set() if len(times) > 1 else None for n in range(1000)}
    outbox.run(clockwork, observer=heard, loop=True)
    (failed_at, none), (sent_at, one) = times
    assert (none, one) == (0, 1)
    assert 5.0 <= sent_at - failed_at <= 5.1
    assert outbox.row(id_).retry_count == 1


def test_a_missing_topic_that_appears_is_used_within_a_minute(outbox, mock_kafka):
    """If a missing topic is created, a running publisher loop uses it within a minute."""
    mock_kafka.fail_topic("payment.completed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    outbox.insert(4)
    clockwork = Clockwork(waits=100, at={5: lambda: mock_kafka.fail_topic("payment.completed", 0)}, pause=0.05)
    began = clockwork.now
    sent = []
    report = outbox.run(
        clockwork,
        observer=Observer(on_progress=lambda counts: sent.append(clockwork.now) if counts.published else None),
        loop=True,
    )
    assert (report.counts.published, outbox.verdict()) == (4, GOOD)
    assert sent[0] - began < 60


def test_a_rate_is_kept_and_idle_time_allows_no_burst(outbox):
    """--rate limits the events per second. Idle time does not allow a later burst."""
    outbox.insert(20)
    first = Clockwork()
    outbox.run(first, rate=10)
    assert 1.6 <= first.now - 1000 <= 2.6
    idle = Clockwork(waits=60)
    began = []

    def come():
        began.append(idle.now)
        outbox.insert(20)

    idle.at = {30: come}
    finished = []
    outbox.run(
        idle,
        observer=Observer(on_progress=lambda counts: finished.append(idle.now) if counts.published == 20 else None),
        rate=10,
        loop=True,
    )
    assert began[0] - 1000 > 10
    assert finished[0] - began[0] >= 1.5


def test_a_rate_is_kept_by_four_batches_a_second(outbox):
    """At a rate of twelve events a second, a publisher sends four batches a second."""
    outbox.insert(12)
    assert outbox.run(Clockwork(), rate=12).counts.batches == 4


def test_a_rate_does_not_delay_events_behind_a_blocked_batch(outbox):
    """With --rate, a publisher continues after a batch in which all events are blocked."""
    for number in range(9):
        outbox.add(f"dead{number}", age=60, retry_count=5)
        outbox.add(f"dead{number}", age=50)
    outbox.insert(9)
    report = outbox.run(Clockwork(), rate=12)
    assert (report.stopped_because, report.counts.published, outbox.verdict()) == ("empty", 9, GOOD)
