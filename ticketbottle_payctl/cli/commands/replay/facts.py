"""The facts of a replay, and of a replay that was resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from ticketbottle_payctl.facts import Count, Keywords, Seconds
from ticketbottle_payctl.jobs.replay import LeftOutReason, ReplayOutcome


class ReplayCounts(TypedDict):
    """How many events were selected, and what became of them."""

    matched: Count
    """Selected events that exist."""
    requeued: Count
    """Events put back to pending."""
    skipped: Count
    """Rows left alone."""
    failed: Count
    """Rows held by another session, and events that are dead again."""
    already_published: Count
    """Planned events that were published."""


class ResumeCounts(TypedDict):
    """What became of the events of the whole run."""

    requeued: Count
    """Events put back to pending by the whole run."""
    skipped: Count
    failed: Count
    remaining: Count
    """Events not reached."""


class Ended(TypedDict):
    """How a run ended."""

    outcome: ReplayOutcome | None
    """How it ended; null if nothing was changed."""
    plan_file: str | None
    """The file that --plan-out wrote the plan to."""
    publisher_running: NotRequired[bool | None]
    """Whether a publisher was running when the wait for the canary ended; null if not known, or nothing waited."""
    superseded: NotRequired[Count]
    """Superseded events that --allow-superseded let in."""
    superseded_ids: NotRequired[Sequence[str]]
    """Their ids."""


class ResumeFacts(Ended):
    """How a resumed run ended."""

    remaining: Count
    """Events of the plan that were not reached."""
    published: Count
    """Requeued events that are published by now."""
    dead_again: Count
    """Requeued events that are dead again."""
    seconds: Seconds


class ReplayFacts(Ended):
    """How a replay ended, or what a plan would do."""

    remaining: NotRequired[Count]
    """Events of the plan that were not reached."""
    published: NotRequired[Count]
    """Requeued events that are published by now."""
    dead_again: NotRequired[Count]
    """Requeued events that are dead again."""
    seconds: NotRequired[Seconds]
    planned: NotRequired[Count]
    """Events that would be requeued."""
    by_type: NotRequired[Mapping[str, Count]]
    """Planned events by event type."""
    by_state: NotRequired[Mapping[str, Count]]
    """Planned events by their state now."""
    keys_with_newer: NotRequired[Count]
    """Payments that have an event newer than the planned ones."""
    oldest: NotRequired[datetime | None]
    """When the oldest was created, UTC."""
    newest: NotRequired[datetime | None]
    """When the newest was created, UTC."""
    estimated_seconds: NotRequired[Seconds]
    meant: NotRequired[str | None]
    """The command that was meant, if an order code or a payment was given as the id of an event."""


class LeftAloneItem(TypedDict):
    """A row that was left alone, or would be."""

    id: str
    outcome: Annotated[str, Keywords(enum=["skipped", "failed"])]
    reason: Annotated[str, Keywords(enum=[*LeftOutReason, "changed", "gone", "locked"])] | None
    event_type: str | None
    aggregate_id: str | None
