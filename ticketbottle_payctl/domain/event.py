"""Define outbox events, and convert them to Kafka messages. The same event is always converted to the same message.

The message's value is the payload exactly as PostgreSQL prints it, because payctl does not parse it. The event type
determines the topic. An event of an unknown type becomes dead, because it has no topic.
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
"""The topic of each event type. The order service reads the first two topics, but not ``payment.cancelled``."""

FAILURES = ("PAYMENT_FAILED", "PAYMENT_CANCELLED")
"""The event types that no paying customer is waiting for.

If the payment succeeds later, such an event is superseded.
"""

RELEASING = "PAYMENT_FAILED"
"""The event type that makes the order service release the tickets of an order."""

SOURCE = "payment-service"
"""The value of the ``source`` header in every message, whichever publisher sends it."""

CONTEXT_HEADERS = ("correlationId", "traceparent", "replayRunId")
"""The names of the headers that carry what payctl knows about the origin of an event."""


Position = tuple[datetime, str]
"""An event's position in the publishing order, which is by ``"createdAt"``, then by the id's code points."""

START: Position = (datetime(1970, 1, 1), "")  # noqa: DTZ001 - the payment service's columns are UTC without a zone
"""A position before every event."""


class OutboxEvent(NamedTuple):
    """A claimed row of the outbox.

    The type is a tuple, because a publisher creates tens of thousands of events per second, and tuples are fast to
    create.
    """

    id: str
    aggregate_id: str
    aggregate_type: str
    event_type: str
    payload: str
    created_at: datetime
    retry_count: int
    context: Sequence[str | None] | None = None
    """The correlation id, the traceparent and the id of the replay run, if payctl knows them."""

    @property
    def position(self) -> Position:
        """Return the event's position in the publishing order."""
        return self.created_at, self.id


Header = tuple[str, str | bytes | None]


class Message(NamedTuple):
    """A Kafka message with its topic. All events of a payment have the same key, so they go to the same partition."""

    topic: str
    key: str
    value: str
    headers: list[Header]


def to_message(event: OutboxEvent) -> Message:
    """Return the Kafka message of an event.

    Raises:
        KeyError: the event's type has no topic. The caller must make the event dead.
    """
    event_id, key, aggregate_type, event_type, payload, _, _, context = event
    headers = [("id", event_id), ("eventId", event_id), *constant_headers(event_type, aggregate_type)]
    if context is not None:
        headers += [(name, value) for name, value in zip(CONTEXT_HEADERS, context, strict=True) if value]
    return Message(TOPICS[event_type], key, payload, headers)


@lru_cache(maxsize=64)
def constant_headers(event_type: str, aggregate_type: str) -> tuple[Header, ...]:
    """Return the headers that all events with these types have."""
    return (
        ("eventType", event_type),
        ("aggregateType", aggregate_type),
        ("eventVersion", "1.0"),
        ("source", SOURCE),
    )
