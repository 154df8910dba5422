"""The facts of a publisher's run, under the names that its outputs and the log share."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Events that wait behind an earlier event of their payment, or for their topic."""
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
