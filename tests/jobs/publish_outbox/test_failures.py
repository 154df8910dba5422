"""Test that an event that Kafka refuses waits, is retried or becomes dead, and that other events are sent."""

from __future__ import annotations

from datetime import timedelta

import pytest
from confluent_kafka import KafkaError

from tests.jobs.publish_outbox.conftest import (
    CANCELLED,
    COMPLETED,
    FAILED,
    GOOD,
    PARTITIONS,
    Clockwork,
    new_producer,
    untouched,
)
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.settings import KafkaSettings

LONG_AGO = 7200.0
SECRETS = "not for any log"


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
    """If an event becomes dead, its retry count is the run's maximum, even if it failed only once."""
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
