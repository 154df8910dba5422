"""Implement ``stats --watch`` on a terminal. Read the figures repeatedly, and draw them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from threading import Thread

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.stats.facts import command_of
from ticketbottle_payctl.cli.commands.stats.keyboard import keyboard
from ticketbottle_payctl.cli.commands.stats.picture import LiveView, Lost
from ticketbottle_payctl.cli.input.times import zone_of
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.screen import Screen, full_screen
from ticketbottle_payctl.cli.output.surface import surface_of
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.jobs.stats.live import LiveReport

Read = Callable[[datetime | None], LiveReport]
"""A function that reads the figures and counts the events created after a given instant."""

_REST = 4
"""The shortest pause after a reading, as a multiple of the reading's duration.

The pause limits the load on the database.
"""


class _Reading(Thread):
    """A reading in a separate thread, so that the screen reacts to keys even if the database does not answer.

    The thread does not keep the process alive. After Ctrl-C, payctl ends at once, and the server rolls the transaction
    back.
    """

    def __init__(self, read: Callable[[], LiveReport]) -> None:
        super().__init__(daemon=True)
        self._read = read
        self.report: LiveReport | None = None
        self.error: Exception | None = None
        self.seconds = 0.0
        self.start()

    def run(self) -> None:
        began = time.monotonic()
        try:
            self.report = self._read()
        except Exception as error:  # noqa: BLE001 - the thread that draws the screen raises the error
            self.error = error
        self.seconds = time.monotonic() - began


def live_screen(session: Session, read: Read, pause: timedelta) -> tuple[LiveReport | None, ExitCode]:
    """Show the figures until the user presses ``q`` or a signal arrives. Return the last figures and the exit code.

    If the database becomes unavailable after the first reading, the screen says so, and payctl keeps trying.

    Raises:
        DatabaseUnavailableError: the first reading failed.
        ConfigError: a table or a privilege is missing.
    """
    view = LiveView(session.target_parts(), partial(command_of, session=session), pause, zone_of(session))
    surface = surface_of(sys.stdout, session.shared.color)
    with stop_on_signals() as stop, keyboard() as keys, full_screen(sys.stdout, surface) as screen:
        loop = _Loop(session.services.now, read, view, screen)
        while not stop.event.is_set() and not keys.pressed(b"q"):
            if keys.suspension_asked:
                screen.close()
                keys.suspend()
                screen.open()
                loop.redraw()
            loop.step()
    return view.report, stop.exit_code or ExitCode.DONE


@dataclass(slots=True)
class _Loop:
    """A loop that starts a reading after each pause, collects the figures, and draws the screen."""

    now: Callable[[], datetime]
    read: Read
    view: LiveView
    screen: Screen
    _reading: _Reading | None = None
    _next: float = 0.0
    _drawn: float = 0.0

    def step(self) -> None:
        """Start a reading if one is due, collect a finished reading, and draw the screen if something changed.

        Never wait.
        """
        news = self._reading is not None and not self._reading.is_alive()
        if self._reading is not None and news:
            self._take(self._reading)
            self._next = time.monotonic() + max(self.view.pause.total_seconds(), _REST * self._reading.seconds)
            self._reading = None
        if self._reading is None and time.monotonic() >= self._next:
            after = self.view.watched.counted_from
            self._reading = _Reading(lambda: self.read(after))
        if news or self.screen.resized or time.monotonic() - self._drawn >= 1:
            self._drawn = time.monotonic()
            columns, lines = self.screen.size
            self.screen.draw(self.view.rows(columns, lines, self.now()))

    def redraw(self) -> None:
        """Make the next :meth:`step` draw the screen."""
        self._drawn = 0.0

    def _take(self, reading: _Reading) -> None:
        view = self.view
        if reading.report is not None:
            view.report, view.lost = view.watched.add(reading.report), None
        elif isinstance(reading.error, UnavailableError) and view.report is not None:
            view.lost = Lost(reading.error.message, view.lost.since if view.lost else self.now())
        elif reading.error is not None:
            raise reading.error
