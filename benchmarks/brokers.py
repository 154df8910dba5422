"""Start a broker, which is either Apache Kafka or librdkafka's mock cluster in its own process."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.processes import ROOT, python
from tests.servers.apache_kafka import ApacheKafka
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.sandbox.server import wait_until


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker's name and address, and its process id for measuring CPU time."""

    name: str
    bootstrap: str
    pid: int

    def messages(self) -> int:
        """Return the number of messages that were ever written to payctl's topics."""
        settings = {"bootstrap.servers": self.bootstrap, "group.id": "benchmarks", "log_level": 0}
        consumer = Consumer(settings)
        try:
            return sum(wait_until(lambda: _ends(consumer), what="every partition has a leader", timeout=30, pause=0.1))
        finally:
            consumer.close()


def _ends(consumer: Consumer) -> list[int] | None:
    """Return each partition's end offset. Return None if a new topic has a partition without a leader."""
    try:
        return [
            consumer.get_watermark_offsets(TopicPartition(topic, partition), 10)[1]
            for topic in TOPICS.values()
            for partition in consumer.list_topics(topic, 10).topics[topic].partitions
        ]
    except KafkaException:
        return None


@contextmanager
def mock_broker() -> Iterator[Broker]:
    """Run librdkafka's mock cluster in its own process. The cluster keeps messages in memory."""
    process = subprocess.Popen(  # noqa: S603 - our own module
        python("benchmarks.mock_broker"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        bootstrap = process.stdout.readline().strip() if process.stdout else ""
        yield Broker("mock", bootstrap, process.pid)
    finally:
        process.communicate(timeout=30)


@contextmanager
def apache_kafka() -> Iterator[Broker]:
    """Run one Apache Kafka node. The timestamp of a message is the time when the broker appended it.

    Raises:
        ConfigError: Java or Maven is missing.
    """
    with ApacheKafka(settings={"log.message.timestamp.type": "LogAppendTime"}) as kafka:
        kafka.recreate_topics(TOPICS.values())
        yield Broker(str(kafka), kafka.bootstrap, int(kafka.log.with_name("pid").read_text()))
