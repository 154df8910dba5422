"""Test payctl's error for brokers that cannot be reached. The tests need no broker."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from ticketbottle_payctl.broker.unreachable import unreachable

REFUSED = "b:9092/bootstrap: Connect to ipv4#10.0.0.7:9092 failed: Connection refused"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("0/2 brokers are down", "Kafka at b:9092 is not available"),
        (f"{REFUSED}: 0/2 brokers are down", f"Kafka at b:9092 is not available: {REFUSED}"),
        ("2/2 brokers are down", "Kafka at b:9092 is not available: 2/2 brokers are down"),
        ("10/10 brokers are down", "Kafka at b:9092 is not available: 10/10 brokers are down"),
        (REFUSED, f"Kafka at b:9092 is not available: {REFUSED}"),
    ],
)
def test_the_error_does_not_contradict_itself(said, message):
    """The error leaves out the client's statement that none of the brokers is down, and keeps all other causes."""
    assert unreachable("b:9092", KafkaError(KafkaError.BROKER_NOT_AVAILABLE, said)).message == message


def test_brokers_that_did_not_answer_have_no_cause():
    """Without an error from the client, the message names only the brokers."""
    assert unreachable("b:9092", None).message == "Kafka at b:9092 is not available"
