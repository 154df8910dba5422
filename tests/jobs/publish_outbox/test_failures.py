from __future__ import annotations

import time
from datetime import timedelta

import pytest
from confluent_kafka import KafkaError

from tests.jobs.publish_outbox.conftest import (
    CANCELLED,
    COMPLETED,
    FAILED,
    GOOD,
    OLD,
    PARTITIONS,
    Clockwork,
    new_producer,
)
from ticketbottle_payctl.broker.config import MESSAGE_TIMEOUT_MS, producer_config
from ticketbottle_payctl.broker.partition import partition_of
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.jobs.publish_outbox import Observer, StoppedBecause
from ticketbottle_payctl.settings import KafkaSettings

LONG_AGO = 7200.0
SECRETS = "not for any log"


def untouched(rows):
    """Return whether every row is still without retries, errors and a publishing timestamp."""
    return all((row.retry_count, row.last_error, row.published_at) == (0, None, None) for row in rows)


@pytest.fixture
def hasty(mock_kafka):
    """Yield a producer that gives up on a message after 300 ms."""
    producer = new_producer(mock_kafka.bootstrap, message_timeout_ms=300, socket_timeout_ms=300)
    yield producer
    producer.close()


def test_an_unavailable_broker_costs_nothing(outbox, mock_kafka, monkeypatch):
    """If no broker is available, a publisher claims nothing, leaves all rows unchanged, and reports the reason."""
    monkeypatch.setattr("ticketbottle_payctl.jobs.publish_outbox.run._PROBE_TIMEOUT", 0.5)
    outbox.insert(20)
    mock_kafka.down()
    before = outbox.execute("SELECT id, xmin::text FROM outbox ORDER BY id")
    report = outbox.publish()
    assert (report.stopped_because, report.failure.code) == ("broker_unavailable", "KAFKA_UNAVAILABLE")
    assert (report.counts.claimed, report.counts.batches, report.partial) == (0, 0, False)
    assert report.oldest_pending_age_s >= 0
    assert outbox.execute("SELECT id, xmin::text FROM outbox ORDER BY id") == before


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_a_broker_that_acknowledges_nothing_costs_nothing(outbox, mock_kafka, hasty, batch_size):
    """If a broker acknowledges none of a batch's messages, the batch is rolled back, and no event uses up a retry."""
    outbox.insert(8, aggregates=3)
    mock_kafka.fail_next(*[KafkaError.NOT_ENOUGH_REPLICAS] * 100)
    report = outbox.publish(producer=hasty, batch_size=batch_size)
    assert (report.stopped_because, report.counts.published) == (StoppedBecause.BROKER_UNAVAILABLE, 0)
    assert untouched(outbox.rows())
    mock_kafka.forget_failures()
    assert outbox.publish().counts.published == 8
    assert outbox.verdict() == GOOD


def test_batches_committed_before_an_outage_are_counted(outbox, mock_kafka, hasty):
    """If the broker fails during a publisher run, the report counts exactly the events that were already committed."""
    outbox.insert(40, age=OLD)
    hasty.probe(5)
    mock_kafka.fail_next(*[KafkaError.NO_ERROR] * 12, *[KafkaError.NOT_ENOUGH_REPLICAS] * 100)
    report = outbox.publish(producer=hasty, batch_size=4)
    assert report.stopped_because is StoppedBecause.BROKER_UNAVAILABLE
    assert 0 < report.counts.published == outbox.states().count("published")
    assert untouched([row for row in outbox.rows() if not row.published])
    assert outbox.verdict().lost == []


def test_a_partial_transport_failure_costs_nothing(outbox, mock_kafka, hasty):
    """If a partition has no leader, its events wait unchanged, and the events of the other partitions are published."""
    outbox.insert(30)
    mock_kafka.set_leader("payment.completed", 1, -1)
    report = outbox.publish(producer=hasty)
    waiting = [row for row in outbox.rows() if not row.published]
    assert 0 < len(waiting) == report.counts.retried < 30
    assert report.partial
    assert untouched(waiting)
    mock_kafka.set_leader("payment.completed", 1, 1)
    outbox.publish()
    assert outbox.verdict() == GOOD


class Probed(Producer):
    """A producer that counts its probes of the brokers."""

    probes = 0

    def probe(self, *arguments):
        """Count the probe, and probe the brokers."""
        self.probes += 1
        return super().probe(*arguments)


def test_a_run_probes_the_brokers_after_a_partial_transport_failure(outbox, mock_kafka):
    """After a partial transport failure, a publisher probes the brokers before it sends the next batch."""
    outbox.insert(60)
    producer = Probed(producer_config(KafkaSettings(outbox.bootstrap)))
    observer = Observer(on_ready=lambda: mock_kafka.fail_next(KafkaError.INVALID_PRODUCER_EPOCH))
    report = outbox.publish(batch_size=20, producer=producer, observer=observer)
    producer.close()
    assert 0 < report.counts.retried == 60 - report.counts.published < 20
    assert (report.stopped_because, report.counts.claimed, producer.probes) == ("empty", 60, 2)


def test_a_partition_without_a_leader_delays_no_other_payment(outbox, mock_kafka):
    """A partition without a leader does not delay payments in other partitions."""
    outbox.insert(300)
    mock_kafka.set_leader("payment.completed", 1, -1)
    ours = {row.key for row in outbox.rows() if partition_of(row.key.encode(), 3) == 1}
    began = time.monotonic()
    report = outbox.publish(batch_size=20)
    assert time.monotonic() - began < MESSAGE_TIMEOUT_MS / 1000
    waiting = [row for row in outbox.rows() if not row.published]
    assert {row.key for row in waiting} == ours
    assert (report.stopped_because, report.partial, report.counts.published) == ("empty", True, 300 - len(waiting))
    assert untouched(waiting)


def test_a_topic_without_write_permission_stops_only_its_event_type(outbox, mock_kafka):
    """If payctl has no permission to write to a topic, only that topic's events wait, and other events are sent."""
    outbox.insert(5, event_type=FAILED)
    outbox.insert(5, event_type=COMPLETED)
    mock_kafka.fail_topic("payment.failed", KafkaError.TOPIC_AUTHORIZATION_FAILED)
    report = outbox.publish(batch_size=3)
    assert (report.stopped_because, dict(report.counts.published_by_type)) == ("empty", {COMPLETED: 5})
    assert report.counts.stopped_types[FAILED].startswith("TOPIC_AUTHORIZATION_FAILED: ")
    assert (report.partial, report.counts.held) == (True, 5)
    assert untouched([row for row in outbox.rows() if row.event_type == FAILED])
    mock_kafka.fail_topic("payment.failed", 0)
    assert (outbox.publish().counts.published, outbox.verdict()) == (5, GOOD)


def test_a_wrong_clock_makes_no_event_dead(outbox, mock_kafka):
    """If a topic refuses payctl's timestamps, no event uses up a retry, and the report names the event type."""
    outbox.insert(10, age=timedelta(hours=1))
    outbox.producer.probe(5)
    for _ in range(6):
        mock_kafka.fail_next(*[KafkaError.INVALID_TIMESTAMP] * PARTITIONS)
        report = outbox.publish()
        assert (report.counts.published, report.counts.dead, report.counts.held) == (0, 0, 10)
        assert report.counts.stopped_types[COMPLETED].startswith("INVALID_TIMESTAMP: ")
        mock_kafka.forget_failures()
    assert untouched(outbox.rows())
    assert (outbox.publish().counts.published, outbox.verdict()) == (10, GOOD)


@pytest.mark.parametrize("error", ["TOPIC_AUTHORIZATION_FAILED", "UNKNOWN_TOPIC_OR_PART"])
def test_a_topic_that_refuses_only_writes_costs_no_retry(outbox, mock_kafka, hasty, error):
    """If a topic refuses writes even though a probe finds no fault, no event uses up a retry."""
    outbox.add("k", FAILED, age=9)
    outbox.add("k", COMPLETED, age=8)
    outbox.insert(4)
    hasty.probe(5)
    mock_kafka.fail_next(*[getattr(KafkaError, error)] * 50)
    outbox.publish(producer=hasty, batch_size=1)
    rows = outbox.rows()
    assert untouched([row for row in rows if not row.published])
    assert [row.state for row in rows if row.key == "k"] == ["pending", "pending"]


def test_a_missing_topic_blocks_its_payments(outbox, mock_kafka):
    """If the topic for a payment's earlier event is missing, the payment's later event waits."""
    mock_kafka.fail_topic("payment.failed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    first, second = outbox.add("k", FAILED, age=9), outbox.add("k", COMPLETED, age=8)
    other = outbox.add("m", COMPLETED, age=7)
    outbox.publish()
    assert outbox.sent() == [other]
    mock_kafka.fail_topic("payment.failed", 0)
    outbox.publish()
    assert (outbox.sent(), outbox.verdict()) == ([other, first, second], GOOD)


def test_events_of_a_missing_topic_are_not_claimed_at_each_poll(outbox, mock_kafka):
    """If a topic is missing, its events are not claimed again before the next rescan."""
    mock_kafka.fail_topic("payment.failed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    outbox.insert(5, event_type=FAILED)
    report = outbox.run(Clockwork(waits=5), loop=True)
    assert (report.counts.batches, report.counts.held) == (1, 5)


def test_the_event_s_own_fault_is_counted(outbox, mock_kafka):
    """A fault that an event causes uses up one of the event's retries.

    At the limit, the event is dead and blocks its payment.
    """
    poison = outbox.add("k", COMPLETED, age=LONG_AGO, payload={"secret": SECRETS})
    behind = outbox.add("k", COMPLETED, age=LONG_AGO - 1)
    for failures in range(1, 6):
        mock_kafka.fail_next(KafkaError.INVALID_REQUEST)
        report = outbox.publish()
        row = outbox.row(poison)
        assert (row.retry_count, row.published) == (failures, False)
        assert row.last_error == "INVALID_REQUEST: Broker: Invalid request"
        assert (report.counts.retried, report.counts.dead) == ((1, 0) if failures < 5 else (0, 1))
    assert (outbox.row(poison).state, outbox.row(behind).state) == ("dead", "pending")
    outbox.publish()
    assert outbox.messages() == []


def test_a_retry_waits_until_it_is_due(outbox):
    """A retry waits until five seconds after the event's creation, even if another publisher takes over."""
    outbox.add("k", age=1.0, retry_count=1)
    assert outbox.publish().counts.claimed == 1
    assert outbox.messages() == []
    outbox.execute("""UPDATE outbox SET "createdAt" = "createdAt" - interval '5 seconds'""")
    assert outbox.publish().counts.published == 1


def test_a_message_too_large_is_dead_at_once(outbox):
    """If a message is too large, its event is dead at once.

    The event's error does not contain the payload, and other events are sent.
    """
    outbox.insert(5)
    large = outbox.add("k", payload={"secret": SECRETS * 100_000})
    outbox.insert(5)
    report = outbox.publish(batch_size=1000)
    row = outbox.row(large)
    assert (report.counts.published, report.counts.dead, row.state) == (10, 1, "dead")
    assert row.last_error.startswith("MSG_SIZE_TOO_LARGE: ")
    assert len(row.last_error) <= 500
    assert SECRETS not in row.last_error
    assert [event.id for event in report.counts.dead_events] == [large]
    assert SECRETS not in str(report)


def test_one_refused_event_does_not_make_its_whole_batch_dead(outbox, mock_kafka):
    """If a broker refuses a whole batch, payctl sends each message separately, so no acceptable event becomes dead."""
    outbox.insert(20)
    mock_kafka.fail_next(*[KafkaError.MSG_SIZE_TOO_LARGE] * 3)  # one refused batch for each of the three partitions
    report = outbox.publish()
    assert (report.counts.published, report.counts.dead) == (20, 0)
    assert outbox.verdict() == GOOD


def test_only_an_event_that_is_refused_alone_is_dead(outbox, mock_kafka):
    """If a broker refuses two events together, only the one that it also refuses separately becomes dead."""
    poison, innocent = outbox.add("a", age=2), outbox.add("c", age=1)  # both are in the same partition
    producer = new_producer(mock_kafka.bootstrap, linger_ms=200)
    producer.probe(5)
    mock_kafka.fail_next(KafkaError.INVALID_RECORD, KafkaError.INVALID_RECORD)
    report = outbox.publish(producer=producer)
    producer.close()
    assert (report.counts.published, [event.id for event in report.counts.dead_events]) == (1, [poison])
    assert (outbox.row(innocent).state, outbox.verdict()) == ("published", GOOD)


class SlowToRefuse(Producer):
    """A producer that needs longer than a batch's time limit for a single message."""

    def __init__(self, bootstrap, clockwork):
        super().__init__(producer_config(KafkaSettings(bootstrap)) | {"linger.ms": 200})
        self.clockwork = clockwork

    def send(self, wave, *arguments):
        """Send the wave. If it has only one message, move the clock beyond the batch's time limit."""
        failures = super().send(wave, *arguments)
        self.clockwork.now += 60.0 if len(wave) == 1 else 0.0
        return failures


def test_a_broker_that_refuses_an_event_is_not_unavailable(outbox, mock_kafka):
    """A broker that refuses an event does not count as unavailable, even if the batch's time limit has passed."""
    poison, *others = [outbox.add(key, age=9) for key in ("a", "c")]  # both are in the same partition
    clockwork = Clockwork()
    producer = SlowToRefuse(mock_kafka.bootstrap, clockwork)
    producer.probe(5)
    mock_kafka.fail_next(KafkaError.INVALID_RECORD, KafkaError.INVALID_RECORD)
    report = outbox.run(clockwork, producer=producer)
    producer.close()
    assert (report.failure, report.counts.dead) == (None, 1)
    assert outbox.row(poison).state == "dead"
    assert untouched([row for row in outbox.rows() if row.id in others and not row.published])
    outbox.publish()
    assert (set(outbox.sent()), outbox.verdict()) == (set(others), GOOD)


def test_an_unknown_type_is_dead_with_the_reason(outbox):
    """If an event's type is unknown, the event becomes dead with this reason, and other events are sent."""
    outbox.insert(3)
    unknown = outbox.add("k", "PAYMENT_REFUNDED")
    lower = outbox.add("m", "payment_completed")
    outbox.insert(3)
    report = outbox.publish()
    assert (report.counts.published, report.counts.dead, report.stopped_because) == (6, 2, "empty")
    for id_ in (unknown, lower):
        assert (outbox.row(id_).retry_count, outbox.row(id_).last_error) == (
            5, "UNKNOWN_EVENT_TYPE: no topic is known for this event type",
        )  # fmt: skip
    assert outbox.verdict() == GOOD


def test_the_run_s_options_set_the_retry_limit(outbox):
    """If an event becomes dead, its retry count is set to the run's maximum, even after its first failure."""
    outbox.add("a", age=LONG_AGO, retry_count=6)
    unknown = outbox.add("b", "REFUND_MADE")
    assert outbox.publish(max_retries=9).counts.published == 1
    assert outbox.row(unknown).retry_count == 9


def test_a_retry_count_above_the_limit_is_dead(outbox):
    """An event whose retry count is above the limit counts as dead and is not claimed."""
    outbox.add("a", retry_count=50)
    outbox.add("b", retry_count=2_147_483_647)
    outbox.insert(1)
    assert outbox.publish().counts.claimed == 1


def test_a_transport_failure_keeps_the_earlier_error(outbox, mock_kafka, hasty):
    """A transport failure does not overwrite an event's stored error."""
    id_ = outbox.add("a", age=LONG_AGO, retry_count=2, last_error="INVALID_RECORD: before")
    mock_kafka.fail_next(*[KafkaError.NOT_ENOUGH_REPLICAS] * 100)
    outbox.publish(producer=hasty)
    assert (outbox.row(id_).retry_count, outbox.row(id_).last_error) == (2, "INVALID_RECORD: before")


def test_a_fatal_error_of_the_kafka_client_loses_no_event(outbox, mock_kafka):
    """After a fatal error of the Kafka client, payctl recreates the client and does not lose an event."""
    outbox.insert(10)
    outbox.producer.probe(5)
    mock_kafka.fail_next(*[KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER] * 2)
    report = outbox.publish()
    verdict = outbox.verdict()
    assert (report.stopped_because, report.counts.published) == ("empty", 10)
    assert (verdict.lost, verdict.phantom, verdict.altered, verdict.overtaken) == ([], [], [], [])


def test_repeated_fatal_errors_of_the_kafka_client_end_the_run(outbox, mock_kafka):
    """Repeated fatal errors of the Kafka client end the publisher run, and no event uses up a retry."""
    outbox.insert(1)
    outbox.producer.probe(5)
    mock_kafka.fail_next(*[KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER] * 20)
    report = outbox.publish()
    assert (report.stopped_because, report.failure.code) == ("broker_unavailable", "KAFKA_UNAVAILABLE")
    assert untouched(outbox.rows())


def test_three_kinds_of_failure_in_one_batch_are_treated_separately(outbox, mock_kafka):
    """In one batch, a configuration fault does not use up a retry, and a faulty event does not affect other events."""
    mock_kafka.fail_topic("payment.cancelled", KafkaError.TOPIC_AUTHORIZATION_FAILED)
    held = outbox.add("a", CANCELLED)
    dead = outbox.add("b", "NO_SUCH")
    sent = outbox.add("c", COMPLETED)
    report = outbox.publish()
    counts = report.counts
    assert (counts.published, counts.dead, counts.held, counts.retried, counts.claimed) == (1, 1, 1, 0, 3)
    assert [outbox.row(id_).state for id_ in (held, dead, sent)] == ["pending", "dead", "published"]
