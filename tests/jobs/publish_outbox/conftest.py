"""Fixtures for the publisher: an outbox in a real database, a mock cluster, and checks of the result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from threading import Event
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition
from sqlalchemy import Engine

from tests.checker import Row, Verdict, judge, rows_of
from ticketbottle_payctl.broker.config import MESSAGE_TIMEOUT_MS, producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.broker.range_reader import Received
from ticketbottle_payctl.jobs.publish_outbox import Observer, PublishOptions, PublishReport, publish_outbox
from ticketbottle_payctl.jobs.publish_outbox.run import PublisherRun
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.settings import KafkaSettings

GOOD = Verdict()
COMPLETED, FAILED, CANCELLED = "PAYMENT_COMPLETED", "PAYMENT_FAILED", "PAYMENT_CANCELLED"
READ = ("payment.completed", "payment.failed", "payment.cancelled")
PARTITIONS = 3
STAMPED = {"message.timestamp.type": "LogAppendTime"}
"""A topic setting that stores the broker's append time with each message. No publisher can change this time."""

NEW = timedelta(0)
OLD = timedelta(seconds=30)
"""An age beyond the late-commit window. For events of this age, the publisher claims the next batches in advance."""


def new_producer(bootstrap, message_timeout_ms=MESSAGE_TIMEOUT_MS, **config) -> Producer:
    """Return a producer with payctl's configuration.

    In the keyword names, ``_`` stands for the dot in librdkafka's setting names.
    """
    extra = {name.replace("_", "."): value for name, value in config.items()}
    return Producer(producer_config(KafkaSettings(bootstrap), message_timeout_ms) | extra)


NUMBERS = count()


class Clockwork(Event):
    """A simulated clock and stop event for a run, in one object.

    Each wait moves the clock forward by the wait's length. ``at`` maps the number of a wait, counted from 1, to an
    action. After ``waits`` waits, the stop event is set. Each wait really takes ``pause`` seconds, because librdkafka
    works in the background in some tests.
    """

    def __init__(self, *, waits=1000, at: dict[int, Callable[[], object]] | None = None, pause: float = 0.0) -> None:
        super().__init__()
        self.now, self.most, self.at, self.pause = 1000.0, waits, at or {}, pause
        self.waited: list[float] = []

    def __call__(self) -> float:
        """Return the current time."""
        return self.now

    def wait(self, timeout=None) -> bool:
        """Move the clock forward, and return whether the stop event is set."""
        assert timeout is not None
        time.sleep(self.pause)
        self.now += timeout
        self.waited.append(timeout)
        self.at.get(len(self.waited), lambda: None)()
        if len(self.waited) >= self.most:
            self.set()
        return self.is_set()


@dataclass(frozen=True)
class Outbox:
    """The payment service's outbox and payctl's publisher, which share one database."""

    engine: Engine
    bootstrap: str
    producer: Producer
    read_all: Callable[..., list[Received]]
    since: dict[tuple[str, int], int]
    by_the_broker: bool = False

    def insert(self, count, **values) -> None:
        """Insert ``count`` events that are a millisecond apart. See :func:`insert_events`."""
        with self.engine.begin() as connection:
            insert_events(connection, count, **values)

    def add(self, key, event_type=COMPLETED, *, age=0.0, retry_count=0, payload=None, **columns) -> str:
        """Insert an event that is ``age`` seconds old, and return its id.

        Each new id is greater than the previous one.
        """
        id_ = columns.pop("id", None) or f"{next(NUMBERS):08d}-{uuid4()}"
        values = {
            "id": id_,
            "key": key,
            "aggregate_type": columns.pop("aggregate_type", "payment"),
            "event_type": event_type,
            "payload": json.dumps(payload if payload is not None else {"payment_id": key, "order_code": "TB-1"}),
            "age": timedelta(seconds=age),
            "retry_count": retry_count,
            "published": columns.pop("published", False),
            "published_at": columns.pop("published_at", None),
            "last_error": columns.pop("last_error", None),
        }
        self.execute(
            """
            INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, "createdAt", "retryCount",
                published, "publishedAt", "lastError")
            VALUES (%(id)s, %(key)s, %(aggregate_type)s, %(event_type)s, %(payload)s,
                clock_timestamp() AT TIME ZONE 'UTC' - %(age)s, %(retry_count)s, %(published)s, %(published_at)s,
                %(last_error)s)
            """,
            **values,
        )
        return id_

    def execute(self, sql, **values):
        """Run a statement and commit. Return its rows, if any."""
        with self.engine.begin() as connection:
            result = connection.exec_driver_sql(sql, values)
            return result.fetchall() if result.returns_rows else []

    def publish(self, *, stop=None, observer=None, producer=None, **options) -> PublishReport:
        """Run the publisher once with the given options."""
        wanted = replace(PublishOptions(), **options)
        return publish_outbox(
            self.engine, producer or self.producer, wanted, stop=stop or Event(), observer=observer or Observer()
        )

    def run(self, clockwork, *, observer=None, producer=None, engine=None, **options) -> PublishReport:
        """Run the publisher with a simulated clock."""
        wanted = replace(PublishOptions(), **options)
        return PublisherRun(
            engine or self.engine, producer or self.producer, wanted, clockwork, observer or Observer(), clockwork
        ).run()

    def rows(self) -> list[Row]:
        """Return the outbox's rows in publishing order."""
        return rows_of(self.engine)

    def row(self, id_) -> Row:
        """Return the row with the given id."""
        return next(row for row in self.rows() if row.id == id_)

    def states(self) -> list[str]:
        """Return the state of each row (``published``, ``pending`` or ``dead``) in publishing order."""
        return [row.state for row in self.rows()]

    def messages(self) -> list[Received]:
        """Return all messages that Kafka has received in this test."""
        everything = self.read_all(self.bootstrap)
        return [m for m in everything if m.offset >= self.since.get((m.topic, m.partition), 0)]

    def sent(self) -> list[str]:
        """Return the ids of the events in Kafka, in the order in which the producer sent them."""
        ordered = sorted(self.messages(), key=lambda m: (m.timestamp, m.topic, m.offset))
        return [m.header["eventId"].decode() for m in ordered]

    def verdict(self, **given) -> Verdict:
        """Compare the outbox with Kafka. Return GOOD if there are no faults."""
        return judge(self.rows(), self.messages(), by_the_broker=self.by_the_broker, **given)


@pytest.fixture
def short_probe(monkeypatch):
    """Set the time limit of a probe to 0.3 seconds."""
    monkeypatch.setattr("ticketbottle_payctl.jobs.publish_outbox.run._PROBE_TIMEOUT", 0.3)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[MockKafka]:
    """Yield one mock cluster for all tests, because a new producer needs half a second to become ready."""
    with MockKafka() as cluster:
        for topic in READ:
            cluster.create_topic(topic)
        yield cluster


@pytest.fixture(scope="session")
def shared_producer(shared_cluster) -> Iterator[Producer]:
    """Yield one producer for the shared cluster. Its client is closed after each test that changes the cluster."""
    producer = new_producer(shared_cluster.bootstrap)
    yield producer
    producer.close()


@pytest.fixture
def mock_kafka(shared_cluster, shared_producer) -> Iterator[MockKafka]:
    """Yield the shared cluster for a test that changes it, and reset the cluster after the test."""
    yield shared_cluster
    shared_cluster.up()
    shared_cluster.forget_failures()
    for topic in READ:
        shared_cluster.fail_topic(topic, 0)
        for partition in range(PARTITIONS):
            shared_cluster.set_leader(topic, partition, 1)
    shared_producer.close()


def ends(bootstrap) -> dict[tuple[str, int], int]:
    """Return the next offset of every partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ends", "log_level": 0})
    found = {
        (topic, partition): consumer.get_watermark_offsets(TopicPartition(topic, partition), 10)[1]
        for topic in READ
        for partition in range(PARTITIONS)
    }
    consumer.close()
    return found


@pytest.fixture
def outbox(engine, shared_cluster, shared_producer, read_all) -> Outbox:
    """Return an empty outbox that uses the shared cluster and ignores earlier messages."""
    bootstrap = shared_cluster.bootstrap
    return Outbox(engine, bootstrap, shared_producer, read_all, ends(bootstrap))


@pytest.fixture
def kafka_outbox(engine, kafka, read_all) -> Iterator[Outbox]:
    """Yield an empty outbox on Apache Kafka, with topics that store the append time of each message."""
    kafka.recreate_topics(READ, config=STAMPED)
    producer = new_producer(kafka.bootstrap)
    yield Outbox(engine, kafka.bootstrap, producer, read_all, {}, by_the_broker=True)
    producer.close()


def untouched(rows):
    """Return whether every row is still without retries, errors and a publishing timestamp."""
    return all((row.retry_count, row.last_error, row.published_at) == (0, None, None) for row in rows)


@pytest.fixture
def hasty(mock_kafka):
    """Yield a producer that gives up on a message after 300 ms."""
    producer = new_producer(mock_kafka.bootstrap, message_timeout_ms=300, socket_timeout_ms=300)
    yield producer
    producer.close()
