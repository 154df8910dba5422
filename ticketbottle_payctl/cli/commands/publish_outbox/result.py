"""A publisher's report, for programs and for people."""

from __future__ import annotations

from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import (
    Block,
    Failure,
    Fields,
    Result,
    Table,
    bad,
    bold,
    dim,
    good,
    line,
    warn,
)
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.formats import count, duration
from ticketbottle_payctl.jobs.publish_outbox import DeadEvent, PublishReport, StoppedBecause
from ticketbottle_payctl.jobs.publish_outbox.facts import ClaimableItem, DeadItem, PublishedEvents
from ticketbottle_payctl.store.outbox.claim import Waiting

SCHEMA = "payctl.publish-outbox/1"
_MOST_LISTED = 100


def result_of(report: PublishReport, *, loop: bool) -> Result:
    """Return the report. Exit 6 if some events failed, or the code of the error that stopped the run."""
    counts = report.counts
    dead = counts.dead_events[:_MOST_LISTED]
    return Result(
        SCHEMA,
        _exit_code(report, loop=loop),
        counts=counts.by_name,
        result=report.facts,
        items=[_item(event) for event in dead],
        truncated=len(dead) < counts.dead,
        human=_human(report),
        warnings=_warnings(report),
        error=_failure(report),
    )


def result_of_preview(waiting: list[Waiting]) -> Result:
    """Return the number of events that would be claimed, by type."""
    total = sum(row.events for row in waiting)
    rows: list[ClaimableItem] = [
        {"event_type": row.event_type, "topic": TOPICS.get(row.event_type), "events": row.events, "oldest": row.oldest}
        for row in waiting
    ]
    human: list[Block] = [line(bold(count(total, "event")), "would be claimed")]
    if rows:
        human.append(Table(("event type", "topic", "events", "oldest"), tuple(tuple(row.values()) for row in rows)))
    counts: PublishedEvents = {"claimed": total, "published": 0, "retried": 0, "dead": 0, "held": 0, "pending": total}
    return Result(SCHEMA, counts=counts, items=rows, human=human, dry_run=True)


def _item(event: DeadEvent) -> DeadItem:
    return {"id": event.id, "aggregate_id": event.aggregate_id, "event_type": event.event_type, "error": event.error}


def _failure(report: PublishReport) -> Failure | None:
    error = report.failure
    if error is None:
        return None
    return Failure(error.code, error.message, exit_codes.of_error(error), error.hint, error.retryable)


def _exit_code(report: PublishReport, *, loop: bool) -> ExitCode:
    if report.failure is not None:
        return exit_codes.of_error(report.failure)
    if report.stopped_because is StoppedBecause.DEADLINE and loop:
        return ExitCode.PARTIAL if report.partial else ExitCode.DONE
    code = exit_codes.of_outcome(report.stopped_because)
    return ExitCode.PARTIAL if code is ExitCode.DONE and report.partial else code


def _human(report: PublishReport) -> list[Block]:
    counts = report.counts
    batches = count(counts.batches, "batch", "batches")
    mark = warn("!") if report.partial or report.failure else good("✔")
    blocks: list[Block] = [
        line(
            mark,
            bold(f"published {counts.published:,}"),
            dim(f"in {duration(report.seconds)}, {report.events_per_second:,.0f}/s, {batches}"),
        )
    ]
    troubled = [("retry later", counts.retried), ("dead", counts.dead), ("blocked", counts.held)]
    age, lag = report.oldest_pending_age_s, report.lag
    blocks.append(
        Fields(
            (
                *(
                    (event_type, f"{number:,} → {TOPICS[event_type]}")
                    for event_type, number in sorted(counts.published_by_type.items())
                ),
                *((name, f"{number:,}") for name, number in troubled if number),
                ("publish lag", lag and f"p50 {duration(lag.p50)} · p95 {duration(lag.p95)} · p99 {duration(lag.p99)}"),
                ("stopped because", report.stopped_because.value),
                ("oldest pending", duration(age) if age is not None else "none"),
            )
        )
    )
    if counts.dead_events:
        rows = tuple((bad(event.id), event.event_type, event.error) for event in counts.dead_events[:_MOST_LISTED])
        blocks.append(Table(("dead event", "type", "error"), rows))
    return blocks


def _warnings(report: PublishReport) -> list[str]:
    stopped = [
        f"{event_type} was not published: {why}; its events stay pending, other types were published"
        for event_type, why in sorted(report.counts.stopped_types.items())
    ]
    if report.counts.dead:
        stopped.append(
            "dead events stay in the outbox; see `payctl list outbox --failed`, then `payctl replay --failed`"
        )
    return stopped
