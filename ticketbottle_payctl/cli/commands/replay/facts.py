"""Define types for the results of a replay and of a resumed replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from ticketbottle_payctl.facts import Count, Keywords, Seconds
from ticketbottle_payctl.jobs.replay import LeftOutReason, ReplayOutcome


class ReplayCounts(TypedDict):
    """The numbers of events that were selected, requeued, skipped and failed."""

    matched: Count
    """Selected events that exist."""
    requeued: Count
    """Events that were requeued (set back to pending)."""
    skipped: Count
    """Events that were not requeued."""
    failed: Count
    """Events that another session has locked, and events that are dead again."""
    already_published: Count
    """Planned events that were already published."""


class ResumeCounts(TypedDict):
    """The numbers of events of the whole run, by outcome."""

    requeued: Count
    """Events that the whole run has requeued."""
    skipped: Count
    failed: Count
    remaining: Count
    """Events that the run did not reach."""


class Ended(TypedDict):
    """The facts about the end of a run."""

    outcome: ReplayOutcome | None
    """The outcome; null if nothing was changed."""
    plan_file: str | None
    """The file that --plan-out wrote the plan to."""
    publisher_running: NotRequired[bool | None]
    """Whether a publisher was running when the wait for the canary ended; null if not known, or without a wait."""
    superseded: NotRequired[Count]
    """The number of superseded events that --allow-superseded included."""
    superseded_ids: NotRequired[Sequence[str]]
    """The ids of these superseded events."""


class ResumeFacts(Ended):
    """The result of a resumed run."""

    remaining: Count
    """Events of the plan that were not reached."""
    published: Count
    """Requeued events that are published now."""
    dead_again: Count
    """Requeued events that are dead again."""
    seconds: Seconds


class ReplayFacts(Ended):
    """The result of a replay, or the consequences of a plan."""

    remaining: NotRequired[Count]
    """Events of the plan that were not reached."""
    published: NotRequired[Count]
    """Requeued events that are published now."""
    dead_again: NotRequired[Count]
    """Requeued events that are dead again."""
    seconds: NotRequired[Seconds]
    planned: NotRequired[Count]
    """Events that would be requeued."""
    by_type: NotRequired[Mapping[str, Count]]
    """Planned events by event type."""
    by_state: NotRequired[Mapping[str, Count]]
    """Planned events by their current state."""
    keys_with_newer: NotRequired[Count]
    """Payments that have an event newer than the planned ones."""
    oldest: NotRequired[datetime | None]
    """When the oldest planned event was created, UTC."""
    newest: NotRequired[datetime | None]
    """When the newest planned event was created, UTC."""
    estimated_seconds: NotRequired[Seconds]
    meant: NotRequired[str | None]
    """The right command, if an order code or a payment id was given as an event id."""


class LeftAloneItem(TypedDict):
    """An event that was not requeued, or that the plan would not requeue."""

    id: str
    outcome: Annotated[str, Keywords(enum=["skipped", "failed"])]
    reason: Annotated[str, Keywords(enum=[*LeftOutReason, "changed", "gone", "locked"])] | None
    event_type: str | None
    aggregate_id: str | None
