"""Read keys while a full-screen picture is shown. Ctrl-Z first gives the terminal back its own settings."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

_TICK = 0.2
"""The seconds that one read of the keyboard waits. payctl notices a signal or a key within this time."""


@dataclass(slots=True)
class Keyboard:
    """The keys that were pressed. ``number`` is None if this process has no terminal in the foreground."""

    number: int | None
    before: list[Any] | None = None
    suspension_asked: bool = False
    """Whether Ctrl-Z was pressed."""

    def pressed(self, key: bytes) -> bool:
        """Wait for a moment. Return true if the key (in either case) was pressed, or if the terminal is gone."""
        if self.number is None:
            time.sleep(_TICK)
            return False
        ready, _, _ = select.select([self.number], [], [], _TICK)
        typed = os.read(self.number, 64) if ready else None
        return typed is not None and (not typed or key in typed.lower())

    def suspend(self) -> None:
        """Stop this process until the shell continues it. During the stop the terminal has its own settings."""
        self.restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.suspension_asked = False
        self.hide()

    def hide(self) -> None:
        """Make the terminal deliver each key at once, without showing it."""
        if self.number is not None:
            self.before = self.before or termios.tcgetattr(self.number)
            unseen = termios.tcgetattr(self.number)
            unseen[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(self.number, termios.TCSADRAIN, unseen)

    def restore(self) -> None:
        """Give the terminal the settings that it had before."""
        if self.number is not None and self.before is not None:
            termios.tcsetattr(self.number, termios.TCSADRAIN, self.before)


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """Yield the keyboard. At the end the terminal has its own settings again."""
    keys = Keyboard(_foreground())

    def ask(_number: int, _frame: FrameType | None) -> None:
        keys.suspension_asked = True

    before = signal.signal(signal.SIGTSTP, ask)
    keys.hide()
    try:
        yield keys
    finally:
        keys.restore()
        signal.signal(signal.SIGTSTP, before)


def _foreground() -> int | None:
    """Return stdin's number if it is the terminal that this process has in the foreground."""
    try:
        number = sys.stdin.fileno()
        return number if os.isatty(number) and os.tcgetpgrp(number) == os.getpgrp() else None
    except (OSError, ValueError):
        return None
