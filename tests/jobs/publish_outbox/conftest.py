"""An outbox in a real database, a mock cluster, payctl's job between them, and the checker of the result."""

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
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.broker.range_reader import Received
from ticketbottle_payctl.jobs.publish_outbox import Observer, PublishOptions, PublishReport, publish_outbox
from ticketbottle_payctl.jobs.publish_outbox.run import Run
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.settings import KafkaSettings

GOOD = Verdict()
COMPLETED, FAILED, CANCELLED = "PAYMENT_COMPLETED", "PAYMENT_FAILED", "PAYMENT_CANCELLED"
READ = ("payment.completed", "payment.failed", "payment.cancelled")
PARTITIONS = 3
STAMPED = {"message.timestamp.type": "LogAppendTime"}
"""A topic whose messages carry the broker's time, which no publisher can make look better than it was."""

NEW = timedelta(0)
OLD = timedelta(seconds=30)
"""Older than the late-commit window, so the next batches are claimed ahead."""


def new_producer(bootstrap, **config) -> Producer:
    """A producer configured as payctl does it; ``config`` are librdkafka's words with ``_`` for ``.``."""
    extra = {name.replace("_", "."): value for name, value in config.items()}
    return Producer(producer_config(KafkaSettings(bootstrap)) | extra)


NUMBERS = count()


class Clockwork(Event):
    """A run's clock and its stop in one. A wait returns at once and moves the clock by its length.

    ``at`` says what happens with the n-th wait, counted from 1; after ``waits`` of them the stop is set. Each wait
    really takes ``pause`` seconds, which a test needs if librdkafka works in the background.
    """

    def __init__(self, *, waits=1000, at: dict[int, Callable[[], object]] | None = None, pause: float = 0.0) -> None:
        super().__init__()
        self.now, self.most, self.at, self.pause = 1000.0, waits, at or {}, pause
        self.waited: list[float] = []

    def __call__(self) -> float:
        """What time it is."""
        return self.now

    def wait(self, timeout=None) -> bool:
        """Let the time pass."""
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
    """The payment service's outbox, and payctl's job on it."""

    engine: Engine
    bootstrap: str
    producer: Producer
    read_all: Callable[..., list[Received]]
    since: dict[tuple[str, int], int]
    by_the_broker: bool = False

    def insert(self, count, **values) -> None:
        """``count`` events, a millisecond apart; see :func:`insert_events`."""
        with self.engine.begin() as connection:
            insert_events(connection, count, **values)

    def add(self, key, event_type=COMPLETED, *, age=0.0, retry_count=0, payload=None, **columns) -> str:
        """One event that is ``age`` seconds old; its id. Of two in one millisecond the later one has the greater id."""
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
        """Run a statement and commit it; its rows, if it has any."""
        with self.engine.begin() as connection:
            result = connection.exec_driver_sql(sql, values)
            return result.fetchall() if result.returns_rows else []

    def publish(self, *, stop=None, observer=None, producer=None, **options) -> PublishReport:
        """Run the job once, with these options."""
        wanted = replace(PublishOptions(), **options)
        return publish_outbox(
            self.engine, producer or self.producer, wanted, stop=stop or Event(), observer=observer or Observer()
        )

    def run(self, clockwork, *, observer=None, producer=None, engine=None, **options) -> PublishReport:
        """Run the job by a clockwork instead of the clock."""
        wanted = replace(PublishOptions(), **options)
        return Run(
            engine or self.engine, producer or self.producer, wanted, clockwork, observer or Observer(), clockwork
        ).run()

    def rows(self) -> list[Row]:
        """The outbox in the order of publishing."""
        return rows_of(self.engine)

    def row(self, id_) -> Row:
        """One of them."""
        return next(row for row in self.rows() if row.id == id_)

    def states(self) -> list[str]:
        """``published``, ``pending`` or ``dead``, in the order of publishing."""
        return [row.state for row in self.rows()]

    def messages(self) -> list[Received]:
        """Everything that came to Kafka in this test."""
        everything = self.read_all(self.bootstrap)
        return [m for m in everything if m.offset >= self.since.get((m.topic, m.partition), 0)]

    def sent(self) -> list[str]:
        """The event ids in Kafka, in the order the producer sent them."""
        ordered = sorted(self.messages(), key=lambda m: (m.timestamp, m.topic, m.offset))
        return [m.header["eventId"].decode() for m in ordered]

    def verdict(self, **given) -> Verdict:
        """What is wrong between the outbox and Kafka; GOOD where nothing is."""
        return judge(self.rows(), self.messages(), by_the_broker=self.by_the_broker, **given)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[MockKafka]:
    """One mock cluster for all tests here: a new idempotent producer needs half a second before it sends."""
    with MockKafka() as cluster:
        for topic in READ:
            cluster.create_topic(topic)
        yield cluster


@pytest.fixture(scope="session")
def shared_producer(shared_cluster) -> Iterator[Producer]:
    """One producer for it, with a new client after each test that tampered with the cluster."""
    producer = new_producer(shared_cluster.bootstrap)
    yield producer
    producer.close()


@pytest.fixture
def mock_kafka(shared_cluster, shared_producer) -> Iterator[MockKafka]:
    """The cluster, to be tampered with; afterwards it is as before."""
    yield shared_cluster
    shared_cluster.up()
    shared_cluster.forget_failures()
    for topic in READ:
        shared_cluster.fail_topic(topic, 0)
        for partition in range(PARTITIONS):
            shared_cluster.set_leader(topic, partition, 1)
    shared_producer.close()


def ends(bootstrap) -> dict[tuple[str, int], int]:
    """The next offset of each partition."""
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
    """An empty outbox and a mock cluster; what lay in it before does not count."""
    bootstrap = shared_cluster.bootstrap
    return Outbox(engine, bootstrap, shared_producer, read_all, ends(bootstrap))


@pytest.fixture
def kafka_outbox(engine, kafka, read_all) -> Iterator[Outbox]:
    """An empty outbox and Apache Kafka, which writes down when it appended each message."""
    kafka.recreate_topics(READ, config=STAMPED)
    producer = new_producer(kafka.bootstrap)
    yield Outbox(engine, kafka.bootstrap, producer, read_all, {}, by_the_broker=True)
    producer.close()
