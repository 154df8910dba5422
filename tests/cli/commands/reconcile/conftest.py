"""Provide the events, gateways and commands that the tests of `payctl reconcile` share."""

from __future__ import annotations

from datetime import timedelta

import pytest
from confluent_kafka import Producer
from sqlalchemy import text

from tests.cli.output.test_schemas import check
from tests.stand_ins import Gateways, serving
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment

SENT = 5
"""The number of events that ``published`` publishes."""

HOUR = timedelta(hours=1)
RECONCILE = ("reconcile", "payments")


@pytest.fixture
def world(database_url, kafka):
    """Return the settings for the test's database and for Apache Kafka.

    These tests need Apache Kafka, because the mock cluster cannot look up offsets by time.
    """
    return {"DATABASE_URL": database_url, "KAFKA_BROKERS": kafka.bootstrap}


@pytest.fixture
def compare(answer, world):
    """Return a function that runs `reconcile outbox` and returns the validated document."""

    def run(*arguments):
        document = answer("reconcile", "outbox", "--deadline", "20s", *arguments, **world)
        check(document)
        return document

    return run


@pytest.fixture
def published(engine, answer, world):
    """Publish five events with payctl. Return each event's id, key and value, starting with the oldest event."""
    with engine.begin() as connection:
        insert_events(connection, SENT, age=timedelta(minutes=2))
    assert answer("publish-outbox", **world)["counts"]["published"] == SENT
    with engine.begin() as connection:
        return connection.execute(
            text('SELECT id, "aggregateId", payload::text FROM outbox ORDER BY "createdAt", id')
        ).all()


@pytest.fixture
def send(kafka):
    """Return a function that sends a message about an event to Kafka without using payctl."""

    def put(event_id, key, value, *, topic="payment.completed", **headers):
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"})
        producer.produce(topic, value, key, headers={"id": event_id, "eventId": event_id, **headers})
        assert producer.flush(10) == 0

    return put


def differences(document):
    """Return each difference in the document with the event's id."""
    return {(item["difference"], item["event_id"]) for item in document["items"]}


@pytest.fixture
def lose(engine):
    """Return a function that inserts events marked as published without sending them, and returns their ids."""

    def insert(count=1, **columns):
        with engine.begin() as connection:
            before = set(connection.execute(text("SELECT id FROM outbox")).scalars())
            insert_events(connection, count, state="published", **columns)
            return sorted(set(connection.execute(text("SELECT id FROM outbox")).scalars()) - before)

    return insert


@pytest.fixture
def gateways():
    """Yield test gateways."""
    with serving(Gateways()) as served:
        yield served


@pytest.fixture
def overdue(engine, gateways):
    """Return a function that inserts a payment that has been PENDING for an hour.

    ``state`` and ``paid`` define the gateway's response about the payment.
    """

    def make(provider="momo", reference="order-1", *, state="pending", paid=250_000, **changes):
        gateways.states[reference], gateways.amounts[reference] = state, paid
        values = {"age": HOUR, "order_code": f"TB-{reference}", **changes}
        with engine.begin() as connection:
            return insert_payment(connection, provider=provider.upper(), reference=reference, **values)

    return make


@pytest.fixture
def reconcile(answer, database_url, gateways):
    """Return a function that runs `reconcile payments` at a high rate and returns the validated document."""

    def run(*arguments, **environment):
        document = answer(
            *RECONCILE, "--rate", "1000/s", *arguments, DATABASE_URL=database_url,
            **{**gateways.environment, **environment},
        )  # fmt: skip
        check(document)
        return document

    return run


def status_of(engine, payment):
    """Return the payment's status, event count and receipt count."""
    with engine.connect() as connection:
        return tuple(
            connection.execute(
                text(
                    "SELECT (SELECT status::text FROM payments WHERE id = :id),"
                    ' (SELECT count(*) FROM outbox WHERE "aggregateId" = :id),'
                    " (SELECT count(*) FROM payctl.webhook_receipts WHERE payment_id = :id AND method = 'RECONCILE')"
                ),
                {"id": payment.id},
            ).one()
        )
