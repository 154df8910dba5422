"""Implement ``payctl stats --check``, which compares the state of the outbox with limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.stats.facts import StatsFacts, facts_of
from ticketbottle_payctl.cli.commands.stats.result import harmless_words, needs_attention, result_of, without_mark
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.result import Line, Result, bad, bold, good, headline, line
from ticketbottle_payctl.formats import count, duration
from ticketbottle_payctl.jobs.stats import StatsReport


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """The limits of ``--check``: the longest wait of a pending event, and the number of dead events."""

    age: timedelta
    dead: int


def checked(report: StatsReport, session: Session, limits: HealthLimits) -> Result:
    """Return the report with a verdict. The exit code is 5 if a limit is exceeded."""
    waited = report.longest_wait_s or 0.0
    failed = []
    if waited > limits.age.total_seconds():
        since = " since its replay" if report.longest is not None and report.longest.requeued else ""
        failed.append(f"an event has waited for {duration(waited)}{since}, more than {_span(limits.age)}")
    if report.dead - report.superseded > limits.dead:
        failed.append(f"{_open_dead(report)}, more than {limits.dead:,}")
    result = result_of(report, session)
    facts: StatsFacts = {**facts_of(report, session), "healthy": not failed, "reasons": failed}
    verdict = _within(report) if not failed else headline(bad("✘"), bold("; ".join(failed)))
    return replace(
        result,
        exit_code=exit_codes.of_answer(yes=not failed),
        result=facts,
        human=[verdict, *without_mark(report, session)],
    )


def _within(report: StatsReport) -> Line:
    """Return the verdict if no limit is exceeded.

    The outbox may still need attention, because the limits can allow dead and waiting events.
    """
    return line(good("✔ within the limits")) if needs_attention(report) else line(good("✔ healthy"))


def _open_dead(report: StatsReport) -> str:
    """Return the number of open dead events, and how many of them are harmless, so that the limit ignores them."""
    harmless = report.superseded - report.closed
    said = f" ({harmless:,} {harmless_words(report)})" if harmless else ""
    return f"{count(report.dead - report.closed, 'dead event')}{said}"


def _span(time: timedelta) -> str:
    return duration(time.total_seconds())
