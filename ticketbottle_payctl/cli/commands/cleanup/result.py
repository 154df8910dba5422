"""Build the report and the plan of a cleanup, as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from pathlib import Path

from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.result import (
    Block,
    Fields,
    Line,
    Result,
    Table,
    bad,
    bold,
    dim,
    good,
    headline,
    line,
    warn,
)
from ticketbottle_payctl.cli.safety.cause_advice import next_lines
from ticketbottle_payctl.cli.safety.recorded import unrecorded_warnings
from ticketbottle_payctl.formats import count, duration, local_and_utc, size
from ticketbottle_payctl.jobs.cleanup import CleanupPreview, CleanupReport, CleanupStoppedBecause
from ticketbottle_payctl.jobs.cleanup.facts import CleanupFacts, UnpublishedItem
from ticketbottle_payctl.store.outbox.stats import Group

SCHEMA = "payctl.cleanup/1"

_ADVICE = (
    "ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,"
    " autovacuum_analyze_scale_factor = 0.02)"
)


def plan_of(preview: CleanupPreview, zone: tzinfo) -> list[Block]:
    """Return the plan that the operator approves."""
    callbacks = f" and {count(preview.receipts, 'callback')}" if preview.receipts else ""
    return [
        line(bold("Plan"), f"delete {count(preview.matched, 'published event')}{callbacks}"),
        Fields(
            (
                ("published before", local_and_utc(preview.horizon, zone)),
                ("events", f"{preview.matched:,}, about {size(preview.bytes)}"),
                ("callbacks", f"{preview.receipts:,}" if preview.receipts else None),
            )
        ),
    ]


def result_of(report: CleanupReport, *, archive: Path | None, zone: tzinfo, reason: str | None) -> Result:
    """Return the result of a cleanup.

    The exit code is 10 if the time limit was reached before all expired events were deleted.

    If the run or the given ``reason`` was not recorded, a warning says so.
    """
    facts: CleanupFacts = {
        "horizon": report.horizon,
        "bytes": report.bytes,
        "batches": report.batches,
        "stopped_because": report.stopped_because,
        "archive": str(archive) if archive else None,
        "oldest_pending_age_s": report.unpublished.oldest_pending_age_s,
        "oldest_dead_age_s": report.unpublished.oldest_dead_age_s,
    }
    return Result(
        SCHEMA,
        exit_codes.of_outcome(report.stopped_because),
        counts=report.counts,
        result=facts,
        items=[_item(group) for group in report.groups],
        human=[*_human(report, archive, zone)],
        warnings=[*_warnings(report), *_unrecorded(report, reason)],
        dry_run=report.dry_run,
        run_id=report.run_id,
    )


def _item(group: Group) -> UnpublishedItem:
    return {
        "status": "dead" if group.dead else "pending",
        "event_type": group.event_type,
        "error": group.error,
        "error_group": group.error_group,
        "events": group.events,
        "oldest": group.oldest,
        "oldest_age_s": group.age_s,
    }


def _human(report: CleanupReport, archive: Path | None, zone: tzinfo) -> Iterator[Block]:
    yield _headline(report)
    unpublished = report.unpublished
    kept = archive and not report.dry_run
    yield Fields(
        (
            ("published before", local_and_utc(report.horizon, zone)),
            ("archived", f"{report.archived:,} to {archive}" if kept else None),
            ("expired, not deleted", f"{report.remaining:,}" if report.remaining and not report.dry_run else None),
            ("callbacks", f"{report.receipts:,}" if report.receipts else None),
            ("run", report.run_id),
            ("stopped because", None if report.dry_run else report.stopped_because.value),
            ("pending", _with_age(unpublished.pending, unpublished.oldest_pending_age_s)),
            ("dead", _with_age(report.dead - report.closed, None if report.closed else unpublished.oldest_dead_age_s)),
            ("closed", f"{count(report.closed, 'dead event')}, by an operator" if report.closed else None),
        )
    )
    if report.groups:
        yield Table(
            ("status", "event type", "events", "oldest", "reason", "group"),
            tuple(_row(group) for group in report.groups),
            spare=("oldest", "event type"),
        )
    if report.deleted:
        yield from next_lines("", dim("advice:"), "as the table's owner, in psql", None, _ADVICE)


def _headline(report: CleanupReport) -> Line:
    about = f"about {size(report.bytes)}"
    if report.dry_run:
        if not report.matched + report.receipts:
            return headline(bold("nothing to delete"))
        return headline(bold(f"would delete {count(report.matched, 'event')}"), dim(about))
    mark = good("✔") if report.stopped_because is CleanupStoppedBecause.EMPTY else warn("!")
    facts = f"in {duration(report.seconds)}, {count(report.batches, 'batch', 'batches')}, {about}"
    return headline(mark, bold(f"deleted {count(report.deleted, 'event')}"), dim(facts))


def _row(group: Group) -> tuple[object, ...]:
    return (
        bad("dead") if group.dead else "pending",
        group.event_type,
        group.events,
        None if group.age_s is None else duration(group.age_s),
        group.error or "never tried",
        group.error_group,
    )


def _with_age(events: int, oldest_s: float | None) -> str:
    if not events:
        return "none"
    return f"{events:,}" if oldest_s is None else f"{events:,}, the oldest is {duration(oldest_s)} old"


def _warnings(report: CleanupReport) -> Iterator[str]:
    if report.dead > report.closed:
        left = f"{count(report.dead - report.closed, 'dead event')} left in the outbox"
        yield f"{left}; `payctl errors` shows what to do"
    if not report.closings_known:
        yield "closed dead events count as open: the role is not allowed to read `payments` or the closing records"
    if report.unpublished.late:
        yield f"{count(report.unpublished.late, 'event')} pending for more than an hour; `payctl stats` says why"
    if report.remaining and report.stopped_because is CleanupStoppedBecause.EMPTY and not report.dry_run:
        yield f"{count(report.remaining, 'expired event')} not deleted, locked by other sessions; run cleanup again"


def _unrecorded(report: CleanupReport, reason: str | None) -> list[str]:
    """Return a warning if the run was not recorded.

    Return an empty list for a scheduled cleanup: it does not pass ``--reason``, and its role is not allowed to write
    records.
    """
    scheduled = reason is None and report.unrecorded is not None and report.unrecorded.run_id is None
    return [] if scheduled else unrecorded_warnings(report.unrecorded, reason)
