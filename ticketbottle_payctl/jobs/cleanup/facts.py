"""Define the types of a cleanup's result. All outputs use the same field names."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, NotRequired, TypedDict

from ticketbottle_payctl.facts import Count, Keywords, Seconds
from ticketbottle_payctl.jobs.cleanup.delete_batches import CleanupStoppedBecause


class CleanupCounts(TypedDict):
    """The number of events by result."""

    matched: Count
    """Expired events that were found."""
    deleted: Count
    """Deleted events."""
    archived: Count
    """Events added to the archive before they were deleted."""
    pending: Count
    """Events that are waiting to be published."""
    dead: Count
    """Events that are out of retries, including the closed ones."""
    closed: NotRequired[Count]
    """Dead events that an operator has closed. They need no attention.

    Left out if the database role is not allowed to read which events are closed.
    """
    late: Count
    """Events that have been pending for more than an hour."""
    remaining: Count
    """Expired events that are still in the table, counted up to 100,000."""
    receipts: Count
    """Deleted receipts; with dry_run, receipts that would be deleted."""


class CleanupFacts(TypedDict):
    """The result of a cleanup."""

    horizon: datetime
    """The retention horizon (UTC). Events that were published earlier are expired."""
    bytes: Count
    """The approximate size of the deleted rows in bytes; with dry_run, of the rows that would be deleted."""
    batches: Count
    """Committed transactions."""
    stopped_because: NotRequired[CleanupStoppedBecause]
    archive: NotRequired[str | None]
    """The archive file to which the run added the deleted events."""
    oldest_pending_age_s: NotRequired[Seconds | None]
    """Age of the oldest pending event, in seconds."""
    oldest_dead_age_s: NotRequired[Seconds | None]
    """Age of the oldest dead event, in seconds."""


class UnpublishedItem(TypedDict):
    """Unpublished events, grouped by status, type and kind of error. A cleanup never deletes them."""

    status: Literal["pending", "dead"]
    event_type: str | None
    error: str | None
    """The last error without ids or numbers; null if the events have no error."""
    error_group: str | None
    """The error's group, as a value for replay --error-group."""
    events: Annotated[int, Keywords(minimum=1)]
    oldest: datetime
    """When the oldest of these events was created (UTC)."""
    oldest_age_s: Seconds | None
    """The age of the oldest event, in seconds."""
