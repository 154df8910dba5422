"""Define the facts about a publisher's run. All outputs and the log use the same field names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NotRequired, TypedDict

from ticketbottle_payctl.facts import Count, Rate


class StoppedBecause(StrEnum):
    """The reason why a run ended."""

    EMPTY = "empty"
    DEADLINE = "deadline"
    MAX_BATCHES = "max_batches"
    SIGNAL = "signal"
    BROKER_UNAVAILABLE = "broker_unavailable"
    DATABASE_UNAVAILABLE = "database_unavailable"
    LOCKED = "locked"
    FAILED = "failed"


class BlockReason(StrEnum):
    """The reason why an event or the events behind it are waiting."""

    DEAD = "dead"
    RETRY_LATER = "retry_later"
    FAILED = "failed"
    TOPIC = "topic"
    ROW_LOCKED = "row_locked"
    OTHER_TYPE = "other_type"
    WOULD_DIE = "would_die"


class BlockerFacts(TypedDict):
    """A reason why events are waiting: a blocking event, or an event type whose topic cannot be written to."""

    reason: BlockReason
    """The reason why the events are waiting, as a code.

    dead: an event is out of retries. retry_later: an event failed before and its retry is not due. failed: an event
    failed in this run. topic: the topic for the event type cannot be written to. row_locked: another session has locked
    an event's row. other_type: --type excludes an event's type. would_die: with dry_run, an event would become dead,
    because payctl does not know its type or its message is too large.
    """
    events: Count
    """The number of pending events that are waiting because of this reason."""
    event_id: str | None
    """The event that blocks its payment; null for a topic."""
    event_type: str | None
    detail: str | None
    """The last error, or the session that has locked the row."""
    retry_in_s: float | None
    """Seconds until the event is sent again; null if no retry is scheduled."""


class LockFacts(TypedDict):
    """A shard that another process holds."""

    shard: Count
    holder: str
    """The publisher or the database session that holds the lock."""


class PublishedEvents(TypedDict):
    """The number of events by result."""

    claimed: Count
    """Events that the run claimed."""
    published: Count
    """Events that the broker acknowledged and that are committed as published."""
    retried: Count
    """Events that failed and will be retried."""
    dead: Count
    """Events that became dead in this run, because they are out of retries."""
    held: Count
    """Pending events that cannot be sent at the end of the run.

    They wait for an earlier event of their payment, for their topic, for their own retry, or for a locked row. Each
    event counts only once. Events that failed in this run are not counted.
    """
    pending: NotRequired[Count]
    """With dry_run: pending events."""


class LagFacts(TypedDict):
    """Percentiles of the publish lag, in seconds."""

    p50: float
    p95: float
    p99: float


class UnsentEventFacts(TypedDict):
    """A dead event that a paying customer might be waiting for."""

    id: str
    order_code: str | None


class UnsentFacts(TypedDict):
    """The dead events that a paying customer might be waiting for, except those in blocked_by."""

    events: Count
    oldest: Sequence[UnsentEventFacts]
    """At most three of these events, oldest first."""


class PublishFacts(TypedDict):
    """The result of a run, and the reason why it ended."""

    batches: Count
    """Committed batches."""
    stopped_because: StoppedBecause
    events_per_second: Rate
    lag_s: LagFacts | None
    """Seconds from an event's creation to the brokers' acknowledgement; null if nothing was published."""
    oldest_pending_age_s: float | None
    """Age of the oldest pending event at the end of the run, in seconds."""
    published_by_type: NotRequired[Mapping[str, Count]]
    stopped_types: NotRequired[Mapping[str, str]]
    """Event types whose topic cannot be written to, each with the error."""
    blocked_by: NotRequired[Sequence[BlockerFacts]]
    """Why events are waiting at the end of the run: the twenty reasons with the most events."""
    locked_by: NotRequired[Sequence[LockFacts]]
    """Shards that another process held at the end of the run."""
    dead_in_outbox: NotRequired[Count | None]
    """All dead events in the outbox at the end of the run; null if the database could not be read."""
    dead_failures_in_outbox: NotRequired[Count | None]
    """Dead events that report a failed or cancelled payment. No paying customer is waiting for them."""
    dead_closed_in_outbox: NotRequired[Count | None]
    """How many of these events a person has closed."""
    unsent_successes: NotRequired[UnsentFacts | None]
    """Dead success events, except those in blocked_by; null if the database could not be read."""
    dead_unknown_in_outbox: NotRequired[Count | None]
    """The dead events of an unknown type; null if the database could not be read."""


class DeadItem(TypedDict):
    """An event that is dead now."""

    id: str
    aggregate_id: str
    event_type: str
    error: str


class ClaimableItem(TypedDict):
    """With dry_run: the pending events of one type."""

    event_type: str
    topic: str | None
    """The topic; null for an unknown type, whose events no publisher can send."""
    events: Count
    held: NotRequired[Count]
    """How many of these events would be held back."""
    would_die: NotRequired[Count]
    """How many of these events would die: payctl does not know their type, or their messages are too large."""
    oldest: datetime
    """When the oldest event was created (UTC)."""
