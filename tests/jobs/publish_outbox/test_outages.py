"""Test that a publisher loses no event and uses up no retry if the brokers or the Kafka client fail."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import KafkaError

from tests.jobs.publish_outbox.conftest import (
    GOOD,
    OLD,
    untouched,
)
from ticketbottle_payctl.broker.config import MESSAGE_TIMEOUT_MS, producer_config
from ticketbottle_payctl.broker.partition import partition_of
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.jobs.publish_outbox import Observer, StoppedBecause
from ticketbottle_payctl.settings import KafkaSettings


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


def test_a_transport_failure_keeps_the_earlier_error(outbox, mock_kafka, hasty):
    """A transport failure does not overwrite an event's stored error."""
    id_ = outbox.add("a", age=7200.0, retry_count=2, last_error="INVALID_RECORD: before")
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
