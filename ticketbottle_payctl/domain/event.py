"""Define outbox events, and convert them to Kafka messages. An event always gives the same key, bytes and headers.

The message's value is the payload as PostgreSQL prints it. payctl does not parse the payload. The event type determines
the topic. An event of an unknown type is dead, because it has no topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

TOPICS = {
    "PAYMENT_COMPLETED": "payment.completed",
    "PAYMENT_FAILED": "payment.failed",
    "PAYMENT_CANCELLED": "payment.cancelled",
}
"""The topic of each event type. The order service reads these topics."""

FAILURES = ("PAYMENT_FAILED", "PAYMENT_CANCELLED")
"""The types of events that no paid customer waits for. A later success of the payment supersedes them."""

LARGEST_MESSAGE = 1_000_000
"""The largest message in bytes that payctl sends, with its key and headers. A larger event is dead at once."""

ENVELOPE = 2_000
"""An upper limit for the size of a message's key and headers, in bytes."""

SOURCE = "payment-service"
"""The header ``source`` of every message, whichever publisher sends it."""

_CONTEXT_HEADERS = ("correlationId", "traceparent", "replayRunId")


Position = tuple[datetime, str]
"""An event's position in the order of publishing: ``"createdAt"``, then id by code point."""

START: Position = (datetime(1970, 1, 1), "")  # noqa: DTZ001 - the payment service's columns are UTC without a zone
"""A position before every event."""


class OutboxEvent(NamedTuple):
    """A claimed row of ``outbox``. It is a tuple, because a publisher creates tens of thousands of them per second."""

    id: str
    aggregate_id: str
    aggregate_type: str
    event_type: str
    payload: str
    created_at: datetime
    retry_count: int
    context: Sequence[str | None] | None = None
    """The correlation id, the traceparent and the replay run, if payctl knows them."""

    @property
    def position(self) -> Position:
        """Return the event's position in the order of publishing."""
        return self.created_at, self.id


Header = tuple[str, str | bytes | None]


class Message(NamedTuple):
    """A Kafka message, all of it UTF-8 text. All events of a payment have one key, so they are in one partition."""

    topic: str
    key: str
    value: str
    headers: list[Header]


def to_message(event: OutboxEvent) -> Message:
    """Return the message of an event whose type has a topic.

    Raises:
        KeyError: the type has no topic. The caller makes the event dead.
    """
    event_id, key, aggregate_type, event_type, payload, _, _, context = event
    headers = [("id", event_id), ("eventId", event_id), *_constant_headers(event_type, aggregate_type)]
    if context is not None:
        headers += [(name, value) for name, value in zip(_CONTEXT_HEADERS, context, strict=True) if value]
    return Message(TOPICS[event_type], key, payload, headers)


@lru_cache(maxsize=64)
def _constant_headers(event_type: str, aggregate_type: str) -> tuple[Header, ...]:
    return (
        ("eventType", event_type),
        ("aggregateType", aggregate_type),
        ("eventVersion", "1.0"),
        ("source", SOURCE),
    )
