"""Compare the published events in the outbox with the records in Kafka. Changes nothing.

``lost``          published in the outbox, and not in its topic ``wrong``         another value, key or topic than the
row has ``double``        sent more than once, apart from replays: allowed, consumers see it twice ``out_of_order``
sent before an earlier event of its payment

A replay repairs the first two. The others cannot be undone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from sqlalchemy import Engine

from ticketbottle_payctl.broker.partition import partition_of
from ticketbottle_payctl.broker.window import Copy, Window
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import published
from ticketbottle_payctl.store.outbox.published import SentEvent

MOST_EVENTS = 1_000_000
SLACK = timedelta(minutes=10)
"""How far the clocks of the database and the brokers may differ."""

_LIMITS = Limits(statement=timedelta(minutes=2), idle=timedelta(minutes=2))


class Difference(StrEnum):
    """How Kafka and the outbox differ about an event."""

    LOST = "lost"
    WRONG = "wrong"
    DOUBLE = "double"
    OUT_OF_ORDER = "out_of_order"


REPAIRABLE = frozenset({Difference.LOST, Difference.WRONG})


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An event and its difference. ``copies`` is the number of its records."""

    event: SentEvent
    difference: Difference
    detail: str
    copies: int


@dataclass(frozen=True, slots=True)
class OutboxComparison:
    """The comparison.

    ``unjudged`` events are older than what the topics keep. ``other`` records are outside the window.

    ``complete`` is false if Kafka could not be read to its end in time. Then no event is called lost.
    """

    compared: int
    unjudged: int
    other: int
    complete: bool
    disagreements: Sequence[Disagreement]


def compare_outbox(
    engine: Engine,
    read: Callable[[Sequence[str], datetime, Container[str]], Window],
    *,
    since: datetime,
    until: datetime,
) -> OutboxComparison:
    """Compare the events created from ``since`` until ``until`` (UTC) with the topics, which are read after the table.

    ``read`` gets topics, an instant, and the ids of the events whose records are needed.

    Raises:
        InputError: the window has more than a million events.
        DatabaseUnavailableError: the server cannot be reached.
        BrokerUnavailableError: Kafka cannot be read.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        events = {event.id: event for event in published.created_between(connection, since, until, MOST_EVENTS + 1)}
    if len(events) > MOST_EVENTS:
        message = f"more than {MOST_EVENTS:,} events were created in this window"
        raise InputError(message, hint="narrow it with --since and --until")
    # By another clock, the producer may have been called before the row's own millisecond.
    window = read(list(TOPICS.values()), since - SLACK, events.keys())
    copies: defaultdict[str, list[Copy]] = defaultdict(list)
    for copy in window.copies:
        copies[copy.event_id].append(copy)
    gone = [event for event in events.values() if event.id not in copies]
    lost, unjudged = _lost(gone, window)
    found = [*lost, *_of_copies(events, copies), *_out_of_order(events.values(), copies)]
    found.sort(key=lambda each: (each.event.created_at, each.event.id))
    return OutboxComparison(len(events), unjudged, window.other, window.complete, found)


def _lost(gone: Iterable[SentEvent], window: Window) -> tuple[list[Disagreement], int]:
    lost: list[Disagreement] = []
    unjudged = 0
    for event in gone:
        topic = TOPICS.get(event.event_type)
        if not window.complete or (topic and _cut_off(event, topic, window)):
            unjudged += 1
        else:
            detail = f"not in {topic}" if topic else "its type has no topic"
            lost.append(Disagreement(event, Difference.LOST, detail, 0))
    return lost, unjudged


def _cut_off(event: SentEvent, topic: str, window: Window) -> bool:
    """Return whether retention may have removed the record: it is older than the oldest record of its partition."""
    partitions = window.partitions.get(topic, 0)
    if not partitions:
        return False
    known_from = window.known_from.get((topic, partition_of(event.key.encode(), partitions)))
    return known_from is not None and event.published_at < known_from + SLACK


def _of_copies(events: Mapping[str, SentEvent], copies: Mapping[str, Sequence[Copy]]) -> Iterator[Disagreement]:
    for event_id, found in copies.items():
        event = events[event_id]
        wrong = sorted({word for copy in found for word in _wrong(event, copy)})
        if wrong:
            yield Disagreement(event, Difference.WRONG, f"another {', '.join(wrong)}", len(found))
        first_sent = [copy for copy in found if not copy.replayed]
        if len(first_sent) > 1:
            places = ", ".join(f"{copy.topic}/{copy.partition}@{copy.offset}" for copy in first_sent[:5])
            yield Disagreement(event, Difference.DOUBLE, places, len(found))


def _wrong(event: SentEvent, copy: Copy) -> Iterator[str]:
    if copy.digest != event.digest:
        yield "value"
    if copy.key != event.key:
        yield "key"
    if copy.topic != TOPICS.get(event.event_type):
        yield "topic"


def _out_of_order(events: Iterable[SentEvent], copies: Mapping[str, Sequence[Copy]]) -> Iterator[Disagreement]:
    by_key: defaultdict[str, list[SentEvent]] = defaultdict(list)
    for event in events:
        if event.id in copies:
            by_key[event.key].append(event)
    for of_key in by_key.values():
        of_key.sort(key=lambda event: (event.created_at, event.id))
        for earlier, later in pairwise(of_key):
            if _before(_first(copies[later.id]), _first(copies[earlier.id])):
                yield Disagreement(later, Difference.OUT_OF_ORDER, f"sent before {earlier.id}", len(copies[later.id]))


def _first(found: Sequence[Copy]) -> Copy:
    return min(found, key=lambda copy: (copy.at, copy.offset))


def _before(one: Copy, other: Copy) -> bool:
    """Return whether one record was sent before the other. Across topics, timestamps decide."""
    if (one.topic, one.partition) == (other.topic, other.partition):
        return one.offset < other.offset
    return one.at < other.at
