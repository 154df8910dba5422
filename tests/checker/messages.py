"""Compare the outbox with Kafka after any fault. A :class:`Verdict` lists the faults by kind.

* ``lost``: events that are marked as published but are not in Kafka
* ``phantom``: events that are in Kafka but not in the outbox
* ``altered``: events with a topic, key, value or header that differs from the row, or between two copies
* ``reordered``: payments whose first copies are not in the order of ``"createdAt"`` and id, across topics
* ``overtaken``: payments with a copy behind a later event of the payment, except copies that a replay requested
* ``superseded``: payments with a failed or cancelled event behind the completed event, even if a replay sent it
* ``duplicates``: events that arrived more than once, which is allowed only after a fault

Offsets of two topics cannot be compared, but times can. The producer's time is the time when the client got the
message, so this time cannot reveal a publisher that did not wait for the acknowledgement. The broker's time
(``message.timestamp.type=LogAppendTime``) is the time of the append. ``by_the_broker`` is true if the messages have the
broker's time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, permutations
from typing import Any

from sqlalchemy import Engine

from ticketbottle_payctl.broker.range_reader import Received

TOPIC_OF = {
    "PAYMENT_COMPLETED": "payment.completed",
    "PAYMENT_FAILED": "payment.failed",
    "PAYMENT_CANCELLED": "payment.cancelled",
}


COLUMNS = """id, "aggregateId", "aggregateType", "eventType", payload::text, "createdAt", published, "publishedAt",
    "retryCount", "lastError", (SELECT ARRAY[correlation_id, traceparent, replay_run_id]
                                FROM payctl.event_context WHERE event_id = id)"""
"""The columns of a :class:`Row`, for a query on the outbox or on rows with the same columns."""

BUT_PAID = {"PAYMENT_FAILED", "PAYMENT_CANCELLED"}


@dataclass(frozen=True)
class Row:
    """An outbox row. The payload is the string that PostgreSQL prints."""

    id: str
    key: str
    aggregate_type: str
    event_type: str
    value: str
    created_at: object
    published: bool
    published_at: object
    retry_count: int
    last_error: str | None
    context: list[str | None] | None

    @property
    def state(self):
        """The state ``published``, ``dead`` or ``pending``. An event is dead after five retries, the default."""
        if self.published or self.published_at:
            return "published"
        return "dead" if self.retry_count >= 5 else "pending"

    @property
    def headers(self):
        """The headers that the contract prescribes."""
        named = {
            "id": self.id,
            "eventId": self.id,
            "eventType": self.event_type,
            "aggregateType": self.aggregate_type,
            "eventVersion": "1.0",
            "source": "payment-service",
        }
        extra = zip(("correlationId", "traceparent", "replayRunId"), self.context or (), strict=False)
        named |= {name: value for name, value in extra if value}
        return {name: value.encode() for name, value in named.items()}


@dataclass(frozen=True)
class Verdict:
    """The faults that were found, as ids of events or payments.

    ``duplicates`` counts the additional copies of each event.
    """

    lost: list[str] = field(default_factory=list)
    phantom: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    overtaken: list[str] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    duplicates: dict[str, int] = field(default_factory=dict)


def rows_of(engine: Engine) -> list[Row]:
    """Return all rows of the outbox in publishing order."""
    sql = f'SELECT {COLUMNS} FROM outbox ORDER BY "createdAt", id COLLATE "C"'  # noqa: S608 - the SQL is a constant
    with engine.connect() as connection:
        return [Row(*row) for row in connection.exec_driver_sql(sql)]


def judge(
    rows: Sequence[Row],
    messages: Iterable[Received],
    *,
    sent_before: Iterable[str] = (),
    by_the_broker: bool = False,
    replays: Mapping[str, Collection[str]] | None = None,
    payments: Collection[str] = (),
) -> Verdict:
    """Compare the outbox with all messages in Kafka.

    ``sent_before`` contains the ids of events that another service published.

    With ``by_the_broker``, two events of a payment in two topics must be at least a millisecond apart. A publisher
    cannot be faster if it waits for an acknowledgement and a commit between the two events.

    ``replays`` maps the id of each replay to the ids of the events in its plan. If a message names a replay whose plan
    does not contain the event, the event counts as altered.

    ``payments`` contains the ids of the payments in the database. If one of these payments has completed, no failed or
    cancelled event of the payment is allowed to follow its completed event.
    """
    by_id = {row.id: row for row in rows}
    messages = list(messages)
    copies: dict[str, list[Received]] = defaultdict(list)
    for message in messages:
        copies[_event_id(message)].append(message)
    due = {row.id for row in rows if row.published} - set(sent_before)
    asked_for = [message for message in messages if replays is not None and "replayRunId" in message.header]
    own = messages if not asked_for else [message for message in messages if "replayRunId" not in message.header]
    return Verdict(
        lost=sorted(due - set(copies)),
        phantom=sorted(set(copies) - set(by_id)),
        altered=sorted(
            id_ for id_, found in copies.items() if id_ in by_id and not _faithful(by_id[id_], found, replays)
        ),
        reordered=_out_of_order(rows, messages, first_only=True, ties=not by_the_broker),
        overtaken=_out_of_order(rows, own, first_only=False, ties=not by_the_broker),
        superseded=_superseded(by_id, messages, payments),
        duplicates={id_: len(found) - 1 for id_, found in copies.items() if len(found) > 1},
    )


def _event_id(message: Received) -> str:
    return (message.header["eventId"] or b"").decode()


def _faithful(row: Row, copies: list[Received], replays: Mapping[str, Collection[str]] | None) -> bool:
    wanted = (TOPIC_OF.get(row.event_type), row.key.encode(), row.value.encode())
    one_place = len({copy.partition for copy in copies}) == 1
    return one_place and all(
        (copy.topic, copy.key, copy.value) == wanted
        and _headers_fit(row, copy, replays)
        and len(copy.headers) == len(copy.header)
        for copy in copies
    )


def _headers_fit(row: Row, copy: Received, replays: Mapping[str, Collection[str]] | None) -> bool:
    """Return whether a copy's headers match the row.

    A copy of a replayed event can contain the id of the run that requested the replay.
    """
    if replays is None:
        return copy.header == row.headers
    run = copy.header.get("replayRunId")
    known = run is None or row.id in replays.get(run.decode(), ())
    return known and _without_run(copy.header) == _without_run(row.headers)


def _without_run(headers: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
    return {name: value for name, value in headers.items() if name != "replayRunId"}


def _superseded(by_id: Mapping[str, Row], messages: list[Received], payments: Collection[str]) -> list[str]:
    """Return the payments that have a failed or cancelled event with a message after the completed event's message."""
    rows = [(message, by_id[_event_id(message)]) for message in messages if _event_id(message) in by_id]
    paid: dict[str, int] = {}
    for message, row in rows:
        if row.event_type == "PAYMENT_COMPLETED" and row.key in payments:
            paid[row.key] = min(message.timestamp, paid.get(row.key, message.timestamp))
    late = (
        row.key
        for message, row in rows
        if row.event_type in BUT_PAID and row.key in paid and message.timestamp > paid[row.key]
    )
    return sorted(set(late))


def _out_of_order(rows: Sequence[Row], messages: list[Received], *, first_only: bool, ties: bool) -> list[str]:
    """Return the payments with events in the wrong order, by offset within a topic and by time across topics."""
    place = {row.id: (row.key, number) for number, row in enumerate(rows)}
    within: dict[tuple[str, str], list[int]] = defaultdict(list)
    for message, (key, number) in _placed(messages, place, lambda m: (m.topic, m.partition, m.offset), first_only):
        within[key, message.topic].append(number)
    across: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for message, (key, number) in _placed(messages, place, lambda m: (m.timestamp, m.topic, m.offset), first_only):
        across[key].append((number, message.timestamp, message.topic))
    wrong = {key for (key, _), numbers in within.items() if any(a > b for a, b in pairwise(numbers))}
    return sorted(wrong | {key for key, found in across.items() if _crossed(found, ties=ties)})


def _placed(
    messages: list[Received],
    place: dict[str, tuple[str, int]],
    order: Callable[[Received], Any],
    first_only: bool,  # noqa: FBT001
) -> Iterator[tuple[Received, tuple[str, int]]]:
    """Yield the messages of known events in the given order, each with its payment and its position in the outbox."""
    seen: set[str] = set()
    for message in sorted(messages, key=order):
        id_ = _event_id(message)
        if id_ in place and not (first_only and id_ in seen):
            seen.add(id_)
            yield message, place[id_]


def _crossed(found: list[tuple[int, int, str]], *, ties: bool) -> bool:
    """Return whether a copy follows a copy of a later event.

    Unless ``ties`` is true, equal times in two topics also count.
    """
    return any(
        a < b and (at > than or (at == than and topic != other and not ties))
        for (a, at, topic), (b, than, other) in permutations(found, 2)
    )
