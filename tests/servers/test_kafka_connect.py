"""Test that the Kafka Connect worker of tests and benchmarks sends each event once, in payctl's format."""

import pytest
from sqlalchemy import text

from tests.servers.kafka_connect import KafkaConnect
from tests.servers.kafka_connect.outbox_connector import (
    UNROUTABLE,
    create_publication,
    outbox_connector,
    slot_is_active,
)
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.sandbox.server import wait_until

SENT = {
    "PAYMENT_COMPLETED": "payment.completed",
    "PAYMENT_FAILED": "payment.failed",
    "PAYMENT_CANCELLED": "payment.cancelled",
    "PAYMENT_REFUNDED": UNROUTABLE,
}


@pytest.mark.usefixtures("logical")
def test_debezium_sends_each_event_once_as_payctl_does(kafka, engine, database_url, read_all):
    """Each of Debezium's messages has the same topic, key, payload and headers as payctl's message."""
    kafka.recreate_topics([UNROUTABLE])
    with engine.begin() as connection:
        create_publication(connection)
    with KafkaConnect(kafka.bootstrap, outbox_connector(database_url)) as worker:
        with engine.connect() as connection:
            wait_until(lambda: slot_is_active(connection), what="Debezium reads the log", timeout=30, pause=0.05)
        with engine.begin() as connection:
            for event_type in SENT:
                insert_events(connection, 3, event_type=event_type)
        topics = tuple(SENT.values())
        wait_until(lambda: len(read_all(kafka.bootstrap, topics)) == 12, what="12 messages", timeout=30, pause=0.1)
        worker.stop()
    with engine.begin() as connection:
        rows = connection.execute(text('SELECT id, "aggregateId", "eventType", payload::text FROM outbox')).all()
        connection.execute(text("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"))
    assert sorted(_told(message) for message in read_all(kafka.bootstrap, topics)) == sorted(
        (SENT[kind], key, payload, event_id, event_id, kind, "payment") for event_id, key, kind, payload in rows
    )


def _told(message):
    names = ("id", "eventId", "eventType", "aggregateType")
    return (message.topic, message.key.decode(), message.value.decode(), *(message.header[n].decode() for n in names))
