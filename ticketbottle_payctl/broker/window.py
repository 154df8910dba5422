"""What lies in topics since an instant of certain events, without the values: ids, keys, places and digests.

A consumer that joins no group and commits nothing reads every partition up to the end it had at the beginning. Records
of other events are counted and not kept: memory grows with the events that are asked about.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ticketbottle_payctl.errors import BrokerUnavailableError

_READ = {"group.id": "payctl-reconcile", "enable.auto.commit": False, "enable.partition.eof": True}
_PATIENCE = 5.0
_BATCH = 1000

Place = tuple[str, int]


class Copy(NamedTuple):
    """One record of an event. ``at`` is its timestamp (UTC), ``digest`` the SHA-256 of its value."""

    event_id: str
    topic: str
    partition: int
    offset: int
    at: datetime
    key: str
    digest: bytes
    replayed: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is read: ``topics`` from ``since`` on (UTC), the records of these ``events``."""

    topics: Sequence[str]
    since: datetime
    events: Container[str]


@dataclass(frozen=True, slots=True)
class Window:
    """What was read. ``other`` counts the records of other events, ``partitions`` each topic's.

    ``known_from`` is where retention has cut a partition off. ``complete`` is false where the time was up first.
    """

    copies: Sequence[Copy]
    other: int
    partitions: Mapping[str, int]
    known_from: Mapping[Place, datetime]
    complete: bool


def read_window(
    connection: Mapping[str, str | int | bool],
    wanted: Wanted,
    patience: timedelta,
    *,
    tell: Callable[[int, int | None], None] = lambda *_: None,
) -> Window:
    """What is wanted, as far as it can be read in ``patience``. ``tell`` hears how many records of how many were read.

    Raises:
        BrokerUnavailableError: the brokers did not answer, or a topic may not be read.
    """
    deadline = time.monotonic() + patience.total_seconds()
    consumer = Consumer({**_READ, **connection})
    try:
        return _read(consumer, wanted, deadline, tell)
    except KafkaException as error:
        message = f"the topics cannot be read: {error.args[0].str()}"
        raise BrokerUnavailableError(message, hint="check KAFKA_BROKERS, and that you may read the topics") from error
    finally:
        consumer.close()


def _read(consumer: Consumer, wanted: Wanted, deadline: float, tell: Callable[[int, int | None], None]) -> Window:
    partitions = {topic: _partitions(consumer, topic) for topic in wanted.topics}
    stamp = int(wanted.since.timestamp() * 1000)
    places = [TopicPartition(topic, number, stamp) for topic in wanted.topics for number in range(partitions[topic])]
    begins: list[TopicPartition] = []
    reading = _Reading(wanted.events)
    cut: set[Place] = set()
    for begin in consumer.offsets_for_times(places, _PATIENCE) if places else []:
        low, high = consumer.get_watermark_offsets(TopicPartition(begin.topic, begin.partition), _PATIENCE)
        place = (begin.topic, begin.partition)
        if low and low in {begin.offset, high}:
            cut.add(place)
        if 0 <= begin.offset < high:
            begins.append(begin)
            reading.open_places.add(place)
            reading.total += high - begin.offset
    consumer.assign(begins)
    _consume(consumer, reading, deadline, tell)
    known_from = {place: reading.first.get(place, datetime.now(UTC)) for place in cut}
    return Window(reading.copies, reading.other, partitions, known_from, complete=not reading.open_places)


def _partitions(consumer: Consumer, topic: str) -> int:
    """How many a topic has; none where there is no such topic."""
    found = consumer.list_topics(topic, _PATIENCE).topics[topic]
    if found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise KafkaException(found.error)
    return len(found.partitions)


@dataclass(slots=True)
class _Reading:
    """How far it came: what is kept, what was passed over, each place's first instant, the places not at their end."""

    events: Container[str]
    copies: list[Copy] = field(default_factory=list)
    other: int = 0
    total: int = 0
    first: dict[Place, datetime] = field(default_factory=dict)
    open_places: set[Place] = field(default_factory=set)

    def take(self, message: Message) -> None:
        """Keep a record, or count it."""
        self.first.setdefault((message.topic() or "", message.partition() or 0), _at(message))
        event_id = _event_id(message)
        if event_id in self.events:
            self.copies.append(_copy(message, event_id))
        else:
            self.other += 1


def _consume(consumer: Consumer, reading: _Reading, deadline: float, tell: Callable[[int, int | None], None]) -> None:
    """Read until every place has reached its end; those that have are taken out of ``open_places``."""
    while reading.open_places and time.monotonic() < deadline:
        for message in consumer.consume(_BATCH, 0.2):
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                reading.open_places.discard((message.topic() or "", message.partition() or 0))
            elif error is not None:
                raise KafkaException(error)
            else:
                reading.take(message)
        tell(len(reading.copies) + reading.other, reading.total)


def _copy(message: Message, event_id: str) -> Copy:
    return Copy(
        event_id,
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        _at(message),
        _text(message.key()),
        sha256(message.value() or b"").digest(),
        "replayRunId" in dict(message.headers() or []),
    )


def _event_id(message: Message) -> str:
    headers = dict(message.headers() or [])
    return _text(headers.get("eventId") or headers.get("id"))


def _at(message: Message) -> datetime:
    return datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value or ""
