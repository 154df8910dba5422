"""What lies in topics since an instant, without the values: ids, keys, places and digests.

A consumer that joins no group and commits nothing reads every partition up to the end it had at the beginning.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
class Window:
    """What was read. ``partitions`` counts each topic's; ``known_from`` is where retention has cut a partition off.

    ``complete`` is false where the time was up first.
    """

    copies: Sequence[Copy]
    partitions: Mapping[str, int]
    known_from: Mapping[Place, datetime]
    complete: bool


def read_window(
    connection: Mapping[str, str | int | bool], topics: Sequence[str], since: datetime, patience: timedelta
) -> Window:
    """Every record of ``topics`` from ``since`` on, as far as it can be read in ``patience``.

    Raises:
        BrokerUnavailableError: the brokers did not answer, or a topic may not be read.
    """
    deadline = time.monotonic() + patience.total_seconds()
    consumer = Consumer({**_READ, **connection})
    try:
        return _read(consumer, topics, since, deadline)
    except KafkaException as error:
        message = f"the topics cannot be read: {error.args[0].str()}"
        raise BrokerUnavailableError(message, hint="check KAFKA_BROKERS, and that you may read the topics") from error
    finally:
        consumer.close()


def _read(consumer: Consumer, topics: Sequence[str], since: datetime, deadline: float) -> Window:
    partitions = {topic: _partitions(consumer, topic) for topic in topics}
    stamp = int(since.timestamp() * 1000)
    wanted = [TopicPartition(topic, number, stamp) for topic in topics for number in range(partitions[topic])]
    begins: list[TopicPartition] = []
    open_places: set[Place] = set()
    cut: set[Place] = set()
    for begin in consumer.offsets_for_times(wanted, _PATIENCE) if wanted else []:
        low, high = consumer.get_watermark_offsets(TopicPartition(begin.topic, begin.partition), _PATIENCE)
        place = (begin.topic, begin.partition)
        if low and low in {begin.offset, high}:
            cut.add(place)
        if 0 <= begin.offset < high:
            begins.append(begin)
            open_places.add(place)
    consumer.assign(begins)
    copies = _consume(consumer, open_places, deadline)
    first: dict[Place, datetime] = {}
    for copy in copies:
        first.setdefault((copy.topic, copy.partition), copy.at)
    known_from = {place: first.get(place, datetime.now(UTC)) for place in cut}
    return Window(copies, partitions, known_from, complete=not open_places)


def _partitions(consumer: Consumer, topic: str) -> int:
    """How many a topic has; none where there is no such topic."""
    found = consumer.list_topics(topic, _PATIENCE).topics[topic]
    if found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise KafkaException(found.error)
    return len(found.partitions)


def _consume(consumer: Consumer, open_places: set[Place], deadline: float) -> list[Copy]:
    """Read until every place has reached its end; those that have are taken out of ``open_places``."""
    copies: list[Copy] = []
    while open_places and time.monotonic() < deadline:
        for message in consumer.consume(_BATCH, 0.2):
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                open_places.discard((message.topic() or "", message.partition() or 0))
            elif error is not None:
                raise KafkaException(error)
            else:
                copies.append(_copy(message))
    return copies


def _copy(message: Message) -> Copy:
    headers = dict(message.headers() or [])
    event_id = headers.get("eventId") or headers.get("id")
    return Copy(
        _text(event_id),
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
        _text(message.key()),
        sha256(message.value() or b"").digest(),
        "replayRunId" in headers,
    )


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value or ""
