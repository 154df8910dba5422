"""Define types for the report of a window, and convert the report to JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NotRequired, TypedDict

from ticketbottle_payctl.cli.commands.report.figures import Commands, Figure
from ticketbottle_payctl.cli.commands.report.sentence import gap_sentence, verdict
from ticketbottle_payctl.facts import Count, Seconds
from ticketbottle_payctl.jobs.report.model import GapReason, MomentKind, Report, Section
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.store.payments.open_orders import OpenOrder, WithoutTicket


class FigureItem(TypedDict):
    """One figure, and the command that prints it."""

    name: str
    """The figure's name, which never changes."""
    label: str
    """What the figure measures."""
    value: float | None
    """The figure's value, in seconds if the name ends in _s; null if there is nothing to measure."""
    command: str
    """The command that prints this figure."""


class OpenOrderFacts(TypedDict):
    """An order that needs attention.

    Either the customer has paid or may have paid but has no ticket, or money needs manual review.
    """

    kind: WithoutTicket
    """pending or dead: the event's state; no_event: the payment has no success event; unknown_type: it has only an
    event of a type that payctl does not know; refused: the callback was refused; money: the money needs manual
    review."""
    id: str
    """The id of the event, the payment or the callback."""
    order_code: str | None
    amount: int | None
    """The amount of the order, or of the refused callback, in whole VND."""
    at: datetime
    """When the event was created, the payment was completed, or the callback arrived (UTC)."""
    why: str | None
    """The last error, the unknown type, the reason why the callback was refused, or the kind of finding as in `payctl
    show`."""
    command: str
    """The command that shows what to do."""


class DeadGroupFacts(TypedDict):
    """Dead events with the same kind of error."""

    group: str
    error: str
    dead: Count
    superseded: NotRequired[Count]
    """The number of dead events that a replay skips, because their payments are COMPLETED now."""
    repeated: NotRequired[Count]
    """The number of harmless dead events that repeat a success which was sent."""
    unknown: NotRequired[Count]
    """The number of dead events that a replay skips, because payctl does not know their type."""
    closed: NotRequired[Count]
    """The number of harmless dead events that a person has closed."""
    event_types: Sequence[str]
    command: str
    """The command that shows the cause, and what to do."""


class PointFacts(TypedDict):
    """One part of the window. All parts have the same length."""

    at: datetime
    """The start of this part (UTC)."""
    created: Count
    sent: Count
    waiting: Count
    """The number of events that were waiting at the end of this part, not counting events that are dead now."""
    lag_p50_s: Seconds | None
    lag_p95_s: Seconds | None
    lag_longest_s: Seconds | None


class MomentFacts(TypedDict):
    """An entry of the timeline."""

    at: datetime
    kind: MomentKind
    id: str | None
    """The id of the run, the callback or the event."""
    what: str | None
    """A command, a reason, an event type or an error; `requeued` for an event that has waited since a replay."""
    number: float | None
    """The number of events, or the lag in seconds."""
    until: datetime | None
    """When the pause ended (UTC)."""


class ActedFacts(TypedDict):
    """A run that an operator started."""

    id: str
    command: str
    status: str
    who: str
    """The person named in PAYCTL_ACTOR, or the account if PAYCTL_ACTOR is not set."""
    reason: str | None
    counts: Mapping[str, Count]
    started_at: datetime
    finished_at: datetime | None


class GapFacts(TypedDict):
    """A section of the report that is missing or incomplete."""

    section: Section
    reason: GapReason
    before: datetime | None
    """The end of the uncounted period; null if the gap is not a period of time."""
    said: str
    """A sentence with the section and the reason."""


class ReportFacts(TypedDict):
    """A report about a window and the current state."""

    verdict: str
    """The report's main result on one line."""
    quiet: bool
    """True if nothing needs attention."""
    at: datetime
    """When the report was read, on the database's clock (UTC)."""
    since: datetime
    until: datetime
    step_s: Seconds
    """The length of each part of the window in seconds."""
    customers_without_ticket: Count
    """The number of customers who have paid or may have paid, and have no ticket."""
    amount: Count
    """The total amount of these customers' orders or refused callbacks, in whole VND."""
    orders: Sequence[OpenOrderFacts]
    """The orders of these customers, at most 20 of each kind, oldest first."""
    money_orders: NotRequired[Sequence[OpenOrderFacts] | None]
    """The orders whose payments need manual review, such as a second payment; null if they were not counted."""
    dead_groups: Sequence[DeadGroupFacts] | None
    """The dead events by kind of error; null if the dead events were not counted."""
    refused: Mapping[str, Count] | None
    """The number of refused callbacks by reason; null if the callbacks were not counted."""
    points: Sequence[PointFacts]
    """The parts of the window in chronological order."""
    timeline: Sequence[MomentFacts]
    runs: Sequence[ActedFacts] | None
    """The operators' runs; null if the runs were not read."""
    gaps: Sequence[GapFacts]
    """The sections that are missing or incomplete."""
    html: str | None
    """The file that --html wrote; null without --html."""


def facts_of(report: Report, commands: Commands, html: str | None) -> ReportFacts:
    """Return the report as JSON. Ids are not shortened, and external text is redacted."""
    return {
        "verdict": verdict(report),
        "quiet": report.is_quiet,
        "at": report.at,
        "since": report.parts.since,
        "until": report.parts.until,
        "step_s": report.parts.step_s,
        "customers_without_ticket": report.without_ticket,
        "amount": report.amount,
        "orders": [_order(each, commands) for each in report.open_orders],
        "money_orders": None if report.money is None else [_order(each, commands) for each in report.money.oldest],
        "dead_groups": None
        if report.dead_groups is None
        else [
            {
                "group": group.group,
                "error": redact(group.pattern),
                "dead": group.dead,
                "superseded": group.superseded,
                "repeated": group.repeated,
                "unknown": group.unknown,
                "closed": group.closed,
                "event_types": list(group.event_types),
                "command": commands.errors(),
            }
            for group in report.dead_groups
        ],
        "refused": None
        if report.callbacks is None
        else {redact(reason): sum(parts.values()) for reason, parts in report.callbacks.refused.items()},
        "points": [
            {
                "at": point.at,
                "created": point.created,
                "sent": point.sent,
                "waiting": point.waiting,
                "lag_p50_s": point.lag_p50,
                "lag_p95_s": point.lag_p95,
                "lag_longest_s": point.longest,
            }
            for point in report.points
        ],
        "timeline": [
            {
                "at": moment.at,
                "kind": moment.kind,
                "id": moment.id,
                "what": _safe(moment.what),
                "number": moment.number,
                "until": moment.until,
            }
            for moment in report.timeline
        ],
        "runs": None
        if report.runs is None
        else [
            {
                "id": run.id,
                "command": run.command,
                "status": run.status,
                "who": run.who.actor or run.who.os_user,
                "reason": _safe(run.reason),
                "counts": dict(run.counts),
                "started_at": run.started_at,
                "finished_at": run.finished_at,
            }
            for run in report.runs
        ],
        "gaps": [
            {"section": gap.section, "reason": gap.reason, "before": gap.before, "said": gap_sentence(gap)}
            for gap in report.gaps
        ],
        "html": html,
    }


def _order(order: OpenOrder, commands: Commands) -> OpenOrderFacts:
    return {
        "kind": order.kind,
        "id": order.id,
        "order_code": _safe(order.order_code),
        "amount": order.amount,
        "at": order.at,
        "why": _safe(order.why),
        "command": commands.show(order.id),
    }


def item_of(figure: Figure) -> FigureItem:
    """Return a figure as JSON."""
    return {"name": figure.name, "label": figure.label, "value": figure.value, "command": figure.command}


def _safe(text: str | None) -> str | None:
    return redact(text) if text else None
