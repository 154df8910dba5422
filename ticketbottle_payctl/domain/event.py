"""Outbox events and the Kafka messages made from them: the same key, bytes and headers every time.

The value is the text that PostgreSQL prints for the payload. It is never parsed here. The topic comes from a closed
table: an event whose type is not in the table is dead. Its topic is never guessed.
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
"""The topic of each event type, as the order service reads them."""

LARGEST_MESSAGE = 1_000_000
"""The largest message in bytes that payctl sends, with its key and headers. A larger event is dead at once."""

SOURCE = "payment-service"
"""The header ``source`` of every message, whichever publisher sends it."""

_CONTEXT_HEADERS = ("correlationId", "traceparent", "replayRunId")


Position = tuple[datetime, str]
"""Where an event is in the order of publishing: ``"createdAt"``, then id by code point."""

START: Position = (datetime(1970, 1, 1), "")  # noqa: DTZ001 - the owner's columns have no zone, they are UTC by contract
"""Before every event."""


class OutboxEvent(NamedTuple):
    """A claimed row of ``outbox``. It is a tuple because a drain makes tens of thousands of them a second."""

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
        """Return the event's place in the order of publishing."""
        return self.created_at, self.id


Header = tuple[str, str | bytes | None]


class Message(NamedTuple):
    """A message for the broker, all of it UTF-8 text. All events of a payment have one key, so one partition."""

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
