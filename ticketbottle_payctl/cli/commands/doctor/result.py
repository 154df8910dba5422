"""What the doctor found, in both its forms."""

from __future__ import annotations

from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.result import Block, Line, Result, Styled, bad, bold, dim, good, line, warn
from ticketbottle_payctl.jobs.doctor import DoctorReport, Finding, Status

SCHEMA = "payctl.doctor/1"
_WIDTH = 11
_MARKS = {Status.OK: good("✔"), Status.WARN: warn("!"), Status.FAIL: bad("✘")}
_SAID = {Status.OK: good, Status.WARN: warn, Status.FAIL: bad}


def result_of(report: DoctorReport, bundle: str | None) -> Result:
    """The findings; exit 5 where something fails."""
    return Result(
        SCHEMA,
        exit_codes.of_answer(yes=report.healthy),
        counts=report.counts,
        result={"healthy": report.healthy, "bundle": bundle},
        items=[item(finding) for finding in report.findings],
        human=[*(block for finding in report.findings for block in _shown(finding)), _verdict(report)],
    )


def item(finding: Finding) -> dict[str, object]:
    """A finding for programs."""
    return {
        "check": finding.check,
        "status": finding.status.value,
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
        blocks.append(Line((indent, dim("mend:"), finding.remedy)))
    return blocks


def _verdict(report: DoctorReport) -> Line:
    parts = [_SAID[status](f"{report.counts[status.value]} {status.value}") for status in Status]
    return line(*(part if part.text[0] != "0" else dim(part.text) for part in parts))
