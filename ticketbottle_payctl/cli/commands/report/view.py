"""Show the report on a terminal with 80 columns. Files and pipes get Markdown (:mod:`document`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo

from ticketbottle_payctl.cli.commands.report import page
from ticketbottle_payctl.cli.commands.report.document import Place, plain
from ticketbottle_payctl.cli.commands.report.figures import Commands, Figure
from ticketbottle_payctl.cli.commands.report.sentence import (
    act_sentence,
    can_ask_gateways,
    dead_words,
    gap_sentence,
    look,
    moment_sentence,
    overdue_sentence,
    run_sentence,
    too_old_sentence,
    unknown_type_advice,
    verdict,
    why_open,
    with_runs_once,
)
from ticketbottle_payctl.cli.output.result import (
    Block,
    Fields,
    Line,
    Part,
    Table,
    bold,
    dim,
    good,
    headline,
    line,
    warn,
)
from ticketbottle_payctl.cli.output.run_title import run_title
from ticketbottle_payctl.formats import duration, local_and_utc, money, wall_clock
from ticketbottle_payctl.jobs.report.model import Report
from ticketbottle_payctl.store.payctl.runs import Run, RunAct
from ticketbottle_payctl.store.payments.open_orders import OpenOrder

_CLOCK = len("2026-11-29 13:17:28")
_LONGEST_CODE = 28
_SAID = 1
"""In a line, the index of the part that follows the clock time."""


def first_line(report: Report) -> Line:
    """Return the verdict with its mark."""
    return headline(good("✔") if report.is_quiet else warn("!"), bold(verdict(report)))


def view(
    report: Report, figures: Sequence[Figure], commands: Commands, place: Place, window: Sequence[str]
) -> list[Block]:
    """Return the report for a terminal. ``window`` contains the window's options as the user typed them."""
    parts, zone = report.parts, place.zone
    length = duration((parts.until - parts.since).total_seconds())
    return [
        first_line(report),
        Fields(
            (
                ("from", local_and_utc(parts.since, zone)),
                ("until", f"{local_and_utc(parts.until, zone)}, {length}"),
                ("times", f"in the zone {place.zone_name}"),
            )
        ),
        *_open(report, commands, zone),
        *_overdue(report, commands),
        *_timeline(report, commands, zone),
        *_figures(figures),
        *_runs(report, commands, zone),
        *_gaps(report, zone),
        line(),
        line(dim("as Markdown, with the command behind each figure:")),
        _command(f"{commands.again(window)} > report.md"),
        *_page(commands, window),
    ]


def _page(commands: Commands, window: Sequence[str]) -> Iterator[Block]:
    if page.has_libraries():
        yield line(dim("as a page with plots:"))
        yield _command(commands.again([*window, "--html", "report.html"]))


def _open(report: Report, commands: Commands, zone: tzinfo) -> Iterator[Block]:
    waiting = report.without_ticket or report.for_a_person or report.has_waiting_events or report.open_dead_groups
    if not waiting:
        return
    yield from _heading("Open now")
    orders = report.open_orders
    if len(orders) < report.without_ticket:
        yield line(f"  The oldest {len(orders):,} are listed, at most 20 of each kind.")
    yield from _orders(orders, commands, zone)
    if report.money and report.money.number:
        yield line("  payments that need manual review; record what you did with payctl close")
        yield from _orders(report.money.oldest, commands, zone)
    for group in report.open_dead_groups:
        yield Line((f"  {dead_words(group)}", plain(group.pattern)), hang=1)
        advice = unknown_type_advice(group, plain)
        if advice:
            yield line(f"    {advice}")
        yield _command(commands.errors(), 4)
    if report.has_waiting_events:
        yield line("  why events wait, and what to do")
        yield _command(commands.stats(), 4)


def _overdue(report: Report, commands: Commands) -> Iterator[Block]:
    said = overdue_sentence(report)
    if said:
        yield from _heading("Ask the gateways")
        yield line(f"  {said}")
        if can_ask_gateways(report):
            yield _command(commands.ask_gateways(), 4)
        too_old = too_old_sentence(report)
        if too_old:
            yield line(f"  {too_old}")


def _orders(orders: Sequence[OpenOrder], commands: Commands, zone: tzinfo) -> Iterator[Block]:
    """Yield each order with its reason and the command that shows the order. Codes and amounts are aligned."""
    codes = [plain(order.order_code) if order.order_code else "order unknown" for order in orders]
    amounts = ["amount unknown" if order.amount is None else money(order.amount) for order in orders]
    wide, high = max(map(len, codes), default=0), max(map(len, amounts), default=0)
    for order, code, amount in zip(orders, codes, amounts, strict=True):
        yield Line((f"  {code:<{min(wide, _LONGEST_CODE)}}", f"{amount:>{high}}", why_open(order, zone, plain)), hang=2)
        yield _command(commands.show(order.id), 4)


def _timeline(report: Report, commands: Commands, zone: tzinfo) -> Iterator[Block]:
    if not report.timeline:
        return
    yield from _heading("What happened when")
    for moment in with_runs_once(report.timeline):
        yield Line((f"  {wall_clock(moment.at, zone)}", moment_sentence(moment, zone, plain)), hang=_SAID)
        command = look(moment, commands)
        if command:
            yield _command(command, _CLOCK + 4)


def _figures(figures: Sequence[Figure]) -> Iterator[Block]:
    yield line()
    yield Table(("figure", "value"), tuple((figure.label, figure.text) for figure in figures))


def _runs(report: Report, commands: Commands, zone: tzinfo) -> Iterator[Block]:
    if not report.runs:
        return
    yield from _heading("Who did what")
    found = [(run.started_at, [*_run(run, commands, zone)]) for run in report.runs]
    found += [(act.at, [_act(run, act, zone)]) for run in report.runs for act in run.acts]
    for _, lines in sorted(found, key=lambda each: each[0]):
        yield from lines


def _run(run: Run, commands: Commands, zone: tzinfo) -> Iterator[Line]:
    who: Part = bold(plain(run.who.actor or run.who.os_user))
    yield Line((f"  {wall_clock(run.started_at, zone)}", who, plain(run_title(run))), hang=_SAID)
    for said in (run_sentence(run, zone, plain), f"reason: {plain(run.reason)}" if run.reason else None):
        if said:
            yield Line((" " * (_CLOCK + 2), said), hang=_SAID)
    yield _command(commands.run(run.id), _CLOCK + 4)


def _act(run: Run, act: RunAct, zone: tzinfo) -> Line:
    return Line((f"  {wall_clock(act.at, zone)}", act_sentence(run, act, plain)), hang=_SAID)


def _gaps(report: Report, zone: tzinfo) -> Iterator[Block]:
    if report.gaps:
        yield from _heading("Not counted")
        for gap in report.gaps:
            yield Line(("  !", gap_sentence(gap, zone)), hang=1)


def _heading(text: str) -> list[Block]:
    return [line(), line(bold(text))]


def _command(command: str, indent: int = 2) -> Line:
    """Return a line with a command. Such a line is never wrapped."""
    return Line((f"{'':{indent}}{command}",))
