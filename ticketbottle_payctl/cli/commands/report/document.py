"""Write the report as Markdown sections. External text is put in code spans, so that Markdown does not interpret it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import NamedTuple

from ticketbottle_payctl.cli.commands.report.figures import Commands, Figure
from ticketbottle_payctl.cli.commands.report.sentence import (
    act_sentence,
    can_ask_gateways,
    dead_words,
    gap_sentence,
    look,
    moment_sentence,
    order_sentence,
    overdue_sentence,
    run_sentence,
    too_old_sentence,
    unknown_type_advice,
    verdict,
    with_runs_once,
)
from ticketbottle_payctl.cli.output.run_title import run_title
from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.formats import cut, duration, local_and_utc, wall_clock
from ticketbottle_payctl.jobs.report.model import Report
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.store.payments.open_orders import OpenOrder

_TICKS = re.compile(r"`+")
_LONGEST = 160


class Section(NamedTuple):
    """A section of the report, with its text in Markdown and the names of the plots to show below it."""

    text: str
    plots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """The database and the profile that a report is about, and the report's time zone."""

    zone: tzinfo
    zone_name: str
    database: str
    profile: str | None


def sections(report: Report, figures: Sequence[Figure], commands: Commands, place: Place) -> list[Section]:
    """Return the report's sections. The first line is the verdict with its mark."""
    found = [
        Section(_opening(report, place)),
        Section(_open(report, commands, place.zone), ("dead",)),
        Section(_timeline(report, commands, place.zone), ("waiting", "rates", "lag", "refused")),
        Section(_figures(figures)),
        Section(_runs(report, commands, place.zone), ("runs",)),
    ]
    if report.gaps:
        found.append(Section(_gaps(report, place.zone)))
    return found


def markdown(found: Sequence[Section]) -> str:
    """Return the sections as one Markdown document."""
    return "\n".join(section.text for section in found)


def cell(text: object) -> str:
    """Return external text for a table cell: a :func:`code` span in which vertical bars are escaped."""
    return code(text).replace("|", "\\|")


def code(text: object) -> str:
    """Return external text as a code span. The text is redacted, joined into one line, and shortened."""
    return _span(plain(text))


def plain(text: object) -> str:
    """Return external text for a terminal. The text is redacted, joined into one line, and shortened."""
    return cut(" ".join(escape(redact(str(text))).split()) or "(none)", _LONGEST)


def pasted(command: str) -> str:
    """Return a command as a code span that can be pasted.

    Do not use this in a table, because vertical bars are not escaped.
    """
    return _span(escape(command))


def _span(text: str) -> str:
    """Return a code span. Its fence is longer than any run of backticks in the text."""
    fence = "`" * (max((len(each) for each in _TICKS.findall(text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _opening(report: Report, place: Place) -> str:
    mark = "✔" if report.is_quiet else "!"
    lines = [
        f"# {mark} {verdict(report)}",
        "",
        f"* window: {_window(report, place.zone)}",
        f"* read at: {local_and_utc(report.at, place.zone)}",
        f"* database: {code(place.database)}, profile: {code(place.profile or 'none')}",
        f"* times below are in the zone {code(place.zone_name)}",
    ]
    return "\n".join([*lines, ""])


def _window(report: Report, zone: tzinfo) -> str:
    parts = report.parts
    length = duration((parts.until - parts.since).total_seconds())
    return f"{local_and_utc(parts.since, zone)} → {local_and_utc(parts.until, zone)}, {length}"


def _open(report: Report, commands: Commands, zone: tzinfo) -> str:
    lines = ["## Open now", ""]
    orders = report.open_orders
    if report.without_ticket:
        if len(orders) < report.without_ticket:
            lines += [f"The oldest {len(orders):,} are listed, at most 20 of each kind.", ""]
        lines += [*_orders(orders, commands, zone), ""]
    if report.money and report.money.number:
        lines += ["Payments that need manual review; record what you did with payctl close:", ""]
        lines += [*_orders(report.money.oldest, commands, zone), ""]
    if report.has_waiting_events:
        lines += [f"Why events wait, and the next command: {pasted(commands.stats())}", ""]
    for group in report.open_dead_groups:
        said = f"* {dead_words(group)}, group {code(group.group)}: {code(group.pattern)}"
        advice = unknown_type_advice(group, code)
        said += f"  \n  {advice}" if advice else ""
        lines.append(f"{said}  \n  {pasted(commands.errors())}")
    if report.open_dead_groups:
        lines.append("")
    overdue = overdue_sentence(report)
    if overdue:
        asking = f": {pasted(commands.ask_gateways())}" if can_ask_gateways(report) else "."
        too_old = too_old_sentence(report)
        lines += [f"{overdue}{asking}", "", *([f"{too_old}.", ""] if too_old else ())]
    if lines[2:] == []:
        lines += ["Nothing is open.", ""]
    return "\n".join(lines)


def _orders(orders: Sequence[OpenOrder], commands: Commands, zone: tzinfo) -> list[str]:
    return [
        text
        for order in orders
        for text in (f"* {order_sentence(order, zone, code)}  ", f"  {pasted(commands.show(order.id))}")
    ]


def _timeline(report: Report, commands: Commands, zone: tzinfo) -> str:
    lines = ["## What happened when", ""]
    if not report.timeline:
        return "\n".join([*lines, "No runs, no refused callbacks and no waiting events.", ""])
    lines += ["| when | what | details |", "|---|---|---|"]
    for moment in with_runs_once(report.timeline):
        command = look(moment, commands)
        said = moment_sentence(moment, zone, cell)
        lines.append(f"| {wall_clock(moment.at, zone)} | {said} | {cell(command) if command else ''} |")
    return "\n".join([*lines, ""])


def _figures(figures: Sequence[Figure]) -> str:
    lines = ["## Figures", "", "The command below each figure prints it.", ""]
    for figure in figures:
        lines += [f"* {_label(figure.label)}: **{figure.text}**  ", f"  {pasted(figure.command)}"]
    return "\n".join([*lines, ""])


def _label(label: str) -> str:
    """Return a label. The text after ``refused:`` or ``with the error`` is external, so it is put in a code span."""
    for word in ("refused: ", "with the error "):
        head, found, tail = label.partition(word)
        if found:
            return f"{head}{word}{code(tail)}"
    return label


def _runs(report: Report, commands: Commands, zone: tzinfo) -> str:
    lines = ["## Who did what", ""]
    if not report.runs:
        known = report.runs is not None
        return "\n".join([*lines, "No runs are recorded." if known else "Not read.", ""])
    lines += ["| started | who | command | result | reason | details |", "|---|---|---|---|---|---|"]
    for run in report.runs:
        cells = (
            wall_clock(run.started_at, zone),
            cell(run.who.actor or run.who.os_user),
            cell(run_title(run)),
            run_sentence(run, zone, cell),
            cell(run.reason) if run.reason else "",
            cell(commands.run(run.id)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    acts = sorted(((run, act) for run in report.runs for act in run.acts), key=lambda each: each[1].at)
    if acts:
        lines.append("")
    lines += [f"* {wall_clock(act.at, zone)}: {act_sentence(run, act, code)}" for run, act in acts]
    return "\n".join([*lines, ""])


def _gaps(report: Report, zone: tzinfo) -> str:
    return "\n".join(["## Not counted", "", *(f"* {gap_sentence(gap, zone)}" for gap in report.gaps), ""])
