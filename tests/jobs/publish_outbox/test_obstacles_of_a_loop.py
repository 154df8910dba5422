"""Test that a running publisher reports why events wait, and reports later that they no longer wait."""

from __future__ import annotations

from datetime import timedelta

import pytest
from confluent_kafka import KafkaError

from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED, GOOD, PARTITIONS, Clockwork
from ticketbottle_payctl.errors import BrokerUnavailableError
from ticketbottle_payctl.jobs.publish_outbox import Observer, Obstacles
from ticketbottle_payctl.jobs.publish_outbox.observer import Observer as RunObserver
from ticketbottle_payctl.store.outbox import shard_lock


class Heard:
    """A record of the causes that a loop reports, in order."""

    def __init__(self, clockwork):
        self.clockwork, self.said = clockwork, []
        self.observer = Observer(on_obstacles=self._on_obstacles)

    def _on_obstacles(self, obstacles: Obstacles):
        causes = [*(f"locked {each.shard}" for each in obstacles.locked), *obstacles.stopped]
        causes += [each.reason.value for each in obstacles.blockers]
        causes += [obstacles.away.code] if obstacles.away else []
        self.said.append((round(self.clockwork.now - 1000, 1), causes))

    @property
    def causes(self):
        """The causes that were reported, without their times."""
        return [causes for _, causes in self.said]


def loop(outbox, clockwork, **options):
    """Run a publisher loop with a simulated clock, and return the record of its reports."""
    heard = Heard(clockwork)
    outbox.run(clockwork, observer=heard.observer, loop=True, **options)
    return heard


def test_a_loop_without_blocked_events_reports_no_cause(outbox):
    """A publisher loop without blocked events does not report a cause."""
    outbox.insert(5)
    looks = []
    heard = loop(outbox, Clockwork(waits=60, at={30: lambda: looks.append(outbox.insert(2))}))
    assert heard.said == []


def test_a_loop_reports_a_missing_topic_at_once(outbox, mock_kafka):
    """A publisher loop reports a missing topic at once, even without events, and reports when the topic exists."""
    mock_kafka.fail_topic("payment.completed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    clockwork = Clockwork(waits=110, at={40: lambda: mock_kafka.fail_topic("payment.completed", 0)})
    heard = loop(outbox, clockwork)
    assert heard.causes == [[COMPLETED], []]
    assert heard.said[0][0] < 0.1


def test_a_loop_reports_the_events_that_wait_for_a_topic_once(outbox, mock_kafka):
    """A publisher loop reports a missing topic only once, even if more events wait for it later."""
    mock_kafka.fail_topic("payment.completed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    outbox.insert(3)
    heard = loop(outbox, Clockwork(waits=30, at={10: lambda: outbox.insert(2)}))
    assert heard.causes == [[COMPLETED, "topic"]]


def test_a_loop_reports_when_a_payment_is_blocked_and_when_it_is_released(outbox):
    """A publisher loop reports when a payment becomes blocked, and again when it is released."""
    blocker = outbox.add("k", age=60, retry_count=5)

    def replay():
        outbox.execute("""UPDATE outbox SET "retryCount" = 0 WHERE id = %(id)s""", id=blocker)

    heard = loop(outbox, Clockwork(waits=160, at={20: lambda: outbox.add("k"), 80: replay}))
    assert heard.causes == [["dead"], []]
    assert outbox.verdict() == GOOD


def test_a_loop_reports_a_partition_without_a_leader_once(outbox, mock_kafka):
    """A publisher loop reports a partition without a leader once, even though it retries the partition's events."""
    for partition in range(PARTITIONS):
        mock_kafka.set_leader("payment.completed", partition, -1)
    outbox.insert(3)
    heard = loop(outbox, Clockwork(waits=60, at={40: lambda: outbox.insert(2)}))
    assert heard.causes[0] == ["failed"] * 3
    assert len(heard.causes) == 1


def test_a_loop_looks_for_causes_between_the_batches_of_a_long_drain(outbox):
    """A publisher loop reports why events wait every five seconds, even while it still has events to publish."""
    outbox.insert(30, age=timedelta(minutes=1))
    seen, clockwork = [0], Clockwork(waits=16)
    observer = RunObserver(
        on_progress=lambda counts: seen.append(counts.published),
        on_look=lambda _: looks.append((seen[-1], round(clockwork.now - 1000))),
    )
    looks = []
    outbox.run(clockwork, observer=observer, loop=True, rate=1)
    assert looks[:3] == [(1, 0), (6, 5), (11, 10)]


def test_a_loop_with_many_blocked_payments_does_not_report_each_new_one(outbox):
    """If more than twenty payments are blocked, a publisher loop does not report each additional blocked payment."""
    for number in range(40):
        outbox.add(f"k{number}", age=60, retry_count=5)
        outbox.add(f"k{number}", age=50)
    at = {20 + number: lambda number=number: outbox.add(f"k{number}") for number in range(40)}
    heard = loop(outbox, Clockwork(waits=80, at=at))
    assert heard.causes == [["dead"] * 20]


def test_a_loop_reports_a_locked_shard_and_its_release(outbox):
    """A publisher loop reports a locked shard only after two seconds, because another batch can take that long."""
    with outbox.engine.connect() as other:
        shard_lock.enter(other, 0, 1, 0, "elsewhere:77:abc")
        # The loop looks again after five seconds, which is up to seven waits of 0.8 to 1.2 seconds.
        heard = loop(outbox, Clockwork(waits=40, at={25: other.rollback}))
    assert heard.causes == [["locked 0"], []]
    assert 2 <= heard.said[0][0] < 4


@pytest.mark.parametrize("waits", [8, 30])
def test_a_loop_reports_unavailable_brokers_once(outbox, mock_kafka, monkeypatch, waits):
    """A publisher loop reports unavailable brokers once, even if later attempts fail with different messages."""
    monkeypatch.setattr("ticketbottle_payctl.jobs.publish_outbox.run._PROBE_TIMEOUT", 0.3)
    mock_kafka.down()
    outbox.insert(2)
    heard = loop(outbox, Clockwork(waits=waits, at={5: mock_kafka.up}))
    assert heard.causes == [["KAFKA_UNAVAILABLE"], []]


@pytest.mark.usefixtures("short_probe")
def test_a_loop_counts_the_events_that_wait_for_the_brokers(outbox, mock_kafka):
    """During an outage of the brokers, each report of a loop has the count of pending events and the age of the oldest.

    Events that arrive during the outage are counted, too. After the outage, no event waits.
    """
    mock_kafka.down()
    outbox.insert(2, age=timedelta(minutes=1))
    seen = []
    observer = RunObserver(on_look=lambda found: seen.append((found.waiting, (found.oldest_pending_age_s or 0) >= 60)))
    outbox.run(Clockwork(waits=30, at={2: lambda: outbox.insert(3), 5: mock_kafka.up}), observer=observer, loop=True)
    assert (seen[0], seen[4], seen[-1]) == ((2, True), (5, True), (0, False))


def test_a_publisher_reports_each_batch_before_it_is_sent(outbox):
    """Before sending a batch, a publisher reports the number of events and the age of the oldest in database time."""
    outbox.insert(2, age=timedelta(minutes=1))
    seen = []
    outbox.publish(observer=RunObserver(on_send=lambda events, age_s: seen.append((events, 60 <= age_s < 120))))
    assert seen == [(2, True)]


def test_an_event_from_the_future_is_reported_as_new(outbox):
    """Before a publisher sends an event whose creation time is in the future, it reports the age 0."""
    outbox.insert(1, age=timedelta(hours=-1))
    seen = []
    outbox.publish(observer=RunObserver(on_send=lambda events, age_s: seen.append((events, age_s))))
    assert seen == [(1, 0.0)]


def test_a_loop_reports_a_read_only_database_once(outbox):
    """A publisher loop reports a read-only database once, and reports when the database accepts writes again."""

    def set_to(value):
        database = outbox.execute("SELECT current_database()")[0][0]
        with outbox.engine.connect() as connection:
            connection.exec_driver_sql("SET default_transaction_read_only = off")
            connection.commit()
            connection.exec_driver_sql(f"ALTER DATABASE {database} SET default_transaction_read_only = {value}")
            connection.commit()
        outbox.engine.dispose()

    outbox.insert(2)
    set_to("on")
    clockwork = Clockwork(waits=12, at={4: lambda: set_to("off")})
    messages = []
    heard = RunObserver(on_obstacles=lambda obstacles: messages.append(obstacles.away and obstacles.away.message))
    report = outbox.run(clockwork, observer=heard, loop=True)
    assert [message and message.partition(":")[0] for message in messages] == ["the database is read-only", None]
    assert (report.counts.published, outbox.verdict()) == (2, GOOD)


def test_a_stopped_loop_names_the_unavailable_service(outbox, mock_kafka, monkeypatch):
    """If a publisher loop is stopped during an outage, its report still names the unavailable service."""
    monkeypatch.setattr("ticketbottle_payctl.jobs.publish_outbox.run._PROBE_TIMEOUT", 0.3)
    mock_kafka.down()
    report = outbox.run(Clockwork(waits=3), loop=True)
    assert (report.stopped_because, report.failure) == ("signal", None)
    assert isinstance(report.obstacles.away, BrokerUnavailableError)


@pytest.mark.parametrize("endless", [True, False], ids=["loop", "drain"])
def test_a_slow_search_for_blocks_does_not_stop_publishing(outbox, mock_kafka, monkeypatch, endless):
    """If the search for blocks is too slow, the publisher still publishes, and still reports a missing topic."""

    def slow(connection, *_arguments):
        connection.exec_driver_sql("SELECT pg_sleep(5)")

    monkeypatch.setattr("ticketbottle_payctl.jobs.publish_outbox.run._LOOK_LIMIT", timedelta(milliseconds=20))
    monkeypatch.setattr("ticketbottle_payctl.jobs.publish_outbox.run.look", slow)
    mock_kafka.fail_topic("payment.failed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    outbox.add("k", FAILED)
    clockwork = Clockwork(waits=40, at={20: lambda: outbox.insert(3)} if endless else {})
    heard = Heard(clockwork)
    outbox.insert(2)
    report = outbox.run(clockwork, observer=heard.observer, loop=endless)
    assert report.counts.published == (5 if endless else 2)
    assert heard.causes == ([[FAILED]] if endless else [])
    assert (report.partial, report.obstacles.known) == (True, False)
    assert report.counts.held > 0
