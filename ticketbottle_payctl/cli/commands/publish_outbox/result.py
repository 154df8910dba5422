"""Build a publisher's report, as JSON and as text."""

from __future__ import annotations

from ticketbottle_payctl.cli.commands.publish_outbox.dead_words import (
    customers_in_words,
    dead_blocks,
    unknown_in_words,
)
from ticketbottle_payctl.cli.commands.publish_outbox.obstacle_words import (
    Reading,
    causes,
    locked_words,
)
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
    headline,
    warn,
)
from ticketbottle_payctl.cli.safety.recorded import unrecorded_warnings
from ticketbottle_payctl.domain.causes import NO_LATE_FAILURES, LateFailures, taken_tickets
from ticketbottle_payctl.domain.causes.words import locked
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.formats import command_line, count, duration, rate
from ticketbottle_payctl.jobs.publish_outbox import DeadEvent, Obstacles, PublishReport, StoppedBecause
from ticketbottle_payctl.jobs.publish_outbox.facts import DeadItem

SCHEMA = "payctl.publish-outbox/1"
_MOST_LISTED = 100
_LEAST_EVENTS, _LEAST_SECONDS = 100, 1.0
"""The minimum number of events and seconds for showing a rate. A shorter run would measure only its start-up."""
_TAKEN = "a paid order may have lost its tickets"
_UNREAD = "it is unknown which events are still waiting"
_STOPPED = {StoppedBecause.EMPTY: "no more events can be sent now"}
"""The texts for reasons whose names are misleading. An *empty* outbox may still contain events that are held back."""
_STOPPED_BY_SIGNAL = "stopped by a signal"
_SIGNALS = frozenset({ExitCode.INTERRUPTED, ExitCode.TERMINATED})
_UNFINISHED = {
    StoppedBecause.DEADLINE: "the time limit was reached; more events are pending",
    StoppedBecause.MAX_BATCHES: "more events are pending",
    StoppedBecause.SIGNAL: "more events are pending",
    StoppedBecause.LOCKED: "another process holds the outbox",
}


def result_of(  # noqa: PLR0913 - one argument for each fact about the run
    report: PublishReport,
    *,
    loop: bool,
    reason: str | None = None,
    signalled: ExitCode | None = None,
    reading: Reading = command_line,
    late: LateFailures | None = NO_LATE_FAILURES,
) -> Result:
    """Return the result of a run, with the exit code for the error, the signal or the outcome.

    The exit code is 6 if some events failed, became dead or were held back, or if a dead event reports a success or
    has an unknown type. It is also 6 if the run may have sent failure events of paid orders. ``late`` contains those
    that were pending before the run, or is None if payctl could not read them. A dead event about a failed payment does
    not change the exit code, because the customer has not paid. The exit code is 9 if another process holds a shard. If
    payctl could not read which events are waiting, the result is an error instead of a success. The mark is a tick only
    if the exit code is 0.
    """
    counts = report.counts
    dead = counts.dead_events[:_MOST_LISTED]
    code = signalled if signalled is not None and report.failure is None else _exit_code(report, loop=loop)
    sent_failures = report.counts.published_by_type["PAYMENT_FAILED"] > 0
    may_have_sent = sent_failures and late is not None and late.number > 0
    if may_have_sent and code is ExitCode.DONE:
        code = ExitCode.PARTIAL
    return Result(
        SCHEMA,
        code,
        counts=counts.by_name,
        result=report.facts,
        items=[_item(event) for event in dead],
        truncated=len(dead) < counts.dead,
        human=_human(report, code, reading, may_have_sent=may_have_sent),
        warnings=[
            *(_late_words(late, reading) if sent_failures else ()),
            *_warnings(report),
            *unrecorded_warnings(report.unrecorded, reason),
        ],
        error=_failure(report, code),
        run_id=report.run_id,
    )


def _late_words(late: LateFailures | None, reading: Reading) -> list[str]:
    """Return a warning about the failure events of paid orders that this run may have sent."""
    if late is None:
        return ["the run sent failure events, and payctl could not read whether they belong to paid orders"]
    if not late.number:
        return []
    look, which = reading(["show"], [late.order_code or late.id]), "order" if late.number == 1 else "oldest order"
    has = "the order still has its" if late.number == 1 else "the orders still have their"
    ask = f"ask the team of the order service whether {has} tickets, even if payctl sends a success event later"
    risk = taken_tickets(late.number)
    return [f"before this run, {risk}, and the run sent failure events; {ask}; look at the {which}: `{look}`"]


def _item(event: DeadEvent) -> DeadItem:
    return {"id": event.id, "aggregate_id": event.aggregate_id, "event_type": event.event_type, "error": event.error}


def _failure(report: PublishReport, code: ExitCode) -> Failure | None:
    """Return the error that ended the run, or the error that prevented payctl from reading which events wait."""
    error, message = report.failure, ""
    if error is None and report.obstacles.unread is not None and code is exit_codes.of_error(report.obstacles.unread):
        error, message = (
            report.obstacles.unread,
            f"published {count(report.counts.published, 'event')}, but {_UNREAD}: ",
        )
    if error is None:
        return None
    whole, ends_with = f"{message}{error.message}", exit_codes.of_error(error)
    return Failure(error.code, whole, ends_with, error.hint, error.retryable, error.sql)


def _exit_code(report: PublishReport, *, loop: bool) -> ExitCode:
    if report.failure is not None:
        return exit_codes.of_error(report.failure)
    # For a loop, the deadline is the usual end. But if another publisher held the shard until the end, the loop has
    # done no work.
    usual = loop and report.stopped_because is StoppedBecause.DEADLINE
    code = ExitCode.DONE if usual else exit_codes.of_outcome(report.stopped_because)
    if code is ExitCode.DONE and report.obstacles.locked:
        return ExitCode.LOCKED
    waits = report.obstacles.dead_successes or report.obstacles.unsent.customers
    if code is ExitCode.DONE and (report.partial or waits):
        return ExitCode.PARTIAL
    unread = report.obstacles.unread
    return exit_codes.of_error(unread) if code is ExitCode.DONE and unread is not None else code


def _human(report: PublishReport, code: ExitCode, reading: Reading, *, may_have_sent: bool = False) -> list[Block]:
    counts, obstacles = report.counts, report.obstacles
    trouble = ", ".join([_TAKEN] * may_have_sent + [said for said in [_trouble(report, code)] if said])
    blocks: list[Block] = [
        headline(
            good("✔") if code is ExitCode.DONE else warn("!"),
            warn(trouble) if trouble else None,
            bold(f"published {counts.published:,}"),
            dim(_pace(report)),
        )
    ]
    blocks += causes(obstacles, reading)
    blocks += dead_blocks(obstacles, counts.dead_events, reading, died=counts.dead)
    troubled = [("retry later", counts.retried), ("held back", counts.held)]
    age = report.oldest_pending_age_s
    blocks.append(
        Fields(
            (
                *(
                    (event_type, f"{number:,} → {TOPICS[event_type]}")
                    for event_type, number in sorted(counts.published_by_type.items())
                ),
                *((name, f"{number:,}") for name, number in troubled if number),
                ("publish lag", _lag(report)),
                ("stopped because", _STOPPED.get(report.stopped_because, report.stopped_because.value)),
                ("oldest pending", _age(report, age)),
                ("dead in total", _dead_in_total(obstacles) if counts.dead and obstacles.dead > counts.dead else None),
            )
        )
    )
    if counts.dead_events:
        rows = tuple((bad(event.id), event.event_type, event.error) for event in counts.dead_events[:_MOST_LISTED])
        blocks.append(Table(("dead event", "type", "error"), rows))
    return blocks


def _dead_in_total(obstacles: Obstacles) -> str:
    """Return the number of dead events in the outbox. Count the closed ones separately."""
    closed = obstacles.dead_closed
    return f"{obstacles.dead - closed:,}" + (f" and {closed:,} closed by an operator" if closed else "")


def _trouble(report: PublishReport, code: ExitCode) -> str | None:
    """Return a phrase that says why the run ended early, and why customers or events are waiting, or None.

    A signal comes first, then the waiting customers, then the causes.
    """
    by_signal = code in _SIGNALS or report.stopped_because is StoppedBecause.SIGNAL
    said = _why_events_wait(report)
    if said:
        return ", ".join([_STOPPED_BY_SIGNAL, *said] if by_signal else said)
    more = _UNFINISHED.get(report.stopped_because) if report.obstacles.oldest_pending_age_s is not None else None
    if by_signal:
        return f"{_STOPPED_BY_SIGNAL}; {more}" if more else _STOPPED_BY_SIGNAL
    return more


def _why_events_wait(report: PublishReport) -> list[str]:
    obstacles = report.obstacles
    said = customers_in_words(obstacles.unsent)
    said += [] if obstacles.known else [_UNREAD]
    stopped_by = obstacles.away or obstacles.lock_timeout
    said += [stopped_by.message] if stopped_by else []
    if obstacles.locked:
        said.append(locked_words(obstacles))
    held, rows = report.counts.held, obstacles.locked_rows
    if held > rows:
        said.append(f"held back {count(held, 'event')}")
        said += [f"{rows:,} of them locked by another session"] if rows else []
    elif rows:
        said.append(f"{locked(rows)} by another session")
    if obstacles.failed:
        said.append(f"{count(obstacles.failed, 'event')} failed and will be tried again")
    if report.counts.dead:
        said.append(f"{count(report.counts.dead, 'event')} died")
    else:
        said += unknown_in_words(obstacles.unsent)
    return said


def _pace(report: PublishReport) -> str:
    """Return the duration, the number of batches and, if the run was long enough to measure it, the rate."""
    measured = report.counts.published >= _LEAST_EVENTS and report.seconds >= _LEAST_SECONDS
    said = [
        f"in {duration(report.seconds)}",
        rate(report.events_per_second) if measured else "",
        count(report.counts.batches, "batch", "batches"),
    ]
    return ", ".join(part for part in said if part)


def _lag(report: PublishReport) -> str | None:
    """Return the publish lag's percentiles, or one value if they are all the same."""
    lag = report.lag
    if lag is None or lag.p50 == lag.p99:
        return lag and duration(lag.p50)
    return f"p50 {duration(lag.p50)} · p95 {duration(lag.p95)} · p99 {duration(lag.p99)}"


def _age(report: PublishReport, age: float | None) -> str:
    if not report.obstacles.known:
        return "unknown"
    return duration(age) if age is not None else "none"


def _warnings(report: PublishReport) -> list[str]:
    return [
        f"{event_type} events were not published: {why}; they stay pending, and other types were published"
        for event_type, why in sorted(report.counts.stopped_types.items())
    ]
