"""Ctrl-C and SIGTERM for a command that finishes what it has begun: the first one asks, the second one ends."""

from __future__ import annotations

import signal
from _thread import start_new_thread
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from types import FrameType

from ticketbottle_payctl.cli.output.exit_codes import ExitCode

_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


@dataclass(slots=True)
class Stop:
    """Whether a stop was asked for, and the code that the shell then expects."""

    event: Event = field(default_factory=Event)
    exit_code: ExitCode | None = None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Set the event on the first signal; a second one is treated as it was before."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in _CODES}

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.exit_code = _CODES[signal.Signals(number)]
        # Not here: whoever waits for the event holds its lock for a moment, and this runs on top of him.
        start_new_thread(stop.event.set, ())
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in _CODES:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
