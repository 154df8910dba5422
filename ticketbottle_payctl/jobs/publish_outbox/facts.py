"""The facts of a publisher's run, under the names that its outputs and the log share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NotRequired, TypedDict

from ticketbottle_payctl.facts import Count, Rate


class StoppedBecause(StrEnum):
    """Why a run ended."""

    EMPTY = "empty"
    DEADLINE = "deadline"
    MAX_BATCHES = "max_batches"
    SIGNAL = "signal"
    BROKER_UNAVAILABLE = "broker_unavailable"
    DATABASE_UNAVAILABLE = "database_unavailable"
    LOCKED = "locked"
    FAILED = "failed"


class BlockReason(StrEnum):
    """Why an event, or the events behind it, wait."""

    DEAD = "dead"
    RETRY_LATER = "retry_later"
    FAILED = "failed"
    TOPIC = "topic"
    ROW_LOCKED = "row_locked"
    OTHER_TYPE = "other_type"


class BlockerFacts(TypedDict):
    """What holds events back. There is one for each blocking event, and one for each type whose topic is at fault."""

    reason: BlockReason
    """dead, retry_later (it failed before and is not due), failed (it failed in this run), topic (the topic of this
    type cannot be written to), row_locked (another session has locked its row), other_type (left out by --type)."""
    events: Count
    """Pending events that wait because of it."""
    event_id: str | None
    """The event that blocks its payment; null for a topic."""
    event_type: str | None
    detail: str | None
    """The last error, or the session that has locked the row."""
    retry_in_s: float | None
    """Seconds until the event is tried again; null if that takes more than time."""


class LockFacts(TypedDict):
    """A shard that another process holds."""

    shard: Count
    holder: str
    """The publisher, or the database session that has the lock."""


class PublishedEvents(TypedDict):
    """How many events there were, and what became of them."""

    claimed: Count
    """Events read under lock."""
    published: Count
    """Events that the broker acknowledged, committed as published."""
    retried: Count
    """Events that failed and are tried again later."""
    dead: Count
    """Events that this run gave up: they are out of retries."""
    held: Count
    """Pending events that may not be sent at the end of the run, each once: they wait for an earlier event of their
    payment, for their topic, for their own retry, or for a locked row. An event that failed in this run is not one."""
    pending: NotRequired[Count]
    """With dry_run: events that wait."""


class LagFacts(TypedDict):
    """Percentiles of the publish lag in seconds."""

    p50: float
    p95: float
    p99: float


class PublishFacts(TypedDict):
    """How a run went and why it ended."""

    batches: Count
    """Committed batches."""
    stopped_because: StoppedBecause
    events_per_second: Rate
    lag_s: LagFacts | None
    """Seconds from an event's creation to the brokers' acknowledgement; null if nothing was published."""
    oldest_pending_age_s: float | None
    """Age of the oldest pending event at the end, in seconds."""
    published_by_type: NotRequired[Mapping[str, Count]]
    stopped_types: NotRequired[Mapping[str, str]]
    """Event types whose topic cannot be written to, and why."""
    blocked_by: NotRequired[Sequence[BlockerFacts]]
    """What holds events back at the end: the twenty causes with the most events."""
    locked_by: NotRequired[Sequence[LockFacts]]
    """Shards that another process held at the end."""
    dead_in_outbox: NotRequired[Count | None]
    """Dead events in the whole outbox at the end, earlier ones included; null if the database could not be asked."""


class DeadItem(TypedDict):
    """An event that is dead now."""

    id: str
    aggregate_id: str
    event_type: str
    error: str


class ClaimableItem(TypedDict):
    """With dry_run: events of one type that would be claimed."""

    event_type: str
    topic: str | None
    events: Count
    oldest: datetime
    """When the oldest was created, UTC."""
