"""Test that payctl computes the size of a message as Kafka's client and brokers do."""

from __future__ import annotations

from datetime import datetime
from random import Random

import pytest

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.domain.event import OutboxEvent, to_message
from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE, message_bytes, topic_limit
from ticketbottle_payctl.sandbox.kafka_messages import create_topics
from ticketbottle_payctl.settings import KafkaSettings

UUID = "3f2b8c1e-9a4d-4e6f-8b7a-1c2d3e4f5a6b"
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
EVENTS = {
    "the usual event": {},
    "an empty key": {"aggregate_id": ""},
    "a key that is not ASCII": {"aggregate_id": "đơn 💳"},
    "an event of a replay": {"context": (None, None, UUID)},
    "a whole trace": {"context": (UUID, TRACE, UUID)},
    "a header of 63 bytes": {"id": "x" * 63},
    "a header of 64 bytes": {"id": "x" * 64},
    "a correlation id of 128 bytes": {"context": ("x" * 128, TRACE, UUID)},
}


def message(size, text="x" * LARGEST_MESSAGE, **fields):
    """Return the message of an event whose payload makes the message as large as ``size``."""
    event = OutboxEvent(UUID, UUID, "payment", "PAYMENT_COMPLETED", "", datetime(2026, 1, 1), 0)  # noqa: DTZ001
    empty = event._replace(**fields)
    return to_message(empty._replace(payload=text[: size - message_bytes(to_message(empty))]))


@pytest.fixture
def send():
    """Yield a function that sends one message to the brokers and returns the errors."""
    made = []

    def run(bootstrap, sent):
        made.append(Producer(producer_config(KafkaSettings(bootstrap))))
        return [failure.code for failure in made[-1].send([sent], 20).values()]

    yield run
    for producer in made:
        producer.close()


@pytest.mark.parametrize("fields", EVENTS.values(), ids=EVENTS)
def test_the_client_sends_the_largest_message_and_refuses_one_more_byte(send, mock_kafka, fields):
    """Kafka's client sends a message of exactly the largest size, and refuses a message with one more byte."""
    sizes = [message_bytes(message(LARGEST_MESSAGE + more, **fields)) for more in (0, 1)]
    assert sizes == [LARGEST_MESSAGE, LARGEST_MESSAGE + 1]
    assert send(mock_kafka.bootstrap, message(LARGEST_MESSAGE, **fields)) == []
    assert send(mock_kafka.bootstrap, message(LARGEST_MESSAGE + 1, **fields)) == ["MSG_SIZE_TOO_LARGE"]


@pytest.mark.kafka
def test_a_topic_with_the_named_limit_accepts_the_message(send, kafka):
    """A broker accepts a message that cannot be compressed if its topic has the limit that payctl names.

    With a limit that is 100 bytes lower, the broker refuses the message.
    """
    text = Random(7).randbytes(30_000).decode("latin-1").replace("\0", "x")  # noqa: S311 - not for secrets
    sent = message(20_000, text=text)
    size = message_bytes(sent)
    answers = []
    for topic, limit in (("enough", topic_limit(size)), ("too-low", topic_limit(size) - 100)):
        create_topics(kafka.bootstrap, [topic], config={"max.message.bytes": str(limit)})
        answers.append(send(kafka.bootstrap, sent._replace(topic=topic)))
    assert answers == [[], ["MSG_SIZE_TOO_LARGE"]]
