"""Delete old published events in short transactions. Publishers can keep running. Pending and dead events are kept.

Only events that were published before the horizon are deleted. A sent success event is kept while its payment has a
dead event that might be harmless because the success was sent. With an archive, a deletion is committed only after the
events are in the archive on disk. If the run is stopped or killed, events in committed batches stay deleted, and the
next run deletes the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

from sqlalchemy import Engine

from ticketbottle_payctl.archive_file import Archive
from ticketbottle_payctl.jobs.cleanup.delete_batches import CleanupStoppedBecause, Sweep, Swept, kinds
from ticketbottle_payctl.jobs.cleanup.facts import CleanupCounts
from ticketbottle_payctl.jobs.cleanup.record import Record
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox import dead, stats
from ticketbottle_payctl.store.outbox import retention as store
from ticketbottle_payctl.store.outbox.dead import DeadCount
from ticketbottle_payctl.store.outbox.stats import By, Group, Unpublished
from ticketbottle_payctl.store.payctl.run_lifecycle import Unrecorded
from ticketbottle_payctl.store.payctl.runs import NewRun, RunStatus

__all__ = ["CleanupPreview", "CleanupReport", "CleanupStoppedBecause", "Swept", "cleanup", "preview_cleanup"]

LATE_AFTER = timedelta(hours=1)
"""The age at which payctl reports a pending event as late."""

_READING = Limits(statement=timedelta(minutes=5), jit=False)
_MOST_LOGGED = 5


@dataclass(frozen=True, slots=True)
class CleanupPreview:
    """A preview of a cleanup, with the number of events, their approximate size in bytes, and the number of receipts.

    Events published before ``horizon`` and receipts stored before ``receipts_before`` would be deleted. Both times are
    UTC. ``receipts_before`` is None if receipts are kept.
    """

    horizon: datetime
    receipts_before: datetime | None
    matched: int
    bytes: int
    receipts: int


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """The number of deleted rows, and the unpublished events that need attention.

    Events published before ``horizon`` (UTC) are expired. ``matched`` counts the expired events that were found.
    ``remaining`` counts the expired events that are still in the table, up to 100,000. These events were locked, or the
    run ended before it reached them. ``bytes`` is the approximate size of the deleted rows. ``receipts`` is the number
    of deleted receipts. ``unpublished`` counts the pending and dead events, and ``closed`` the dead events that an
    operator has closed. ``closings_known`` is False if the role is not allowed to read which events are closed. Then
    ``closed`` is 0. ``groups`` counts the unpublished events that are not closed, by type and error. ``oldest_dead_s``
    is the age of the oldest dead event that is not harmless, or None. ``run_id`` is the id of the recorded run, or
    None. ``unrecorded`` says what could not be recorded. With ``dry_run``, the counts are a preview.
    """

    horizon: datetime
    stopped_because: CleanupStoppedBecause
    matched: int
    deleted: int
    archived: int
    bytes: int
    batches: int
    remaining: int
    receipts: int
    unpublished: Unpublished
    groups: tuple[Group, ...]
    seconds: float
    dry_run: bool = False
    closed: int = 0
    closings_known: bool = True
    oldest_dead_s: float | None = None
    run_id: str | None = None
    unrecorded: Unrecorded | None = None

    @property
    def pending(self) -> int:
        """The number of events that are waiting to be published."""
        return self.unpublished.pending

    @property
    def dead(self) -> int:
        """The number of events that are out of retries, including the closed ones."""
        return self.unpublished.dead

    @property
    def counts(self) -> CleanupCounts:
        """The counts, under the field names of the JSON output and the Lambda function's result."""
        counts: CleanupCounts = {
            "matched": self.matched,
            "deleted": self.deleted,
            "archived": self.archived,
            "pending": self.pending,
            "dead": self.dead,
            "late": self.unpublished.late,
            "remaining": self.remaining,
            "receipts": self.receipts,
        }
        if self.closings_known:
            counts["closed"] = self.closed
        return counts


def cleanup(  # noqa: PLR0913 - one argument per option
    engine: Engine,
    *,
    retention: timedelta,
    max_retries: int,
    batch_size: int = 2000,
    max_duration: timedelta | None = None,
    keep_newest: timedelta | None = None,
    receipts_older_than: timedelta | None = None,
    planned: CleanupPreview | None = None,
    archive: Path | None = None,
    dry_run: bool = False,
    run: NewRun | None = None,
    stop: Event | None = None,
    done: Callable[[Swept], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> CleanupReport:
    """Delete events that were published more than ``retention`` ago, according to the database's clock.

    If ``keep_newest`` is longer than ``retention``, ``keep_newest`` applies instead. Receipts are deleted only if
    ``receipts_older_than`` gives their minimum age. If ``planned`` is given, its ``horizon`` and ``receipts_before``
    apply, so the run keeps events that expired after the preview. The run ends between two batches after
    ``max_duration``, or when ``stop`` is set. ``done`` is called after each committed batch. The run is recorded as
    ``run`` if it deletes rows and the database role is allowed to write the record. With ``dry_run``, the cleanup only
    counts rows.

    The cleanup logs dead events as ``outbox_dead_events`` and late events as ``outbox_late_events``.

    Raises:
        InputError: ``archive`` cannot be opened, or is not an archive. Nothing was deleted.
        LockedError: another process is adding to ``archive``. Nothing was deleted.
        UnavailableError: ``archive`` cannot be written. Committed batches stay deleted and are in the archive.
        DatabaseUnavailableError: the server cannot be reached. Committed batches stay deleted and are in the archive.
        ConfigError: payctl's schema or a privilege is missing.
    """
    began = clock()
    with transaction(engine, _READING, commit=False) as connection:
        now = outbox.now(connection).replace(tzinfo=UTC)
        found = stats.unpublished(connection, max_retries, late_after_s=LATE_AFTER.total_seconds())
        counted = dead.count(connection, max_retries) if found.dead else DeadCount(0, 0)
        closed, known = counted.closed, counted.closings_known
        groups = stats.groups(connection, max_retries, (By.TYPE, By.ERROR), without_closed=closed > 0)
        oldest_s = dead.oldest_age(connection, max_retries) if found.dead else None
        successes = store.payments_to_keep(connection, max_retries) if found.dead else ()
    _alert(found, counted, groups, oldest_s)
    if dry_run:
        preview = preview_cleanup(
            engine,
            retention=retention,
            max_retries=max_retries,
            keep_newest=keep_newest,
            receipts_older_than=receipts_older_than,
        )
        previewed = _previewed(preview, found, groups, clock() - began)
        return replace(previewed, closed=closed, closings_known=known, oldest_dead_s=oldest_s)
    horizon, receipts_before = _horizon(now, retention, keep_newest), _before(now, receipts_older_than)
    if planned is not None:
        horizon, receipts_before = planned.horizon, planned.receipts_before
    deadline = None if max_duration is None else began + max_duration.total_seconds()
    record = Record(engine, run)
    sweep = Sweep(engine, horizon, batch_size, stop or Event(), _both(record.begin, done), clock, deadline, successes)
    reason = None
    try:
        with Archive(archive) if archive else nullcontext() as kept:
            reason = sweep.run(kept, receipts_before)
    finally:  # an incomplete cleanup is never resumed, because the next cleanup deletes the rest
        status = RunStatus.DONE if reason is CleanupStoppedBecause.EMPTY else RunStatus.INCOMPLETE
        record.close(status, sweep.swept)
    remaining, swept = sweep.remaining(), sweep.swept
    return CleanupReport(
        horizon=horizon,
        stopped_because=reason,
        matched=swept.deleted + remaining,
        deleted=swept.deleted,
        archived=swept.archived,
        bytes=swept.bytes,
        batches=swept.batches,
        remaining=remaining,
        receipts=swept.receipts,
        unpublished=found,
        groups=tuple(groups),
        seconds=clock() - began,
        closed=closed,
        closings_known=known,
        oldest_dead_s=oldest_s,
        run_id=record.id,
        unrecorded=record.unrecorded,
    )


def preview_cleanup(
    engine: Engine,
    *,
    retention: timedelta,
    max_retries: int,
    keep_newest: timedelta | None = None,
    receipts_older_than: timedelta | None = None,
) -> CleanupPreview:
    """Return a preview of a cleanup. The preview reads every row that it counts, and changes nothing.

    Raises:
        DatabaseUnavailableError: the server cannot be reached, or counting took longer than five minutes.
        ConfigError: a table or a privilege is missing.
    """
    with transaction(engine, _READING, commit=False) as connection:
        now = outbox.now(connection).replace(tzinfo=UTC)
        horizon = _horizon(now, retention, keep_newest)
        kept = store.payments_to_keep(connection, max_retries)
        amounts = [store.measure(connection, kind) for kind in kinds(horizon, kept)]
        receipts_before = _before(now, receipts_older_than)
        receipts = store.count_receipts(connection, receipts_before) if receipts_before else 0
    rows, size = sum(amount.rows for amount in amounts), sum(amount.bytes for amount in amounts)
    return CleanupPreview(horizon, receipts_before, rows, size, receipts)


def _horizon(now: datetime, retention: timedelta, keep_newest: timedelta | None) -> datetime:
    return now - max(retention, keep_newest or retention)


def _before(now: datetime, older_than: timedelta | None) -> datetime | None:
    return None if older_than is None else now - older_than


def _both(begin: Callable[[], None], done: Callable[[Swept], None]) -> Callable[[Swept], None]:
    def heard(swept: Swept) -> None:
        begin()
        done(swept)

    return heard


def _previewed(preview: CleanupPreview, found: Unpublished, groups: Sequence[Group], seconds: float) -> CleanupReport:
    return CleanupReport(
        horizon=preview.horizon,
        stopped_because=CleanupStoppedBecause.EMPTY,
        matched=preview.matched,
        deleted=0,
        archived=0,
        bytes=preview.bytes,
        batches=0,
        remaining=preview.matched,
        receipts=preview.receipts,
        unpublished=found,
        groups=tuple(groups),
        seconds=seconds,
        dry_run=True,
    )


def _alert(found: Unpublished, dead: DeadCount, groups: Sequence[Group], oldest_s: float | None) -> None:
    """Log dead events that are not closed, and late events, because a cleanup never removes them.

    If the role is not allowed to read which events are closed, the log line also counts the closed events, and says so.
    ``oldest_s`` is the age of the oldest dead event that is not harmless, or None if all dead events are harmless.
    """
    if found.dead > dead.closed:
        reasons = [
            f"{group.events} {group.event_type}: {group.error or 'no reason noted'}" for group in groups if group.dead
        ]
        log_event(
            "outbox_dead_events",
            level="error",
            events=found.dead - dead.closed,
            includes_closed=not dead.closings_known,
            oldest_age_s=None if oldest_s is None else round(oldest_s),
            reasons=reasons[:_MOST_LOGGED],
        )
    if found.late:
        log_event(
            "outbox_late_events",
            level="error",
            events=found.late,
            oldest_age_s=round(found.oldest_pending_age_s or 0),
        )
