"""Compute a report's figures, each with the command that prints it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.formats import count, duration, rfc3339, short_id
from ticketbottle_payctl.jobs.report.model import Report
from ticketbottle_payctl.redaction import redact

_COUNT_LINES = " | tail -n +2 | wc -l"
_COUNT_CALLBACKS = " | sed -n '/,callback$/p' | wc -l"
_COUNT_DISTINCT = " | tail -n +2 | sort -u | wc -l"
_HOUR = 3600
_STATUSES = ("PENDING", "COMPLETED", "FAILED", "CANCELLED")


class Figure(NamedTuple):
    """A figure: its name, what it measures, its value as a number and as text, and the command that prints it."""

    name: str
    label: str
    value: float | None
    text: str
    command: str


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands that print a report's figures.

    Each command contains the window and the profile.
    """

    adviser: Adviser
    report: Report

    def itself(self) -> str:
        """Return the command that creates the same report."""
        return self.adviser.reading(["report"], options=self.window)

    def again(self, options: Sequence[str]) -> str:
        """Return the command that creates this report in another format.

        ``options`` are the options that the user typed.
        """
        return self.adviser.reading(["report"], options=options)

    def stats(self) -> str:
        """Return the command that shows the backlog."""
        return self.adviser.reading(["stats"])

    def errors(self) -> str:
        """Return the command that shows why events are dead, and what to do."""
        return self.adviser.reading(["errors"], options=["--failed"])

    def ask_gateways(self) -> str:
        """Return the command that asks the gateways about pending payments, and changes nothing."""
        return self.adviser.reading(["reconcile", "payments"], options=["-n"])

    def show(self, row_id: str) -> str:
        """Return the command that shows the payment, event or callback with this id."""
        return self.adviser.reading(["show"], [short_id(row_id)])

    def run(self, run_id: str) -> str:
        """Return the command that shows a run."""
        return self.adviser.reading(["runs", "show"], [short_id(run_id)])

    def counted(self, rows: str, options: Sequence[str], *, distinct: str | None = None) -> str:
        """Return the command that counts the rows of a list, or the distinct values of one field."""
        field = ["--all", "--fields", distinct or "id", "-o", "csv"]
        return self.adviser.reading(["list", rows], options=[*options, *field]) + (
            _COUNT_DISTINCT if distinct else _COUNT_LINES
        )

    def callbacks(self, options: Sequence[str]) -> str:
        """Return the command that counts callbacks. Responses to status queries are not counted."""
        field = ["--all", "--fields", "id,source", "-o", "csv"]
        return self.adviser.reading(["list", "receipts"], options=[*options, *field]) + _COUNT_CALLBACKS

    @property
    def window(self) -> list[str]:
        """The options that select the report's window."""
        return ["--since", rfc3339(self.report.parts.since), "--until", rfc3339(self.report.parts.until)]


NOT_PUBLISHED = ("--type", "PAYMENT_COMPLETED", "--failed", "--stuck", "--age", "1s")
"""The options that select success events that are dead, or have been pending for more than a second."""


def figures(report: Report, commands: Commands) -> list[Figure]:
    """Return the figures for the current state, then those for the window. Figures that were not read are left out."""
    return [
        *_now(report, commands),
        *_flow(report, commands),
        *_callbacks(report, commands),
        *_payments(report, commands),
    ]


def _now(report: Report, commands: Commands) -> Iterator[Figure]:
    waiting, itself = report.waiting, commands.itself()
    yield _number("pending", "events that are waiting now", waiting.pending, commands.stats())
    yield _seconds(
        "oldest_pending_age_s", "age of the oldest event that is waiting now", waiting.oldest_age_s, commands.stats()
    )
    label = "events that are dead now, including those that a person has closed"
    yield _number("dead", label, waiting.dead, commands.counted("outbox", ["--failed"]))
    if report.closed:
        yield _number("dead_closed", "dead events that a person has closed", report.closed, itself)
    if report.late_failures is not None:
        label = "pending failure events that would take the tickets of paid orders"
        yield _number("late_failures", label, report.tickets_at_risk, commands.stats())
    if report.unpublished is not None:
        command = commands.counted("outbox", NOT_PUBLISHED, distinct="aggregate_id")
        number = report.unpublished.number
        yield _number("unpublished_orders", "paid orders whose event is currently unpublished", number, command)
    if report.no_event is not None:
        label = "orders paid in the window that have no success event"
        yield _number("orders_without_event", label, report.no_event.number, itself)
    if report.refused is not None:
        label = "orders that are not completed, with a callback refused in the window"
        yield _number("refused_orders", label, report.refused.number, itself)
    if report.money is not None:
        label = "orders whose payments need manual review"
        yield _number("money_orders", label, report.money.number, itself)
    for group in report.dead_groups or ():
        options = ["--failed", "--error-group", group.group]
        closed = f", including {group.closed:,} that a person has closed" if group.closed else ""
        label = f"dead events with the error {escape(redact(group.pattern)) or '(none)'}{closed}"
        yield _number(f"dead_{group.group}", label, group.dead, commands.counted("outbox", options))


def _flow(report: Report, commands: Commands) -> Iterator[Figure]:
    flow, itself = report.flow, commands.itself()
    if flow is None:
        return
    span = (report.parts.until - report.parts.since).total_seconds()
    created, sent = sum(flow.created.values()), sum(part.sent for part in flow.sent.values())
    published = ["--published", "--by", "published", *commands.window]
    yield _number("created", "events created in the window", created, commands.counted("outbox", commands.window))
    yield _number("sent", "events sent in the window", sent, commands.counted("outbox", published))
    for name, label, events in (("in_per_s", "created", created), ("out_per_s", "sent", sent)):
        yield Figure(name, f"rate of events {label}", round(events / span, 3), _rate(events / span), itself)
    for name, label, value in (
        ("lag_p50_s", "half of the events were sent within", flow.lag_p50),
        ("lag_p95_s", "95 of 100 events were sent within", flow.lag_p95),
        ("lag_p99_s", "99 of 100 events were sent within", flow.lag_p99),
    ):
        yield _seconds(name, label, value, itself)
    if flow.slowest is not None:
        yield _seconds("lag_longest_s", "the longest lag", flow.slowest.lag_s, commands.show(flow.slowest.id))
    if report.pause is not None:
        length = (report.pause.until - report.pause.since).total_seconds()
        label = "longest time in which no event was sent although events were waiting"
        yield _seconds("pause_s", label, length, itself)


def _callbacks(report: Report, commands: Commands) -> Iterator[Figure]:
    found = report.callbacks
    if found is None:
        return
    received, refused = sum(found.by_result.values()), found.by_result.get("refused", 0)
    every = commands.callbacks(commands.window)
    yield _number("callbacks", "genuine callbacks received in the window", received, every)
    failed = ["--failed", *commands.window]
    yield _number("callbacks_refused", "callbacks refused in the window", refused, commands.callbacks(failed))
    by_reason = commands.adviser.reading(
        ["list", "receipts"], options=[*failed, "--all", "--fields", "reason,source", "-o", "csv"]
    )
    for reason, parts in sorted(found.refused.items(), key=lambda each: (-sum(each[1].values()), each[0])):
        label = f"refused: {escape(redact(reason))}"
        command = f"{by_reason} | sed -n 's/,callback$//p' | sort | uniq -c"
        yield _number(f"refused_{escape(redact(reason))}", label, sum(parts.values()), command)


def _payments(report: Report, commands: Commands) -> Iterator[Figure]:
    found = report.payments
    if found is None:
        return
    for status in _STATUSES:
        number = found.by_status.get(status, 0)
        command = commands.counted("payments", ["--status", status, *commands.window])
        yield _number(f"payments_{status.lower()}", f"payments created in the window, now {status}", number, command)
    overdue = commands.counted("payments", ["--stuck", "--age", "20m", *commands.window])
    label = "payments created in the window and PENDING for over 20 minutes, including those that a person has closed"
    yield _number("payments_overdue", label, found.overdue, overdue)
    if found.closed:
        yield _number("payments_closed", "overdue payments that a person has closed", found.closed, commands.itself())


def _number(name: str, label: str, value: int, command: str) -> Figure:
    return Figure(name, label, value, f"{value:,}", command)


def _seconds(name: str, label: str, value: float | None, command: str) -> Figure:
    return Figure(name, label, None if value is None else round(value, 3), _said(value), command)


def _rate(per_s: float) -> str:
    return f"{per_s:,.1f} per second" if per_s >= 1 else f"{per_s * _HOUR:,.1f} per hour"


def _said(value: float | None) -> str:
    return "none" if value is None else duration(value)


def counts_of(counts: dict[str, int]) -> str:
    """Return a run's counts as text, such as ``requeued 3, skipped 1``. Leave out zeros."""
    said = (f"{name.replace('_', ' ')} {number:,}" for name, number in counts.items() if number)
    return ", ".join(said) or count(0, "row")
