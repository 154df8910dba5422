"""Read ranges of offsets from Kafka.

This is the only module that uses a Kafka consumer directly. The consumer never joins a group, so two readers do not
affect each other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ticketbottle_payctl.broker.unreachable import is_refusal, unreachable
from ticketbottle_payctl.errors import ConfigError, PayctlError

_CONSUMER = {
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",  # applies if retention has deleted the next record
    "fetch.wait.max.ms": 20,  # the mock cluster waits this long for more records, even if it has some
}
_STEP = 0.2
_NOT_ALLOWED = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
_NO_ANSWER = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT}

Place = tuple[str, int]
"""A topic and one of its partitions."""


class Received(NamedTuple):
    """A record that was read from Kafka. ``timestamp`` is in milliseconds since 1970 (UTC)."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int

    @property
    def place(self) -> Place:
        """Return the topic and partition that contain the record."""
        return (self.topic, self.partition)

    @property
    def at(self) -> datetime:
        """Return the record's timestamp in UTC."""
        return datetime.fromtimestamp(self.timestamp / 1000, UTC)

    @property
    def header(self) -> dict[str, bytes | None]:
        """Return the record's headers as a mapping."""
        return dict(self.headers)

    def text(self, name: str) -> str | None:
        """Return a header as a string, or None if the record does not have the header."""
        for found, value in self.headers:
            if found == name and value is not None:
                return value.decode("utf-8", "backslashreplace")
        return None


class RangeReader:
    """A consumer that reads given ranges and connects on first use. Use it in a ``with`` block or call :meth:`close`.

    The brokers know the reader by the name ``group``, for example in their logs and permissions. :meth:`commit` stores
    offsets for this group. Each request to the brokers takes at most ``timeout`` seconds.

    Every method raises: BrokerUnavailableError: the brokers did not answer in time, or reported an error.
    BrokerRefusedError: the brokers refused the credentials, or the TLS handshake failed. ConfigError: the user is not
    allowed to read a topic or to use the group.
    """

    def __init__(self, config: Mapping[str, Any], group: str, timeout: float) -> None:
        self._config = {**config, **_CONSUMER, "group.id": group, "error_cb": self._on_error}
        self._timeout = timeout
        self._client: Consumer | None = None
        self._error: KafkaError | None = None
        self._ends: dict[Place, int | None] = {}
        self._next: dict[Place, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def unread(self) -> bool:
        """Return whether any range is not fully read yet."""
        return bool(self._ends)

    @property
    def unread_places(self) -> frozenset[Place]:
        """Return the partitions whose ranges are not fully read yet."""
        return frozenset(self._ends)

    @property
    def positions(self) -> Mapping[Place, int]:
        """Return the next offset to read in each partition that was given to :meth:`start`."""
        return self._next

    def places(self, topic: str, *, required: bool = False) -> list[Place]:
        """Return a topic's partitions.

        If the topic is unknown, return an empty list, or raise an error if ``required`` is true.
        """
        with self._named_errors():
            found = self._connected().list_topics(topic, self._timeout).topics[topic]
            if found.error is not None and (required or found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART):
                raise KafkaException(found.error)
        return [(topic, partition) for partition in found.partitions]

    def bounds(self, places: Iterable[Place]) -> dict[Place, tuple[int, int]]:
        """Return the current oldest offset and next new offset of each partition."""
        with self._named_errors():
            client = self._connected()
            return {place: client.get_watermark_offsets(TopicPartition(*place), self._timeout) for place in places}

    def offsets_at(self, places: Iterable[Place], instant: datetime) -> dict[Place, int | None]:
        """Return the offset of the first record at or after ``instant`` in each partition.

        None means that the partition has no such record, or that the brokers cannot look up offsets by time.
        """
        stamp = int(instant.timestamp() * 1000)
        asked = [TopicPartition(*place, stamp) for place in places]
        with self._named_errors():
            found = self._connected().offsets_for_times(asked, self._timeout) if asked else []
            for each in found:
                if each.error is not None:  # in this case the offset is not valid
                    raise KafkaException(each.error)
        return {(each.topic, each.partition): each.offset if each.offset >= 0 else None for each in found}

    def committed(self, places: Iterable[Place]) -> dict[Place, int | None]:
        """Return the offset that is stored for the group in each partition, or None if no offset is stored."""
        asked = [TopicPartition(*place) for place in places]
        with self._named_errors():
            found = self._connected().committed(asked, timeout=self._timeout) if asked else []
        return {(each.topic, each.partition): each.offset if each.offset >= 0 else None for each in found}

    def commit(self, offsets: Mapping[Place, int]) -> None:
        """Store offsets for the group. Return when the brokers have stored the offsets."""
        places = [TopicPartition(*place, offset) for place, offset in offsets.items()]
        with self._named_errors():
            if places:
                self._connected().commit(offsets=places, asynchronous=False)

    def start(self, ranges: Mapping[Place, tuple[int, int | None]]) -> None:
        """Begin to read these ranges. A range has a first offset, and an end offset that is not included.

        If the end offset is None, the range has no end.
        """
        ranges = {place: (begin, end) for place, (begin, end) in ranges.items() if end is None or begin < end}
        self._ends = {place: end for place, (_, end) in ranges.items()}
        self._next = {place: begin for place, (begin, _) in ranges.items()}
        with self._named_errors():
            self._connected().assign([TopicPartition(*place, begin) for place, begin in self._next.items()])

    def stop(self) -> None:
        """Stop reading. Call this before requesting offsets, because a fetch in progress would delay each request."""
        self._ends, self._next = {}, {}
        with self._named_errors():
            self._connected().unassign()

    def read(self, limit: int, timeout: float) -> list[Received]:
        """Return the next records, at most ``limit``. Wait at most ``timeout`` seconds for the first record.

        The list is empty if no record arrived in time, or if every range was read.
        """
        deadline = time.monotonic() + timeout
        found: list[Received] = []
        with self._named_errors():
            while self._ends and not found:
                left = deadline - time.monotonic()
                first = self._connected().poll(max(0.0, min(_STEP, left)))  # consume() would wait for a full batch
                messages = [first, *self._connected().consume(limit - 1, 0)] if first is not None else []
                found = [record for record in map(self._take, messages) if record is not None]
                if left <= 0:
                    break
        return found

    def batches(self, limit: int, deadline: float) -> Iterator[list[Received]]:
        """Yield records until all ranges are read or ``deadline`` (monotonic) is reached.

        If the deadline was reached first, :attr:`unread` is then true.
        """
        while self.unread and (left := deadline - time.monotonic()) > 0:
            yield self.read(limit, left)

    def close(self) -> None:
        """Close the connections. Closing twice is not an error."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def unavailable(self, error: KafkaException | None = None) -> PayctlError:
        """Return an error that says why Kafka cannot be read. The cause is ``error`` or the client's last error."""
        if self._client is not None:
            self._client.poll(0)  # the client reports a failed connection or login only while it is polled
        servers, group = self._config["bootstrap.servers"], self._config["group.id"]
        if is_refusal(self._error):
            return unreachable(servers, self._error)
        if error is not None and error.args[0].code() in _NOT_ALLOWED:
            message = f"Kafka at {servers} does not allow reading: {error.args[0].str()}"
            return ConfigError(message, hint=f"allow the user to read the topics as group {group}")
        cause = error.args[0] if error is not None else None
        if cause is None or cause.code() in _NO_ANSWER:
            cause = self._error or cause
        return unreachable(servers, cause, "cannot be read")

    def _connected(self) -> Consumer:
        if self._client is None:
            self._client = Consumer(self._config)
        return self._client

    def _on_error(self, error: KafkaError) -> None:
        if not is_refusal(self._error):
            self._error = error

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise self.unavailable(error) from error

    def _take(self, message: Message) -> Received | None:
        """Return the record and advance the range's position, or return None if the range is not being read."""
        error = message.error()
        place, offset = (message.topic() or "", message.partition() or 0), message.offset() or 0
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        if place not in self._ends:
            return None
        end = self._ends[place]
        if error is not None or (end is not None and offset >= end):
            # The last offsets of a range may belong to a transaction or to removed records. A consumer never sees these
            # offsets.
            if end is not None:
                self._next[place] = max(self._next[place], min(offset, end))
                del self._ends[place]
            return None
        self._next[place] = offset + 1
        if offset + 1 == end:
            del self._ends[place]
        return _received(message, place, offset)


def _received(message: Message, place: Place, offset: int) -> Received:
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])  # the client's stubs allow more
    return Received(*place, offset, message.key(), message.value(), tuple(headers), message.timestamp()[1])
