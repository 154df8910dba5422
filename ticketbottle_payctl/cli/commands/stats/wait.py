"""Implement ``payctl stats --wait``, which waits until the outbox meets a condition."""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import typer

from ticketbottle_payctl import formats
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.stats.facts import StatsFacts, facts_of
from ticketbottle_payctl.cli.commands.stats.result import needs_attention, result_of, without_mark
from ticketbottle_payctl.cli.input.durations import duration
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import Line, Result, bad, bold, dim, good, headline, line, warn
from ticketbottle_payctl.jobs.stats import StatsReport

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq, "==": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_VALUES: dict[str, Callable[[StatsReport], float]] = {
    "pending": lambda report: report.pending,
    "dead": lambda report: report.dead - report.closed,
    "age": lambda report: report.oldest_pending_age_s or 0.0,
}
_TERM = re.compile(rf"\s*({'|'.join(_VALUES)})\s*(<=|>=|==|=|<|>)\s*(\w+)\s*")


@dataclass(frozen=True, slots=True)
class WaitCondition:
    """A condition for ``--wait``, as the user typed it and as a list of terms."""

    text: str
    terms: tuple[tuple[str, str, float], ...]

    def holds(self, report: StatsReport) -> bool:
        """Return whether ``report`` satisfies every term."""
        return all(_COMPARE[sign](_VALUES[name](report), value) for name, sign, value in self.terms)


def wait_condition(text: str) -> WaitCondition:
    """Parse a condition such as ``pending=0`` or ``age<30s``.

    If it has several terms, separated by commas, all must hold.

    Raises:
        typer.BadParameter: the value is not a condition.
    """
    return WaitCondition(text, tuple(_term(term) for term in text.split(",")))


def wait_for(
    session: Session, look: Callable[[], StatsReport], condition: WaitCondition, pause: timedelta, timeout: timedelta
) -> Result:
    """Read the state repeatedly until the condition is true, and return the last state.

    The exit code is 10 if the time limit is reached first.
    """
    began = time.monotonic()
    session.note(dim("waiting for"), condition.text, dim(f"· at most {formats.duration(timeout.total_seconds())}"))
    with stop_on_signals() as stop:
        while True:
            report = look()
            left = began + timeout.total_seconds() - time.monotonic()
            if condition.holds(report) or left <= 0 or stop.event.wait(min(pause.total_seconds(), left)):
                break
    return _answer(session, report, condition, stop.exit_code)


def _answer(session: Session, report: StatsReport, condition: WaitCondition, stopped: ExitCode | None) -> Result:
    reached = condition.holds(report)
    result = result_of(report, session)
    facts: StatsFacts = {**facts_of(report, session), "waited_for": condition.text, "reached": reached}
    verdict = _reached(condition, report) if reached else line(bad("✘"), bold(f"not reached: {condition.text}"))
    return replace(
        result,
        exit_code=ExitCode.DONE if reached else stopped or ExitCode.DEADLINE,
        result=facts,
        human=[verdict, *without_mark(report, session)],
    )


def _reached(condition: WaitCondition, report: StatsReport) -> Line:
    """Return the verdict when the condition is met.

    The mark is ``!`` if the outbox still needs attention.
    """
    if needs_attention(report):
        return headline(warn("!"), condition.text, "was reached; remaining problems:")
    return headline(good("✔"), condition.text)


def _term(text: str) -> tuple[str, str, float]:
    found = _TERM.fullmatch(text)
    value = found and _value(found[1], found[3])
    if found is None or value is None:
        message = f"{text.strip()!r} is not a condition; write a condition such as pending=0, dead<10 or age<30s"
        raise typer.BadParameter(message)
    return found[1], found[2], value


def _value(name: str, text: str) -> float | None:
    if text.isascii() and text.isdigit():
        return float(text) if name != "age" or int(text) == 0 else None
    return duration(text).total_seconds() if name == "age" else None
