"""Outbox events and the Kafka messages they become: same key, same bytes, same headers, every time.

The value is what PostgreSQL prints for the payload and is never parsed here. The topic comes from a closed
table: an event type that is not in it is dead, never guessed.
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
"""Event type to topic, as the order service reads them."""

SOURCE = "payment-service"
"""Header ``source`` of every message, whoever sends it."""

_CONTEXT_HEADERS = ("correlationId", "traceparent", "replayRunId")


class OutboxEvent(NamedTuple):
    """A claimed row of ``outbox``. A tuple, not a dataclass: a drain makes tens of thousands a second."""

    id: str
    aggregate_id: str
    aggregate_type: str
    event_type: str
    payload: str
    created_at: datetime
    retry_count: int
    context: Sequence[str | None] | None = None
    """Correlation id, traceparent and replay run, where payctl knows them."""

    @property
    def position(self) -> tuple[datetime, str]:
        """Where the event stands in the order of publishing."""
        return self.created_at, self.id


Header = tuple[str, str | bytes | None]


class Message(NamedTuple):
    """What the broker is given, all of it text in UTF-8. One payment's events share key, hence partition."""

    topic: str
    key: str
    value: str
    headers: list[Header]


def to_message(event: OutboxEvent) -> Message:
    """The message of an event whose type is known.

    Raises:
        KeyError: the type has no topic; the caller makes the event dead.
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
