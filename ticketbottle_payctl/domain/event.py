"""Outbox events and the Kafka messages they become: same key, same bytes, same headers, every time.

The value is what PostgreSQL prints for the payload and is never parsed here. The topic comes from a closed
table: an event type that is not in it is dead, never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from ticketbottle_payctl.domain.payment import Payment, Status

TOPICS = {
    "PAYMENT_COMPLETED": "payment.completed",
    "PAYMENT_FAILED": "payment.failed",
    "PAYMENT_CANCELLED": "payment.cancelled",
}
"""Event type to topic, as the order service reads them."""

EVENT_TYPES = {
    Status.COMPLETED: "PAYMENT_COMPLETED",
    Status.FAILED: "PAYMENT_FAILED",
    Status.CANCELLED: "PAYMENT_CANCELLED",
}

AGGREGATE_TYPE = "payment"
SOURCE = "payment-service"
"""Header ``source`` of every message, whoever sends it."""

_CONTEXT_HEADERS = ("correlationId", "traceparent", "replayRunId")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event about to be appended to the outbox, in the transaction that changes its payment."""

    id: str
    aggregate_id: str
    event_type: str
    payload: dict[str, str | int]
    created_at: datetime
    aggregate_type: str = AGGREGATE_TYPE


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


def event_for(payment: Payment, after: Status, at: datetime, event_id: str) -> NewEvent:
    """The one event that a change of state writes, in the snake_case the order service reads."""
    return NewEvent(
        id=event_id,
        aggregate_id=payment.id,
        event_type=EVENT_TYPES[after],
        payload={
            "payment_id": payment.id,
            "order_code": payment.order_code,
            "amount_cents": payment.amount,
            "currency": payment.currency,
            "provider": payment.provider,
            "transaction_id": payment.reference,
            f"{after.value.lower()}_at": rfc3339(at),
        },
        created_at=at,
    )


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


def rfc3339(at: datetime) -> str:
    """An instant in UTC with milliseconds and ``Z``, as JavaScript's ``toISOString`` writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
