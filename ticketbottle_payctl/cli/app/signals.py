"""Handle Ctrl-C and SIGTERM for commands that work in batches.

After the first signal, a command finishes the current batch and then ends. After a second signal, the command ends at
once.
"""

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
    """A stop request, with the exit code that shells expect after the signal."""

    event: Event = field(default_factory=Event)
    exit_code: ExitCode | None = None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Set the event on the first signal. A second signal has the default effect."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in _CODES}

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.exit_code = _CODES[signal.Signals(number)]
        # Set the event on another thread. The handler may have interrupted the thread that holds the event's lock, and
        # would then wait forever.
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
