"""The facts of a clean-up, under the names that its outputs share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, NotRequired, TypedDict

from ticketbottle_payctl.facts import Count, Keywords, Seconds
from ticketbottle_payctl.jobs.cleanup.delete_batches import CleanupStoppedBecause


class CleanupCounts(TypedDict):
    """How many events were found, and what became of them."""

    matched: Count
    """Expired events that were found."""
    deleted: Count
    """Events deleted."""
    archived: Count
    """Events added to the archive before they were deleted."""
    pending: Count
    """Events that wait to be published."""
    dead: Count
    """Events out of retries."""
    late: Count
    """Events pending for more than an hour."""
    remaining: Count
    """Expired events that are still there, counted no further than 100,000."""
    receipts: Count
    """Stored callbacks deleted, or with dry_run to be deleted."""


class CleanupFacts(TypedDict):
    """How a clean-up went."""

    horizon: datetime
    """Events published before this instant are expired, UTC."""
    bytes: Count
    """About how many bytes the rows took, or with dry_run take."""
    batches: Count
    """Committed transactions."""
    stopped_because: NotRequired[CleanupStoppedBecause]
    archive: NotRequired[str | None]
    """The file that events were added to."""
    oldest_pending_age_s: NotRequired[Seconds | None]
    """Age of the oldest pending event in seconds."""
    oldest_dead_age_s: NotRequired[Seconds | None]
    """Age of the oldest dead event in seconds."""


class UnpublishedItem(TypedDict):
    """Unpublished events by status, type and kind of error. They are never deleted."""

    status: Literal["pending", "dead"]
    event_type: str | None
    error: str | None
    """The last error without ids and numbers; null for events that were never tried."""
    error_group: str | None
    """The error's group, for replay --error-group."""
    events: Annotated[int, Keywords(minimum=1)]
    oldest: datetime
    """When the oldest was created, UTC."""
    oldest_age_s: Seconds | None
    """Its age in seconds."""
