"""Test that a message counts as delivered only if the broker has named its offset."""

from __future__ import annotations

from typing import ClassVar

from confluent_kafka import Producer as Client

from tests.proxy import Proxy
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.domain.event import Message
from ticketbottle_payctl.domain.retry import Fault
from ticketbottle_payctl.settings import KafkaSettings

TOPIC = "payment.completed"
PRODUCE = 0
"""The number of the produce request in Kafka's protocol."""

NOWHERE = 9999
"""The number of a partition that does not exist."""

SENT_AT_ONCE = {"linger.ms": 0, "batch.num.messages": 1}
"""Settings with which the client sends a request for each message, and does not wait for the answers."""

ATTEMPTS = 20
"""The maximum number of waves until the client has sent its second request before the answer to the first one."""


class OneRefusal:
    """Send the first produce request to a partition that does not exist, so that the broker refuses this request.

    The client sends the request again, as it does if the broker was not the partition's leader yet. Meanwhile, the
    broker accepts the client's next requests.
    """

    def __init__(self):
        self.requests = 0

    def __call__(self, request):
        """Return the request to forward."""
        if int.from_bytes(request[:2]) != PRODUCE:
            return request
        self.requests += 1
        if self.requests > 1:
            return request
        begin = request.index(TOPIC.encode()) + len(TOPIC) + 1  # the number of partitions takes one byte
        assert request[begin : begin + 4] == bytes(4)
        return request[:begin] + NOWHERE.to_bytes(4) + request[begin + 4 :]


class Listening(Client):
    """A Kafka client that also notes the keys of the messages that it reports as delivered."""

    delivered: ClassVar[set[str]] = set()

    def produce(self, *arguments, on_delivery, **named):
        """Send a message."""

        def note(error, message):
            if error is None:
                self.delivered.add(message.key().decode())
            on_delivery(error, message)

        super().produce(*arguments, on_delivery=note, **named)


def keys_in(kafka, read_all):
    """Return the keys of all messages in Kafka."""
    return {message.key.decode() for message in read_all(kafka.bootstrap, (TOPIC,))}


def wave(number):
    """Return a wave of messages with new keys."""
    return {key: Message(TOPIC, key, "{}", []) for key in (f"{number}-{each}" for each in range(5))}


def test_a_message_without_an_offset_counts_as_not_delivered(kafka, read_all):
    """If a broker takes a new message for an old one, the message counts as not delivered, and a retry delivers it.

    The client reports a success, but the message is not in Kafka.
    """
    kafka.recreate_topics([TOPIC], partitions=1)
    failures = {}
    for number in range(ATTEMPTS):
        sent = wave(number)
        with Proxy(kafka.proxy_port, kafka.behind_proxy, delay=0.05, rewrite=OneRefusal()) as proxy:
            producer = Producer(producer_config(KafkaSettings(proxy.bootstrap)) | SENT_AT_ONCE, new_client=Listening)
            assert producer.probe(10) == {}
            failures = producer.send(list(sent.values()), 20)
            assert sent.keys() <= Listening.delivered
            assert set(failures) == sent.keys() - keys_in(kafka, read_all)
            assert producer.send([sent[key] for key in failures], 20) == {}
            producer.close()
        assert sent.keys() <= keys_in(kafka, read_all)
        if failures:
            break
    assert {failure.fault for failure in failures.values()} == {Fault.TRANSPORT}
