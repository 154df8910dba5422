"""Topics made and messages read back, from the mock cluster and from Apache Kafka alike."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ticketbottle_payctl.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from confluent_kafka import Message

_QUIET: Final[dict[str, str | int | bool]] = {"log_level": 0}


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it lies in Kafka. ``timestamp`` is milliseconds since 1970 in UTC."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int

    @property
    def header(self) -> dict[str, bytes | None]:
        """The headers by name."""
        return dict(self.headers)


def create_topics(
    bootstrap: str,
    names: Iterable[str],
    *,
    partitions: int = 3,
    config: Mapping[str, str] | None = None,
    client: Mapping[str, str] | None = None,
) -> None:
    """Create topics of one replica and return when the broker has confirmed each.

    Raises:
        KafkaException: a topic exists already, or the broker refused.
    """
    admin = AdminClient({**_QUIET, "bootstrap.servers": bootstrap, **(client or {})})
    topics = [NewTopic(name, partitions, 1, config=dict(config or {})) for name in names]
    for future in admin.create_topics(topics, operation_timeout=30).values():
        future.result(30)


def read_all(
    bootstrap: str, topics: Iterable[str], *, timeout: float = 15.0, client: Mapping[str, str] | None = None
) -> list[Received]:
    """Everything that lies in ``topics`` now, partition by partition in offset order; joins no group, commits nothing.

    Raises:
        UnavailableError: not all of it could be read within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    settings = {**_QUIET, "bootstrap.servers": bootstrap, "group.id": "payctl-sandbox", "enable.auto.commit": False}
    consumer = Consumer({**settings, "fetch.wait.max.ms": 10, **(client or {})})
    try:
        ends = _ends(consumer, topics, timeout)
        messages = _read_to(consumer, ends, deadline)
    finally:
        consumer.close()
    return sorted(messages, key=lambda message: (message.topic, message.partition, message.offset))


def _ends(consumer: Consumer, topics: Iterable[str], timeout: float) -> dict[tuple[str, int], tuple[int, int]]:
    """The first and the next offset of each partition that holds anything."""
    ends = {}
    for topic in topics:
        for partition in consumer.list_topics(topic, timeout).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout)
            if high > low:
                ends[topic, partition] = (low, high)
    return ends


def _read_to(consumer: Consumer, ends: dict[tuple[str, int], tuple[int, int]], deadline: float) -> list[Received]:
    consumer.assign([TopicPartition(topic, partition, low) for (topic, partition), (low, _) in ends.items()])
    missing = {place: high for place, (_, high) in ends.items()}
    messages: list[Received] = []
    while missing:
        if time.monotonic() > deadline:
            message = f"read {len(messages)} messages, and {sorted(missing)} not to the end in time"
            raise UnavailableError(message)
        for received in map(as_received, consumer.consume(10_000, 0.05)):
            place = (received.topic, received.partition)
            if received.offset < ends[place][1]:
                messages.append(received)
            if received.offset + 1 >= ends[place][1]:
                missing.pop(place, None)
    return messages


def as_received(message: Message) -> Received:
    """The client's message as our value.

    Raises:
        KafkaException: it is not a message but an error about its partition.
    """
    error = message.error()
    if error is not None:
        raise KafkaException(error)
    return Received(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        key=message.key(),
        value=message.value(),
        headers=_headers(message),
        timestamp=message.timestamp()[1],
    )


def _headers(message: Message) -> tuple[tuple[str, bytes | None], ...]:
    """The headers in their order; the client's type stubs also allow text, which it never returns."""
    found = message.headers() or []
    pairs = found.items() if isinstance(found, dict) else found
    return tuple((name, value.encode() if isinstance(value, str) else value) for name, value in pairs)
