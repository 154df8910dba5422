"""Define types for the results of a replay and of a resumed replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from ticketbottle_payctl.facts import Count, Keywords, Seconds
from ticketbottle_payctl.jobs.replay import LeftOutReason, ReplayOutcome


class ReplayCounts(TypedDict):
    """The number of events that were selected, requeued or skipped, or that failed."""

    matched: Count
    """The number of selected events that exist."""
    requeued: Count
    """The number of events that were requeued (set back to pending)."""
    skipped: Count
    """The number of events that were not requeued."""
    failed: Count
    """The number of events that another session had locked, or that are dead again."""
    already_published: Count
    """The number of planned events that were already published."""


class ResumeCounts(TypedDict):
    """The number of events in the whole run, by outcome."""

    requeued: Count
    """The number of events that the whole run has requeued."""
    skipped: Count
    failed: Count
    remaining: Count
    """The number of events that the run has not reached."""


class Ended(TypedDict):
    """How a run ended."""

    outcome: ReplayOutcome | None
    """The outcome; null if nothing was changed."""
    plan_file: str | None
    """The file that --plan-out wrote the plan to."""
    publisher_running: NotRequired[bool | None]
    """Whether a publisher was running when the wait for the canary ended; null if unknown, or if there was no wait."""
    superseded: NotRequired[Count]
    """The number of superseded events to requeue because of --allow-superseded.

    Superseded events that the plan leaves out are not counted.
    """
    superseded_ids: NotRequired[Sequence[str]]
    """The ids of the superseded events to requeue."""


class ResumeFacts(Ended):
    """The result of a resumed run."""

    remaining: Count
    """The number of planned events that were not reached."""
    requeued_now: NotRequired[Count]
    """The number of events that this resume requeued. The counts are about the whole run."""
    published: Count
    """The number of requeued events that are published now."""
    dead_again: Count
    """The number of requeued events that are dead again."""
    seconds: Seconds


class ReplayFacts(Ended):
    """The result of a replay, or the consequences of a plan."""

    remaining: NotRequired[Count]
    """The number of planned events that were not reached."""
    published: NotRequired[Count]
    """The number of requeued events that are published now."""
    dead_again: NotRequired[Count]
    """The number of requeued events that are dead again."""
    seconds: NotRequired[Seconds]
    planned: NotRequired[Count]
    """The number of events that would be requeued."""
    by_type: NotRequired[Mapping[str, Count]]
    """The number of planned events of each event type."""
    by_state: NotRequired[Mapping[str, Count]]
    """The number of planned events in each current state."""
    keys_with_newer: NotRequired[Count]
    """The number of payments with a published event that is newer than the payment's planned events."""
    oldest: NotRequired[datetime | None]
    """When the oldest planned event was created (UTC)."""
    newest: NotRequired[datetime | None]
    """When the newest planned event was created (UTC)."""
    estimated_seconds: NotRequired[Seconds]
    meant: NotRequired[str | None]
    """The command to use instead, if an order code or a payment id was given as an event id."""


class LeftAloneItem(TypedDict):
    """An event that was not requeued, or that the plan would not requeue."""

    id: str
    outcome: Annotated[str, Keywords(enum=["skipped", "failed"])]
    reason: Annotated[str, Keywords(enum=[*LeftOutReason, "changed", "gone", "locked"])] | None
    """Why the event was not requeued.

    The reason ``superseded`` means that the event is superseded and --allow-superseded was not given.
    """
    event_type: str | None
    aggregate_id: str | None
