"""``--watch``: a display that is redrawn on a terminal; elsewhere one line per look."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event
from typing import NoReturn

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.stats.facts import facts_of
from ticketbottle_payctl.cli.commands.stats.result import SCHEMA, brief
from ticketbottle_payctl.cli.output import writer
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.format import OutputFormat
from ticketbottle_payctl.cli.output.instants import shown
from ticketbottle_payctl.cli.output.machine import item_line, summary_line
from ticketbottle_payctl.cli.output.result import Result, dim, line, warn
from ticketbottle_payctl.cli.output.surface import is_terminal, surface_of
from ticketbottle_payctl.cli.output.text import as_text
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.formats import duration
from ticketbottle_payctl.jobs.stats import StatsReport

Show = Callable[[StatsReport], None]

_COLUMNS = ("at", "pending", "dead", "oldest_pending_age_s", "in_per_s", "out_per_s", "drain", "drain_eta_s")


def watch(session: Session, look: Callable[[], StatsReport], pause: timedelta) -> NoReturn:
    """Look and show until a signal. If the database becomes unavailable after the first look, keep trying."""
    with stop_on_signals() as stop, _screen(session, pause) as show:
        show(look())
        while not stop.event.wait(pause.total_seconds()):
            _again(session, look, show, stop.event)
    code = stop.exit_code or ExitCode.DONE
    if session.shared.output is OutputFormat.NDJSON:
        writer.write_part(summary_line(Result(SCHEMA, code), session.invocation()), json=True)
    raise typer.Exit(int(code))


def _again(session: Session, look: Callable[[], StatsReport], show: Show, stop: Event) -> None:
    try:
        report = look()
    except UnavailableError as error:
        if not stop.is_set():
            session.note(warn("waiting:"), error.message)
        return
    show(report)


@contextmanager
def _screen(session: Session, pause: timedelta) -> Iterator[Show]:
    if session.shared.output is OutputFormat.NDJSON:
        yield lambda report: writer.write_part(item_line(facts_of(report, session)), json=True)
    elif is_terminal(sys.stdout):
        with _picture(session, pause) as show:
            yield show
    else:
        writer.write_part("\t".join(_COLUMNS) + "\n", json=False)
        yield lambda report: writer.write_part("\t".join(_values(report, session)) + "\n", json=False)


@contextmanager
def _picture(session: Session, pause: timedelta) -> Iterator[Show]:
    from rich.console import Console  # noqa: PLC0415 - rich, only on a terminal
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    surface = surface_of(sys.stdout, session.shared.color)
    console = Console(no_color=not surface.colour, highlight=False, markup=False, emoji=False)
    footer = line(dim(f"every {duration(pause.total_seconds())}; Ctrl-C ends"))

    def show(report: StatsReport) -> None:
        # as_text() escapes everything from outside, so the only escape sequences here are its own colours.
        blocks = [*brief(report), footer]
        live.update(Text.from_ansi(as_text(Result(SCHEMA, human=blocks), surface)), refresh=True)

    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        yield show


def _values(report: StatsReport, session: Session) -> list[str]:
    values = {**facts_of(report, session), "in_per_s": report.in_per_s, "out_per_s": report.out_per_s}
    return [shown(values[name]) for name in _COLUMNS]
