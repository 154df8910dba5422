"""The findings of the doctor, for programs and for people."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.result import Block, Line, Result, Styled, bad, bold, dim, good, line, warn
from ticketbottle_payctl.cli.safety.remedies import advice_text, command_text, remedy_text
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.jobs.doctor import DoctorReport, Finding, Status
from ticketbottle_payctl.jobs.doctor.model import FindingCounts

SCHEMA = "payctl.doctor/1"
_WIDTH = 11
_MARKS = {Status.OK: good("✔"), Status.WARN: warn("!"), Status.FAIL: bad("✘")}
_SAID = {Status.OK: good, Status.WARN: warn, Status.FAIL: bad}


class DoctorCounts(FindingCounts, total=False):
    """How many findings of each status there are; after a repair, how many events it found and changed."""

    matched: Count
    """With --fix-published-flags: events that were half marked."""
    repaired: Count
    """With --fix-published-flags: events that are marked now."""


class DoctorFacts(TypedDict, total=False):
    """The verdict; absent after a repair."""

    healthy: bool
    """Whether nothing fails."""
    bundle: str | None
    """The file that was written."""


class FindingItem(TypedDict):
    """One finding."""

    check: str
    """What was looked at, as --only names it."""
    status: Status
    """A warning works today; a failure does not."""
    fact: str
    """What was found."""
    meaning: str | None
    """Why it matters; null if it is as it should be."""
    remedy: str | None
    """The command or SQL that fixes it."""


def with_commands(report: DoctorReport, session: Session) -> DoctorReport:
    """Return the report with each command written out behind the words of its remedy.

    Raises:
        ConfigError: the profile or its file is missing or cannot be read.
        DatabaseUnavailableError: a profile states its server's identifier, and the server cannot be reached.
    """
    return DoctorReport(tuple(_with_command(finding, session) for finding in report.findings))


def _with_command(finding: Finding, session: Session) -> Finding:
    command = command_text(session, finding.command, f"doctor: {finding.check}")
    words = advice_text(session, finding.remedy, finding.command)
    return replace(finding, remedy=remedy_text(words, command), command=None)


def result_of(report: DoctorReport, bundle: str | None) -> Result:
    """Return the findings. Exit 5 if a check fails."""
    facts: DoctorFacts = {"healthy": report.healthy, "bundle": bundle}
    return Result(
        SCHEMA,
        exit_codes.of_answer(yes=report.healthy),
        counts=report.counts,
        result=facts,
        items=[item(finding) for finding in report.findings],
        human=[
            _headline(report),
            *(block for finding in report.findings for block in _shown(finding)),
            _counts(report),
        ],
    )


def item(finding: Finding) -> FindingItem:
    """Return a finding for programs."""
    return {
        "check": finding.check,
        "status": finding.status,
        "fact": finding.fact,
        "meaning": finding.meaning,
        "remedy": finding.remedy,
    }


def _shown(finding: Finding) -> list[Block]:
    name = f"{finding.check:<{_WIDTH}}"
    fact: str | Styled = finding.fact if finding.status is Status.OK else bold(finding.fact)
    blocks: list[Block] = [line(_MARKS[finding.status], name, fact)]
    indent = " " * (_WIDTH + 3)
    if finding.meaning:
        blocks.append(Line((indent, finding.meaning)))
    if finding.remedy:
        blocks.append(Line((indent, dim("fix:"), finding.remedy)))
    return blocks


def _headline(report: DoctorReport) -> Line:
    """Return the worst finding. Events that wait come first, because customers wait for them."""
    for status in (Status.FAIL, Status.WARN):
        found = [finding for finding in report.findings if finding.status is status]
        if found:
            first = next((finding for finding in found if finding.check == "backlog"), found[0])
            more = dim(f"and {len(found) - 1} more below") if len(found) > 1 else None
            return line(_MARKS[status], bold(first.fact), more)
    return line(_MARKS[Status.OK], _SAID[Status.OK]("everything is as it should be"))


def _counts(report: DoctorReport) -> Line:
    parts = [_SAID[status](f"{report.counts[status.value]} {status.value}") for status in Status]
    return line(*(part if part.text[0] != "0" else dim(part.text) for part in parts))
