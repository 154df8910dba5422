"""Compare the published events in the outbox with the records in Kafka, without changing either.

``lost``: the outbox marks the event as published, but its topic does not contain the event. ``wrong``: the value, key
or topic of a record differs from the row. ``double``: the event was sent more than once without a replay. A second
record is allowed, and consumers see the event twice. ``out_of_order``: the event was sent before an earlier event of
its payment.

A replay repairs lost events. The other differences cannot be repaired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import Engine

from ticketbottle_payctl.broker.window import Copy, Window
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.jobs.reconcile.coverage import SLACK, Coverage, Unjudged
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import sent_events
from ticketbottle_payctl.store.outbox.sent_events import SentEvent

MOST_EVENTS = 1_000_000
_LIMITS = Limits(statement=timedelta(minutes=2), idle=timedelta(minutes=2))


class Difference(StrEnum):
    """The kinds of difference between an event in the outbox and its records in Kafka."""

    LOST = "lost"
    WRONG = "wrong"
    DOUBLE = "double"
    OUT_OF_ORDER = "out_of_order"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An event, and how its database row and its Kafka records differ. ``copies`` counts these records.

    ``repairable`` is True if the event's topic does not contain the event, so that a replay would not send it twice.
    """

    event: SentEvent
    difference: Difference
    detail: str
    copies: int
    repairable: bool = False


class NotJudged(NamedTuple):
    """An event without a record in Kafka, and the reason why payctl cannot tell whether it is lost."""

    event: SentEvent
    reason: Unjudged


@dataclass(frozen=True, slots=True)
class OutboxComparison:
    """The result of a comparison.

    ``compared`` is the number of compared events. ``not_judged`` are missing events for which payctl cannot tell
    whether they are lost. ``other`` counts the records of events outside the window. ``complete`` is False if payctl
    could not read the topics to the end in time.
    """

    compared: int
    not_judged: Sequence[NotJudged]
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
    """Compare the events created from ``since`` until ``until`` (UTC) with their records in Kafka.

    This function reads the table first, and then calls ``read`` to read the topics. The arguments of ``read`` are the
    topics, the time to start from, and the ids of the events.

    Raises:
        InputError: more than a million events were created in this window.
        DatabaseUnavailableError: the server cannot be reached.
        BrokerUnavailableError: Kafka cannot be read.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        events = {event.id: event for event in sent_events.created_between(connection, since, until, MOST_EVENTS + 1)}
    if len(events) > MOST_EVENTS:
        message = f"more than {MOST_EVENTS:,} events were created in this window"
        raise InputError(message, hint="narrow it with --since and --until")
    # The producer's clock may be behind the database's clock, so a record may seem to be older than its row.
    window = read(list(TOPICS.values()), since - SLACK, events.keys())
    copies: defaultdict[str, list[Copy]] = defaultdict(list)
    for copy in window.copies:
        copies[copy.event_id].append(copy)
    coverage = Coverage(window, events, copies)
    lost, not_judged = _missing((event for event in events.values() if event.id not in copies), coverage)
    found = [*lost, *_of_copies(events, copies, coverage), *_out_of_order(events.values(), copies, coverage)]
    found.sort(key=lambda each: (each.event.created_at, each.event.id))
    not_judged.sort(key=lambda each: (each.event.created_at, each.event.id))
    return OutboxComparison(len(events), not_judged, window.other, window.complete, found)


def _missing(events: Iterable[SentEvent], coverage: Coverage) -> tuple[list[Disagreement], list[NotJudged]]:
    lost: list[Disagreement] = []
    not_judged: list[NotJudged] = []
    for event in events:
        reason = coverage.why_unjudged(event)
        if reason is None:
            detail = f"not in {TOPICS[event.event_type]}"
            lost.append(Disagreement(event, Difference.LOST, detail, 0, repairable=True))
        else:
            not_judged.append(NotJudged(event, reason))
    return lost, not_judged


def _of_copies(
    events: Mapping[str, SentEvent], copies: Mapping[str, Sequence[Copy]], coverage: Coverage
) -> Iterator[Disagreement]:
    for event_id, found in copies.items():
        event = events[event_id]
        wrong = sorted({word for copy in found for word in _wrong(event, copy)})
        if wrong:
            elsewhere = all(copy.topic != TOPICS.get(event.event_type) for copy in found)
            absent = elsewhere and coverage.why_unjudged(event) is None
            yield Disagreement(event, Difference.WRONG, f"another {', '.join(wrong)}", len(found), repairable=absent)
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


def _out_of_order(
    events: Iterable[SentEvent], copies: Mapping[str, Sequence[Copy]], coverage: Coverage
) -> Iterator[Disagreement]:
    by_key: defaultdict[str, list[SentEvent]] = defaultdict(list)
    for event in events:
        if event.id in copies:
            by_key[event.key].append(event)
    for of_key in by_key.values():
        of_key.sort(key=lambda event: (event.created_at, event.id))
        for earlier, later in pairwise(of_key):
            if _before(_first(copies[later.id]), _first(copies[earlier.id])) and _begins(earlier, copies, coverage):
                yield Disagreement(later, Difference.OUT_OF_ORDER, f"sent before {earlier.id}", len(copies[later.id]))


def _begins(event: SentEvent, copies: Mapping[str, Sequence[Copy]], coverage: Coverage) -> bool:
    """Return whether the event's first record was read. A replay's record might not be the first one."""
    has_original = any(not copy.replayed for copy in copies[event.id])
    return has_original or coverage.why_unjudged(event, event.created_at) is None


def _first(found: Sequence[Copy]) -> Copy:
    return min(found, key=lambda copy: (copy.at, copy.offset))


def _before(one: Copy, other: Copy) -> bool:
    """Return whether ``one`` was sent before ``other``.

    If the records are in different partitions, compare their timestamps.
    """
    if (one.topic, one.partition) == (other.topic, other.partition):
        return one.offset < other.offset
    return one.at < other.at
