"""What must hold between the outbox and Kafka after any fault: one judge for every test that injects one.

``lost``        marked published, and not in Kafka
``phantom``     in Kafka, and not in the outbox
``altered``     topic, key, value or headers differ from what the row says, or from one copy to the next
``reordered``   first occurrences of a payment's events are not in ``"createdAt"``, id order, across topics
``overtaken``   a copy of an event lies behind a later event of its payment
``duplicates``  event ids that came more than once; allowed after a fault only

Offsets of two topics cannot be compared, times can. The producer's time is when a message was handed to the client: a
publisher that did not wait for the acknowledgement in between would look good by it. The broker's time
(``message.timestamp.type=LogAppendTime``) is when it was appended: ``by_the_broker`` judges such topics, strictly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
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


@dataclass(frozen=True)
class Row:
    """A row of the outbox, its value as PostgreSQL prints it."""

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
        """``published``, ``dead`` or ``pending``, with the default of five retries."""
        if self.published or self.published_at:
            return "published"
        return "dead" if self.retry_count >= 5 else "pending"

    @property
    def headers(self):
        """The contract's headers."""
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
    """What was wrong, each a list of event ids or payments; ``duplicates`` counts the copies too many."""

    lost: list[str] = field(default_factory=list)
    phantom: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    overtaken: list[str] = field(default_factory=list)
    duplicates: dict[str, int] = field(default_factory=dict)


def rows_of(engine: Engine) -> list[Row]:
    """The whole outbox, in the order of publishing."""
    sql = """
        SELECT id, "aggregateId", "aggregateType", "eventType", payload::text, "createdAt", published, "publishedAt",
            "retryCount", "lastError", (SELECT ARRAY[correlation_id, traceparent, replay_run_id]
                                        FROM payctl.event_context WHERE event_id = id)
        FROM outbox ORDER BY "createdAt", id COLLATE "C"
    """
    with engine.connect() as connection:
        return [Row(*row) for row in connection.exec_driver_sql(sql)]


def judge(
    rows: Sequence[Row], messages: Iterable[Received], *, sent_before: Iterable[str] = (), by_the_broker: bool = False
) -> Verdict:
    """Compare the outbox with everything that lies in Kafka. ``sent_before`` are rows published by somebody else.

    ``by_the_broker``: between two topics an event must have been appended at least a millisecond before the next one
    of its payment. Who waits for an acknowledgement and a commit in between cannot be faster.
    """
    by_id = {row.id: row for row in rows}
    messages = list(messages)
    copies: dict[str, list[Received]] = defaultdict(list)
    for message in messages:
        copies[(message.header["eventId"] or b"").decode()].append(message)
    due = {row.id for row in rows if row.published} - set(sent_before)
    return Verdict(
        lost=sorted(due - set(copies)),
        phantom=sorted(set(copies) - set(by_id)),
        altered=sorted(id_ for id_, found in copies.items() if id_ in by_id and not _faithful(by_id[id_], found)),
        reordered=_out_of_order(rows, messages, first_only=True, ties=not by_the_broker),
        overtaken=_out_of_order(rows, messages, first_only=False, ties=not by_the_broker),
        duplicates={id_: len(found) - 1 for id_, found in copies.items() if len(found) > 1},
    )


def _faithful(row: Row, copies: list[Received]) -> bool:
    wanted = (TOPIC_OF.get(row.event_type), row.key.encode(), row.value.encode())
    one_place = len({copy.partition for copy in copies}) == 1
    return one_place and all(
        (copy.topic, copy.key, copy.value) == wanted
        and copy.header == row.headers
        and len(copy.headers) == len(row.headers)
        for copy in copies
    )


def _out_of_order(rows: Sequence[Row], messages: list[Received], *, first_only: bool, ties: bool) -> list[str]:
    """Payments whose events lie the wrong way round: by offset in a topic, by time across topics."""
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
    """The messages of known events in an order, with their payment and where in the outbox they stand."""
    seen: set[str] = set()
    for message in sorted(messages, key=order):
        id_ = (message.header["eventId"] or b"").decode()
        if id_ in place and not (first_only and id_ in seen):
            seen.add(id_)
            yield message, place[id_]


def _crossed(found: list[tuple[int, int, str]], *, ties: bool) -> bool:
    """Whether a copy of an event is younger than any of a later one, or of another topic and not older (no ties)."""
    return any(
        a < b and (at > than or (at == than and topic != other and not ties))
        for (a, at, topic), (b, than, other) in permutations(found, 2)
    )
