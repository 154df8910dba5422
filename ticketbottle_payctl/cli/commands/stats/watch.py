"""Implement ``payctl stats --watch``. On a terminal, redraw a screen. Elsewhere, print a line for each reading."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Event
from typing import NoReturn

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.stats.facts import facts_of
from ticketbottle_payctl.cli.commands.stats.live_screen import Read, live_screen
from ticketbottle_payctl.cli.commands.stats.result import SCHEMA, whole
from ticketbottle_payctl.cli.output import writer
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.instants import shown
from ticketbottle_payctl.cli.output.machine import item_line, summary_line
from ticketbottle_payctl.cli.output.output_format import OutputFormat
from ticketbottle_payctl.cli.output.result import Result, warn
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.jobs.stats import StatsReport

Show = Callable[[StatsReport], None]

_COLUMNS = ("at", "pending", "dead", "oldest_pending_age_s", "in_per_s", "out_per_s", "drain", "drain_eta_s")


def draws(session: Session) -> bool:
    """Return whether --watch can draw a screen: the output is text, on a terminal that can move the cursor."""
    for_people = session.shared.output is OutputFormat.TABLE
    return for_people and is_terminal(sys.stdout) and os.environ.get("TERM") not in {None, "", "dumb"}


def watch_picture(session: Session, read: Read, pause: timedelta) -> NoReturn:
    """Draw the outbox's state until the user presses ``q`` or a signal arrives.

    The last state stays on the terminal.
    """
    report, code = live_screen(session, read, pause)
    if report is not None:
        session.finish(Result(SCHEMA, code, human=whole(replace(report.stats, by=None), session)))
    raise typer.Exit(int(code))


def watch(session: Session, look: Callable[[], StatsReport], pause: timedelta) -> NoReturn:
    """Print the outbox's state repeatedly until a signal arrives.

    If the database becomes unavailable later, keep trying.
    """
    session.tell_target()
    with stop_on_signals() as stop, _screen(session) as show:
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
def _screen(session: Session) -> Iterator[Show]:
    if session.shared.output is OutputFormat.NDJSON:
        yield lambda report: writer.write_part(item_line(facts_of(report, session)), json=True)
    else:
        writer.write_part("\t".join(_COLUMNS) + "\n", json=False)
        yield lambda report: writer.write_part("\t".join(_values(report, session)) + "\n", json=False)


def _values(report: StatsReport, session: Session) -> list[str]:
    values = {**facts_of(report, session), "in_per_s": report.in_per_s, "out_per_s": report.out_per_s}
    return [shown(values[name]) for name in _COLUMNS]
