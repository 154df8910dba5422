"""What arrives in topics from now on, whoever sent what lies there already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from ticketbottle_payctl.errors import BrokerUnavailableError
from ticketbottle_payctl.sandbox.kafka_messages import Received, as_received

Place = tuple[str, int]

_TIMEOUT: Final = 10.0
_READ: Final[dict[str, str | int | bool]] = {
    "group.id": "payctl-demo",
    "enable.auto.commit": False,
    "fetch.wait.max.ms": 20,  # the mock cluster lets a fetch wait that long even where there is something to fetch
}


class TopicReader:
    """A consumer that joins no group and commits nothing. It begins where the topics end at this moment.

    Raises:
        BrokerUnavailableError: the brokers did not say in time where that is.
    """

    def __init__(self, connection: Mapping[str, str | int | bool], topics: Iterable[str]) -> None:
        self._consumer = Consumer({**_READ, **connection})
        with _translated():
            places = [place for topic in topics for place in self._places(topic)]
            self._next = {place: self._end(place) for place in places}
            self._consumer.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])

    def read(self, timeout: float) -> list[Received]:
        """What arrived since the last call, waiting at most ``timeout`` seconds for the first of it."""
        first = self._consumer.poll(timeout)  # consume() would wait for a full batch
        messages = [first, *self._consumer.consume(1000, 0)] if first is not None else []
        found = [as_received(message) for message in messages if message.error() is None]
        for message in found:
            self._next[message.topic, message.partition] = message.offset + 1
        return found

    def ends(self) -> dict[Place, int]:
        """Where each partition ends now.

        Raises:
            BrokerUnavailableError: the brokers did not say in time.
        """
        with _translated():
            return {place: self._end(place) for place in self._next}

    def has_reached(self, ends: Mapping[Place, int]) -> bool:
        """Whether everything before ``ends`` was read."""
        return all(self._next[place] >= end for place, end in ends.items())

    def close(self) -> None:
        """Let the brokers go."""
        self._consumer.close()

    def _places(self, topic: str) -> list[Place]:
        metadata = self._consumer.list_topics(topic, _TIMEOUT)
        return [(topic, partition) for partition in metadata.topics[topic].partitions]

    def _end(self, place: Place) -> int:
        _, high = self._consumer.get_watermark_offsets(TopicPartition(*place), _TIMEOUT)
        return int(high)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        message = f"the topics cannot be read: {error.args[0].str()}"
        raise BrokerUnavailableError(message, hint="check that the brokers are up and that you may read") from error
