"""Read which records the topics hold for certain events since an instant: ids, keys, offsets and digests, no values.

Every partition is read up to its end at the beginning of the reading. Records of other events are counted and not
kept, so memory grows only with the events that were asked for. What could not be read is reported for each partition.
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
"""The number of records that are read of a partition if the brokers cannot look up offsets by time."""


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


class Unread(StrEnum):
    """Why it is not known what a partition holds."""

    UNREADABLE = "unreadable"
    DEADLINE = "deadline"
    GAPS = "gaps"
    OPEN_TRANSACTION = "open_transaction"


class PartitionRead(NamedTuple):
    """How much of a partition was read.

    ``oldest`` is the oldest offset that it holds, and ``begin`` the first that was read. ``first_at`` is the timestamp
    of the first record that was read (UTC). ``unread`` is None if the records from there to the end were all read.
    """

    oldest: int
    begin: int
    first_at: datetime | None
    unread: Unread | None = None


@dataclass(frozen=True, slots=True)
class WindowQuery:
    """The records to read: those of ``events`` in ``topics``, from ``since`` on (UTC)."""

    topics: Sequence[str]
    since: datetime
    events: Container[str]


@dataclass(frozen=True, slots=True)
class Window:
    """The result. ``other`` counts the records of other events.

    ``partitions`` holds the partitions of each topic in order. A topic that does not exist has none.
    """

    copies: Sequence[Copy]
    other: int
    partitions: Mapping[str, Sequence[PartitionRead]]

    @property
    def complete(self) -> bool:
        """Whether every partition that can be read was read to its end in time."""
        return all(each.unread is not Unread.DEADLINE for reads in self.partitions.values() for each in reads)


def read_window(
    connection: Mapping[str, str | int | bool],
    query: WindowQuery,
    timeout: timedelta,
    *,
    on_progress: Callable[[int, int | None], None] = lambda *_: None,
) -> Window:
    """Read the records of ``query``, as many as ``timeout`` allows.

    ``on_progress`` is called with the number of records read and the number of records to read.

    Raises:
        BrokerUnavailableError: the brokers did not answer.
        ConfigError: the brokers refused the connection, or the user may not read a topic.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    with (
        RangeReader(connection, "payctl-reconcile", _TIMEOUT) as reader,
        RangeReader({**connection, "isolation.level": "read_uncommitted"}, "payctl-reconcile", _TIMEOUT) as raw,
    ):
        places = {topic: sorted(reader.places(topic)) for topic in query.topics}
        every = [place for each in places.values() for place in each]
        # Asked first: what is written between the two questions is behind the end, and does not look hidden.
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
    # Offsets without a record: the topic was compacted, or a transaction was written to it.
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
