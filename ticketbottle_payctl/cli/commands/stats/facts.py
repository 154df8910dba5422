"""Define types for the state of the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.safety.cause_advice import advice_text, command_text, remedy_text
from ticketbottle_payctl.domain.causes import Cause, CauseKind
from ticketbottle_payctl.facts import Count, Keywords, Rate, Seconds
from ticketbottle_payctl.jobs.stats import By, Drain, StatsReport, Tally
from ticketbottle_payctl.redaction import redact


class LagFacts(TypedDict):
    """Percentiles of the publish lag in seconds; null if nothing was published."""

    p50: Seconds | None
    p95: Seconds | None
    p99: Seconds | None


class RateFacts(TypedDict):
    """Rates in events per second."""

    in_per_s: Rate
    out_per_s: Rate


class HistoryFacts(TypedDict):
    """The number of events in each of 30 equal parts of the window, oldest part first."""

    created: NotRequired[Sequence[Count]]
    sent: NotRequired[Sequence[Count]]


class CauseFacts(TypedDict):
    """A reason why events are waiting, and what to do about it."""

    cause: CauseKind
    events: Count
    """The number of affected events. If the backlog has over 20,000 events, the true number may be higher."""
    fact: str
    meaning: str
    advice: str | None
    """What to do, in words."""
    command: str | None
    """A command to run after following the advice."""
    sql: NotRequired[str | None]
    """SQL to run in psql after following the advice."""


class StatsFacts(TypedDict):
    """The state of the outbox."""

    pending: Count
    """The number of events waiting to be published."""
    dead: Count
    """The number of events that are out of retries, including the closed ones."""
    closed: NotRequired[Count]
    """The number of harmless dead events that a person has closed. No cause counts them."""
    blocked: NotRequired[Count]
    """The number of pending events that wait behind a dead event of the same payment."""
    locked: NotRequired[Count]
    """The number of the 20,000 oldest pending events that other database sessions have locked for ten seconds."""
    superseded: NotRequired[Count]
    """The number of dead events that are harmless, because no customer waits for them.

    They are superseded, they repeat a success that was sent, or a person has closed them. payctl searches the published
    events only for the 50 oldest dead success events, and only near the time of each, so more of them may be harmless.
    """
    causes: NotRequired[Sequence[CauseFacts]]
    """Pending failure events of paid orders, then the causes of dead, blocked or overdue events, most urgent first.

    Empty if there are no such events.
    """
    idle: NotRequired[str | None]
    """Why no publisher sends the waiting events; null if a publisher is active or no event can be sent."""
    by_debezium: NotRequired[bool]
    """Whether Debezium is publishing this outbox."""
    published: Count
    """The number of published rows, including rows that the old service did not mark."""
    total: Count
    """The number of all rows in the outbox."""
    exact: NotRequired[bool]
    """Whether published and total are exact counts rather than estimates."""
    sent_unmarked: NotRequired[Count]
    """The number of rows that the old service sent but did not mark."""
    late: NotRequired[Count]
    """The number of events that have been pending for more than an hour."""
    oldest_pending_age_s: Seconds | None
    """The age of the oldest pending event in seconds; null if no event is pending."""
    oldest_pending_id: str | None
    """The id of the oldest pending event."""
    longest_wait_s: NotRequired[Seconds | None]
    """The longest wait of a pending event, in seconds; null if no event is pending.

    The wait of a requeued event counts from its replay. --check compares this value with --max-age.
    """
    oldest_dead_age_s: NotRequired[Seconds | None]
    """The age of the oldest dead event in seconds."""
    lag_s: LagFacts
    """For the window: the seconds from an event's creation to its publication."""
    rate: RateFacts
    """For the window: the number of events created and published per second."""
    drain: NotRequired[Drain]
    """Whether the backlog is growing or shrinking; `blocked` if all pending events are blocked or locked."""
    drain_eta_s: Seconds | None
    """Seconds until no sendable event is left, at the last minute's rate; null unless the backlog shrinks."""
    window_s: NotRequired[Seconds | None]
    """The window's length in seconds; shorter than requested if over 10,000 events were published in that time."""
    history: NotRequired[HistoryFacts]
    """The number of events in each of 30 equal parts of the window, oldest part first."""
    at: NotRequired[datetime]
    """When this state was read, on the database's clock (UTC)."""
    healthy: NotRequired[bool]
    """With --check: whether the outbox is within its limits."""
    reasons: NotRequired[Sequence[str]]
    """With --check: the limits that were exceeded."""
    waited_for: NotRequired[str]
    """With --wait: the condition."""
    reached: NotRequired[bool]
    """With --wait: whether the condition was met."""


class StatsItem(TypedDict, total=False):
    """A group that --by asks for. With --watch and -o ndjson, each item is a complete result instead."""

    event_type: str | None
    """An event type."""
    status: Annotated[str, Keywords(enum=["pending", "dead", "published"])]
    provider: str | None
    """The gateway name stored in the payment's row; null if payctl does not know the gateway."""
    error: str | None
    """The kind of error, without ids or numbers; null for events that never failed."""
    error_group: str | None
    """The error group's id, for replay --error-group."""
    pending: Count
    dead: Count
    events: Count
    published: Count | None
    """The number of published events in the window, among the newest 10,000 published events."""
    oldest_age_s: Seconds | None
    """The age of the oldest unpublished event in seconds."""


def facts_of(report: StatsReport, session: Session) -> StatsFacts:
    """Return the state of the outbox as JSON."""
    return {
        "pending": report.pending,
        "dead": report.dead,
        "closed": report.closed,
        "blocked": report.blocked,
        "locked": report.locked,
        "superseded": report.superseded,
        "causes": [_cause(cause, session) for cause in report.causes],
        "idle": report.idle.words if report.idle else None,
        "by_debezium": report.by_debezium,
        "published": report.published,
        "total": report.total,
        "exact": report.exact,
        "sent_unmarked": report.sent_unmarked,
        "late": report.late,
        "oldest_pending_age_s": _seconds(report.oldest_pending_age_s),
        "oldest_pending_id": report.oldest_pending_id,
        "longest_wait_s": _seconds(report.longest_wait_s),
        "oldest_dead_age_s": _seconds(report.oldest_dead_age_s),
        "lag_s": {"p50": report.lag.p50, "p95": report.lag.p95, "p99": report.lag.p99},
        "rate": {"in_per_s": report.in_per_s, "out_per_s": report.out_per_s},
        "drain": report.drain,
        "drain_eta_s": report.drain_eta_s,
        "window_s": _seconds(report.window_s),
        "history": {"created": list(report.created), "sent": list(report.sent)},
        "at": report.at,
    }


def command_of(cause: Cause, session: Session) -> str | None:
    """Return the command that fixes a cause, or None."""
    return command_text(session, cause.command, f"stats: {cause.kind.replace('_', ' ')}")


def _cause(cause: Cause, session: Session) -> CauseFacts:
    return {
        "cause": cause.kind,
        "events": cause.events,
        "fact": cause.fact,
        "meaning": cause.meaning,
        "advice": remedy_text(advice_text(session, cause.advice, cause.command), cause.sql),
        "command": command_of(cause, session),
        "sql": cause.sql,
    }


def item_of(by: By, row: Tally) -> StatsItem:
    """Return one group's counts as JSON."""
    age = _seconds(row.oldest_age_s)
    match by:
        case By.STATUS:
            events = {"pending": row.pending, "dead": row.dead}.get(row.label or "", row.published)
            return {"status": str(row.label), "events": events or 0, "oldest_age_s": age}
        case By.ERROR:
            return {
                "error": redact(row.label) if row.label else None,
                "error_group": row.error_group,
                "pending": row.pending,
                "dead": row.dead,
                "oldest_age_s": age,
            }
        case By.TYPE | By.PROVIDER:
            rest: StatsItem = {
                "pending": row.pending,
                "dead": row.dead,
                "published": row.published,
                "oldest_age_s": age,
            }
            return {"event_type": row.label, **rest} if by is By.TYPE else {"provider": row.label, **rest}


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
