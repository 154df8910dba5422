"""Build the doctor's findings as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, NotRequired, TypedDict

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.result import (
    Block,
    Line,
    Result,
    Styled,
    bad,
    bold,
    dim,
    good,
    headline,
    line,
    warn,
)
from ticketbottle_payctl.cli.safety.cause_advice import advice_text, command_text, next_lines, remedy_text
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.jobs.doctor import DoctorReport, Finding, Status
from ticketbottle_payctl.jobs.doctor.model import FindingCounts

SCHEMA = "payctl.doctor/1"
_MARKS = {Status.OK: good("✔"), Status.WARN: warn("!"), Status.FAIL: bad("✘")}
_OFF = dim("-")
_CUSTOMERS = ("backlog", "orders", "callbacks", "payments")
"""The checks that concern waiting customers, most urgent first."""
_SAID = {Status.OK: good, Status.WARN: warn, Status.FAIL: bad}


class DoctorCounts(FindingCounts, total=False):
    """The number of findings with each status or, after a repair, of events found and repaired."""

    matched: Count
    """With --fix-published-flags: the number of events that were sent, but not marked as published."""
    repaired: Count
    """With --fix-published-flags: the number of events that the repair marked as published."""


class DoctorFacts(TypedDict, total=False):
    """The result of the checks. A repair does not have this result."""

    healthy: bool
    """Whether no check failed."""
    bundle: str | None
    """The file that --bundle wrote; null without --bundle."""


class FindingItem(TypedDict):
    """One finding."""

    check: str
    """The check's name for --only."""
    status: Status
    """ok, warn (it works, but needs attention) or fail (it does not work)."""
    fact: str
    """What the check found."""
    meaning: str | None
    """The consequence of the problem; null if nothing is wrong."""
    remedy: str | None
    """How to fix the problem, ending with a command or SQL."""
    command: NotRequired[str | None]
    """The command to paste; null if no command fixes the problem."""
    sql: NotRequired[str | None]
    """The SQL to paste into psql; null if no SQL fixes the problem."""


class ShownFinding(NamedTuple):
    """A finding and its fix: advice or SQL, and a command with the options that the guard requires."""

    finding: Finding
    words: str | None
    command: str | None


def shown(report: DoctorReport, session: Session) -> list[ShownFinding]:
    """Return the findings with their commands.

    Raises:
        ConfigError: the profile or its file is missing or cannot be read.
        DatabaseUnavailableError: a profile contains a server identifier, and the server cannot be reached.
    """
    return [
        ShownFinding(
            each,
            advice_text(session, each.remedy, each.command),
            command_text(session, each.command, f"doctor: {each.check}"),
        )
        for each in report.findings
    ]


def result_of(report: DoctorReport, findings: Sequence[ShownFinding], bundle: str | None) -> Result:
    """Return the findings as a result. The exit code is 5 if a check fails."""
    facts: DoctorFacts = {"healthy": report.healthy, "bundle": bundle}
    width = max((len(each.finding.check) for each in findings), default=0)
    return Result(
        SCHEMA,
        exit_codes.of_answer(yes=report.healthy),
        counts=report.counts,
        result=facts,
        items=[item(each) for each in findings],
        human=[
            _headline(report),
            *(block for each in findings for block in _blocks(each, width)),
            _counts(report),
        ],
    )


def item(shown: ShownFinding) -> FindingItem:
    """Return a finding as JSON."""
    finding = shown.finding
    return {
        "check": finding.check,
        "status": finding.status,
        "fact": finding.fact,
        "meaning": finding.meaning,
        "remedy": remedy_text(shown.words, shown.command or finding.sql),
        "command": shown.command,
        "sql": finding.sql,
    }


def _blocks(shown: ShownFinding, width: int) -> Iterator[Block]:
    finding = shown.finding
    fact: str | Styled = finding.fact if finding.status is Status.OK else bold(finding.fact)
    yield line(_OFF if finding.off else _MARKS[finding.status], f"{finding.check:<{width}}", fact)
    indent = " " * (width + 3)
    if finding.meaning:
        yield line(indent, finding.meaning)
    yield from next_lines(indent, dim("fix:"), shown.words, shown.command, finding.sql)


def _headline(report: DoctorReport) -> Line:
    """Return the headline for the worst finding.

    Among equally severe findings, an unreachable database or Kafka comes first. Findings about customers who are
    waiting or have paid come next.
    """
    for status in (Status.FAIL, Status.WARN):
        found = [finding for finding in report.findings if finding.status is status]
        if found:
            first = min(found, key=_rank)
            more = dim(f"+{len(found) - 1} more") if len(found) > 1 else None
            return headline(_MARKS[status], bold(first.fact), more)
    if report.findings and report.off == len(report.findings):
        return headline(_OFF, "nothing was checked: everything is off")
    return headline(_MARKS[Status.OK], _SAID[Status.OK]("all checks passed"))


def _rank(finding: Finding) -> int:
    """Return the rank of a finding among equally severe ones. The finding with the lowest rank comes first."""
    if finding.stops_all:
        return -1
    if finding.harmless:
        return len(_CUSTOMERS) + 1
    known = finding.check in _CUSTOMERS and (finding.check == "backlog" or finding.command is not None)
    return _CUSTOMERS.index(finding.check) if known else len(_CUSTOMERS)


def _counts(report: DoctorReport) -> Line:
    numbers = {status: report.counts[status.value] for status in Status}
    numbers[Status.OK] -= report.off
    parts = [_SAID[status](f"{number} {status.value}") for status, number in numbers.items()]
    parts[1:1] = [dim(f"{report.off} off")] if report.off else []
    return line(*(part if part.text[0] != "0" else dim(part.text) for part in parts))
