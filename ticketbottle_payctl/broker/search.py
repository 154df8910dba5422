"""Find the record of one event in its topic: one partition, a stretch of time, a bound on the wait.

A consumer that joins no group and commits nothing reads the one partition that the key belongs to, from the first
record at or after an instant.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ticketbottle_payctl.broker.partition import partition_of
from ticketbottle_payctl.errors import BrokerUnavailableError

_READ = {"group.id": "payctl-show", "enable.auto.commit": False, "enable.partition.eof": True}
_METADATA_PATIENCE = 3.0
_BATCH = 500
_LAST = 1000
_END = KafkaError._PARTITION_EOF


@dataclass(frozen=True, slots=True)
class Wanted:
    """An event's record: its topic, its key, its id, and when it was sent at the earliest and the latest (UTC)."""

    topic: str
    key: str
    event_id: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Record:
    """Where a record lies, and what it carries. ``at`` is its timestamp in UTC."""

    topic: str
    partition: int
    offset: int
    at: datetime
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Search:
    """What was found, oldest first. ``complete`` is false where the time was up before the stretch ended."""

    partition: int
    records: tuple[Record, ...]
    complete: bool


def find_records(connection: Mapping[str, str | int | bool], wanted: Wanted, patience: timedelta) -> Search:
    """Every record of the event within its stretch of time, as far as it can be read in ``patience``.

    Raises:
        BrokerUnavailableError: the brokers did not answer, or have no such topic.
    """
    deadline = time.monotonic() + patience.total_seconds()
    consumer = Consumer({**_READ, **connection})
    try:
        return _search(consumer, wanted, deadline)
    except KafkaException as error:
        message = f"{wanted.topic} cannot be read: {error.args[0].str()}"
        raise BrokerUnavailableError(message, hint="check KAFKA_BROKERS, and that you may read the topic") from error
    finally:
        consumer.close()


def _search(consumer: Consumer, wanted: Wanted, deadline: float) -> Search:
    metadata = consumer.list_topics(wanted.topic, _METADATA_PATIENCE).topics[wanted.topic]
    if metadata.error is not None:
        raise KafkaException(metadata.error)
    partition = partition_of(wanted.key.encode(), len(metadata.partitions))
    start = TopicPartition(wanted.topic, partition, int(wanted.since.timestamp() * 1000))
    (begin,) = consumer.offsets_for_times([start], _METADATA_PATIENCE)
    if begin.offset < 0:  # the brokers know nothing that late; their clock may be another, so look at the end
        low, high = consumer.get_watermark_offsets(begin, _METADATA_PATIENCE)
        if high <= low:
            return Search(partition, (), complete=True)
        begin.offset = max(low, high - _LAST)
    consumer.assign([begin])
    records: list[Record] = []
    while time.monotonic() < deadline:
        for message in consumer.consume(_BATCH, 0.2):
            error = message.error()
            if error is not None and error.code() == _END:
                return Search(partition, tuple(records), complete=True)
            if error is not None:
                raise KafkaException(error)
            record = _record(message)
            if record.at > wanted.until:
                return Search(partition, tuple(records), complete=True)
            if dict(record.headers).get("eventId") == wanted.event_id:
                records.append(record)
    return Search(partition, tuple(records), complete=False)


def _record(message: Message) -> Record:
    found = message.headers() or []
    pairs = found.items() if isinstance(found, dict) else found
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        at=datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
        headers=tuple((name, _text(value)) for name, value in pairs),
    )


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value or ""
