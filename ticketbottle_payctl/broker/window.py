"""Read which records the topics hold for certain events since an instant: ids, keys, offsets and digests, no values.

Every partition is read up to its end at the beginning of the reading. Records of other events are counted and not
kept, so memory grows only with the events that were asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

from ticketbottle_payctl.broker.range_reader import Place, RangeReader, Received

_TIMEOUT = 5.0
_BATCH = 1000


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
class WindowQuery:
    """The records to read: those of ``events`` in ``topics``, from ``since`` on (UTC)."""

    topics: Sequence[str]
    since: datetime
    events: Container[str]


@dataclass(frozen=True, slots=True)
class Window:
    """The result. ``other`` counts the records of other events, ``partitions`` the partitions of each topic.

    ``known_from`` holds the oldest known instant of each partition that retention has shortened within the window.
    ``complete`` is False if the time ended before the reading did.
    """

    copies: Sequence[Copy]
    other: int
    partitions: Mapping[str, int]
    known_from: Mapping[Place, datetime]
    complete: bool


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
    with RangeReader(connection, "payctl-reconcile", _TIMEOUT) as reader:
        places = {topic: reader.places(topic) for topic in query.topics}
        ranges, shortened = _ranges(reader, [place for each in places.values() for place in each], query.since)
        reader.start(ranges)
        total = sum(end - begin for begin, end in ranges.values())
        copies: list[Copy] = []
        other = 0
        first: dict[Place, datetime] = {}
        for records in reader.batches(_BATCH, deadline):
            for record in records:
                if record.place not in first:
                    first[record.place] = record.at
                event_id = record.text("eventId") or record.text("id") or ""
                if event_id in query.events:
                    copies.append(_copy(record, event_id))
                else:
                    other += 1
            on_progress(len(copies) + other, total)
        known_from = {place: first.get(place, datetime.now(UTC)) for place in shortened}
        partitions = {topic: len(found) for topic, found in places.items()}
        return Window(copies, other, partitions, known_from, complete=not reader.unread)


def _ranges(
    reader: RangeReader, places: Sequence[Place], since: datetime
) -> tuple[dict[Place, tuple[int, int]], set[Place]]:
    """Return the offsets from ``since`` to the end, and the places that have lost records of that time."""
    ranges: dict[Place, tuple[int, int]] = {}
    shortened: set[Place] = set()
    begins = reader.offsets_at(places, since)
    for place, (oldest, end) in reader.bounds(places).items():
        begin = begins[place]
        if oldest and oldest in {begin, end}:
            shortened.add(place)
        if begin is not None and begin < end:
            ranges[place] = (begin, end)
    return ranges, shortened


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
