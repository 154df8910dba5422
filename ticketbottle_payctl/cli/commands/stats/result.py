"""Build the output about the outbox's state, as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.stats.facts import command_of, facts_of, item_of
from ticketbottle_payctl.cli.commands.stats.next_step import next_step
from ticketbottle_payctl.cli.output.result import (
    Block,
    Fields,
    Line,
    Part,
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
from ticketbottle_payctl.cli.output.sparkline import sparkline
from ticketbottle_payctl.cli.safety.cause_advice import advice_text, next_lines
from ticketbottle_payctl.domain.causes import NEXT_RESCAN, OVERDUE_AFTER, Cause, CauseKind
from ticketbottle_payctl.domain.causes.words import locked
from ticketbottle_payctl.formats import count, duration, gateway_name, rate
from ticketbottle_payctl.jobs.stats import By, Drain, StatsReport, Tally

SCHEMA = "payctl.stats/1"

_MANY_UNMARKED = 100_000


def result_of(report: StatsReport, session: Session) -> Result:
    """Return the report without a verdict."""
    return Result(
        SCHEMA,
        result=facts_of(report, session),
        items=[item_of(report.by, row) for row in report.items] if report.by else (),
        human=[*_human(report, session)],
        warnings=[*_warnings(report)],
    )


def label_name(by: By) -> str:
    """Return the name of the field with a group's label.

    The name is never ``type``, which every ndjson line already uses.
    """
    return "event_type" if by is By.TYPE else by.value


def with_human(result: Result, blocks: Sequence[Block]) -> Result:
    """Return a copy of the result with different text for people."""
    return replace(result, human=blocks)


def needs_attention(report: StatsReport) -> bool:
    """Return whether an event needs the operator's attention.

    This is the case if an event is dead and not closed, blocked, overdue or cannot be sent, or if no publisher can send
    it. This is also the case if a pending failure event would take the tickets of a paid order.
    """
    missing = report.idle is not None and not report.idle.expected
    return bool(report.dead > report.closed or report.blocked or report.causes or missing or report.away)


def without_mark(report: StatsReport, session: Session) -> list[Block]:
    """Return the report for people, but without its mark, because the verdict above the report already has a mark."""
    return [*_human(report, session, mark=False)]


def whole(report: StatsReport, session: Session) -> list[Block]:
    """Return the whole report for people, with its mark."""
    return [*_human(report, session)]


def _human(report: StatsReport, session: Session, *, mark: bool = True) -> Iterator[Block]:
    yield _headline(report, mark=mark)
    for cause in report.harmful:
        yield from _cause(cause, session)
    yield from next_step(report, session)
    for cause in report.causes:
        if cause.is_harmless:
            yield from _cause(cause, session)
    yield from _details(report)


def _details(report: StatsReport) -> Iterator[Block]:
    about = "" if report.exact else "about "
    yield Fields(
        (
            ("pending", warn(f"{report.pending:,}") if report.late else f"{report.pending:,}"),
            ("oldest pending id", report.oldest_pending_id),
            ("dead", _dead(report)),
            ("blocked", bad(f"{report.blocked:,}") if report.blocked else None),
            ("published", f"{about}{report.published:,} of {about}{report.total:,}"),
            ("publisher", _away(report)),
            ("publish lag", lag_words(report)),
            ("created", _drawn(report.created, report.in_per_s)),
            ("sent", _drawn(report.sent, report.out_per_s)),
            ("window", f"last {duration(report.window_s)}"),
            ("drain", forecast(report)),
        )
    )
    if report.by:
        yield _table(report.by, report.items)
        if report.closed:
            yield line(dim(f"dead includes {count(report.closed, 'event')} that an operator has closed"))


def headline_parts(report: StatsReport, *, mark: bool) -> list[Part]:
    """Return the headline, with the age of the oldest pending event and the counts of dead and blocked events."""
    age = report.oldest_pending_age_s
    parts: list[Part] = []
    if age is not None:
        parts.append(f"oldest pending event: {duration(age)}")
        if report.idle is not None and not report.harmful:  # a cause gives more detail
            parts.append(warn(report.idle.headline))
    elif not report.dead:
        parts.append("nothing is pending")
    if report.dead:
        parts += _dead_parts(report)
    if report.blocked:
        parts.append(bad(f"{report.blocked:,} blocked"))
    if report.by_debezium:
        parts.append("Debezium is publishing this outbox")
    if not needs_attention(report):
        parts = [good(part) if isinstance(part, str) else part for part in parts]
    return [_mark(report), *parts] if mark else parts


def _dead_parts(report: StatsReport) -> list[Part]:
    """Return the number of open dead events, and the number of closed ones. The causes do not count closed events."""
    if report.closed == report.dead:
        return [f"{report.dead:,} dead, closed by an operator"]
    dead = f"{report.dead - report.closed:,} dead"
    number = bad(dead) if report.superseded < report.dead else warn(f"{dead}, {harmless_words(report)}")
    return [number, f"{report.closed:,} closed by an operator"] if report.closed else [number]


def harmless_words(report: StatsReport) -> str:
    """Return the words for the open harmless dead events. If all of them are superseded, the words say so."""
    return "harmless" if report.repeated else "superseded: harmless"


def _headline(report: StatsReport, *, mark: bool) -> Line:
    return headline(*headline_parts(report, mark=mark))


def _mark(report: StatsReport) -> Part:
    """Return the first line's mark: ``!`` or ``✔``. Only a failed ``--check`` or ``--wait`` shows ``✘``."""
    return warn("!") if needs_attention(report) else good("✔")


def _cause(cause: Cause, session: Session) -> Iterator[Block]:
    yield line(" ", bold(cause.fact))
    yield line("   ", cause.meaning)
    words, command = advice_text(session, cause.advice, cause.command), command_of(cause, session)
    yield from next_lines("   ", bold("next:"), words, command, cause.sql)


def _dead(report: StatsReport) -> object:
    if not report.dead:
        return "0"
    number = f"{report.dead - report.closed:,}"
    if report.closed:
        number = f"{number} and {report.closed:,} closed by an operator"
    said = f"{number}, the oldest is {duration(report.oldest_dead_age_s or 0)} old"
    return bad(said) if report.superseded < report.dead else said


def _away(report: StatsReport) -> Part | None:
    """Return a phrase about a publisher that could not reach its brokers, or None if other text says so."""
    told = report.idle is not None or any(cause.kind is CauseKind.BROKERS for cause in report.causes)
    return None if report.away is None or told else warn(f"{report.away}: {report.away.without_brokers}")


def lag_words(report: StatsReport) -> str:
    """Return a phrase with the percentiles of the publish lag."""
    lag = report.lag
    if lag.p50 is None or lag.p95 is None or lag.p99 is None:
        return "nothing was published"
    return f"p50 {duration(lag.p50)} · p95 {duration(lag.p95)} · p99 {duration(lag.p99)}"


def forecast(report: StatsReport) -> Part:
    """Return a phrase that says when the backlog will be empty, or that no publisher is active.

    A growing backlog is reported only if an event is overdue, because a few new events do not need attention.
    """
    if report.idle is not None:
        return warn(report.idle.words)
    if report.awaits_rescan or any(cause.kind is CauseKind.RESCAN for cause in report.causes):
        return f"no trend yet: {NEXT_RESCAN}"
    new = (report.oldest_pending_age_s or 0) < OVERDUE_AFTER.total_seconds()
    if new and report.drain in {Drain.GROWING, Drain.STALLED}:
        return f"no trend yet: no event has been pending for {duration(OVERDUE_AFTER.total_seconds())}"
    return _trend(report)


def _trend(report: StatsReport) -> Part:
    match report.drain:
        case Drain.EMPTY:
            return good("empty")
        case Drain.BLOCKED:
            return warn(f"nothing can be sent: {_stuck(report)}")
        case Drain.DRAINING:
            return good(f"empty in {duration(report.drain_eta_s or 0)}")
        case Drain.GROWING:
            return bad("growing: more events are created than published")
        case Drain.STALLED:
            return warn("backlog is not shrinking")


def _stuck(report: StatsReport) -> str:
    if not report.locked:
        return "each event waits behind a dead one"
    if not report.blocked:
        return f"{locked(report.locked)} by another session"
    return "each event waits behind a dead one, or is locked by another session"


def _drawn(counts: Sequence[int], per_second: float) -> str:
    return f"{sparkline(counts)}  {rate(per_second)}"


def _table(by: By, rows: Sequence[Tally]) -> Table:
    items = [item_of(by, row) for row in rows]
    columns = tuple(dict.fromkeys(name for item in items for name in item)) or (label_name(by),)
    names = tuple(name.removesuffix("_s").replace("_", " ") for name in columns)
    return Table(names, tuple(tuple(_cell(name, item.get(name)) for name in columns) for item in items))


def _cell(name: str, value: object) -> object:
    if name == "oldest_age_s":
        return duration(value) if isinstance(value, float) else "none"
    if name == "provider" and isinstance(value, str):
        return gateway_name(value)
    return "none" if value is None else value


def _warnings(report: StatsReport) -> Iterator[str]:
    if report.sent_unmarked > _MANY_UNMARKED:
        yield (
            f"the old service sent {report.sent_unmarked:,} events without marking them; this slows down each"
            " reading; see `payctl doctor --fix-published-flags`"
        )
