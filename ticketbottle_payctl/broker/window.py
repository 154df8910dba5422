"""Read the records of given events that were written since an instant.

Keep ids, keys, offsets and digests, but not the values. Every partition is read up to the end that it has when the read
starts. Records of other events are only counted, so memory use depends only on the records of the given events. The
result says for each partition whether it was read completely.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from ticketbottle_payctl.broker.range_reader import Place, RangeReader, Received
from ticketbottle_payctl.broker.spans import Span, readable_bounds, spans_since

_TIMEOUT = 5.0
_BATCH = 1000
_MOST = 200_000
"""The maximum number of records to read from a partition if the brokers cannot look up offsets by time."""


class Copy(NamedTuple):
    """A record of an event. ``at`` is the record's timestamp (UTC), and ``digest`` is the SHA-256 hash of its value."""

    event_id: str
    topic: str
    partition: int
    offset: int
    at: datetime
    key: str
    digest: bytes
    replayed: bool


class Unread(StrEnum):
    """The reason why a partition was not read completely."""

    UNREADABLE = "unreadable"
    DEADLINE = "deadline"
    GAPS = "gaps"
    OPEN_TRANSACTION = "open_transaction"


class PartitionRead(NamedTuple):
    """The part of a partition that was read.

    ``oldest`` is the oldest offset in the partition, and ``begin`` is the first offset that was read. ``first_at`` is
    the timestamp (UTC) of the first record that was read. ``unread`` is None if all records from ``begin`` to the end
    were read.
    """

    oldest: int
    begin: int
    first_at: datetime | None
    unread: Unread | None = None


@dataclass(frozen=True, slots=True)
class WindowQuery:
    """The topics, the events and the start time (UTC) of the records to read."""

    topics: Sequence[str]
    since: datetime
    events: Container[str]


@dataclass(frozen=True, slots=True)
class Window:
    """The records that were found. ``other`` counts the records of other events.

    ``partitions`` contains the partitions of each topic in order. A topic that does not exist has no partitions.
    """

    copies: Sequence[Copy]
    other: int
    partitions: Mapping[str, Sequence[PartitionRead]]

    @property
    def complete(self) -> bool:
        """Return whether every readable partition was completely read before the timeout."""
        return all(each.unread is not Unread.DEADLINE for reads in self.partitions.values() for each in reads)


def read_window(
    connection: Mapping[str, str | int | bool],
    query: WindowQuery,
    timeout: timedelta,
    *,
    on_progress: Callable[[int, int | None], None] = lambda *_: None,
) -> Window:
    """Read the records that ``query`` selects. Stop after ``timeout``.

    ``on_progress`` is called with the number of records that were read so far and the total number of records to read.

    Raises:
        BrokerUnavailableError: the brokers did not answer.
        ConfigError: the brokers refused the connection, or the user is not allowed to read a topic.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    with (
        RangeReader(connection, "payctl-reconcile", _TIMEOUT) as reader,
        RangeReader({**connection, "isolation.level": "read_uncommitted"}, "payctl-reconcile", _TIMEOUT) as raw,
    ):
        places = {topic: sorted(reader.places(topic)) for topic in query.topics}
        every = [place for each in places.values() for place in each]
        # Ask for the ends first. Records that are written later are beyond the end, so they do not count as missing.
        written = readable_bounds(raw, every)
        spans = spans_since(reader, every, query.since, most=_MOST)
        reader.start({place: (span.begin, span.end) for place, span in spans.items() if span is not None})
        total = sum(span.end - span.begin for span in spans.values() if span is not None)
        copies: list[Copy] = []
        first: dict[Place, datetime] = {}
        seen: Counter[Place] = Counter()
        for records in reader.batches(_BATCH, deadline):
            for record in records:
                first.setdefault(record.place, record.at)
                seen[record.place] += 1
                event_id = record.text("eventId") or record.text("id") or ""
                if event_id in query.events:
                    copies.append(_copy(record, event_id))
            on_progress(seen.total(), total)

        def partition(place: Place) -> PartitionRead:
            span, bounds = spans[place], written[place]
            if span is None or bounds is None:
                return PartitionRead(0, 0, None, Unread.UNREADABLE)
            if bounds[1] > span.end:
                return PartitionRead(span.oldest, span.begin, first.get(place), Unread.OPEN_TRANSACTION)
            unread = _unread(span, seen[place], late=place in reader.unread_places)
            return PartitionRead(span.oldest, span.begin, first.get(place), unread)

        partitions = {topic: [partition(place) for place in found] for topic, found in places.items()}
        return Window(copies, seen.total() - len(copies), partitions)


def _unread(span: Span, records: int, *, late: bool) -> Unread | None:
    if late:
        return Unread.DEADLINE
    # Some offsets have no record, because the topic was compacted or a transaction was written to the topic.
    return Unread.GAPS if records < span.end - span.begin else None


def _copy(record: Received, event_id: str) -> Copy:
    return Copy(
        event_id,
        record.topic,
        record.partition,
        record.offset,
        record.at,
        (record.key or b"").decode("utf-8", "backslashreplace"),
        sha256(record.value or b"").digest(),
        "replayRunId" in record.header,
    )
