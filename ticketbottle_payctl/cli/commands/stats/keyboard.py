"""Read keys while the live screen is shown. Ctrl-Z restores the terminal's settings and then suspends payctl."""

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
"""The maximum time in seconds to wait for a key before checking for signals."""


@dataclass(slots=True)
class Keyboard:
    """A reader of key presses.

    ``number`` is the terminal's file descriptor, or None if payctl is not in the foreground.
    """

    number: int | None
    before: list[Any] | None = None
    suspension_asked: bool = False
    """Whether Ctrl-Z was pressed."""

    def pressed(self, key: bytes) -> bool:
        """Wait up to 0.2 seconds for a key.

        Return True if ``key`` was pressed in upper or lower case, or the terminal was closed.
        """
        if self.number is None:
            time.sleep(_TICK)
            return False
        ready, _, _ = select.select([self.number], [], [], _TICK)
        typed = os.read(self.number, 64) if ready else None
        return typed is not None and (not typed or key in typed.lower())

    def suspend(self) -> None:
        """Suspend this process until the shell resumes it. In the meantime, the terminal has its earlier settings."""
        self.restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.suspension_asked = False
        self.hide()

    def hide(self) -> None:
        """Make the terminal deliver each key at once, without echoing it."""
        if self.number is not None:
            self.before = self.before or termios.tcgetattr(self.number)
            unseen = termios.tcgetattr(self.number)
            unseen[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(self.number, termios.TCSADRAIN, unseen)

    def restore(self) -> None:
        """Restore the terminal's earlier settings."""
        if self.number is not None and self.before is not None:
            termios.tcsetattr(self.number, termios.TCSADRAIN, self.before)


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """Yield the keyboard. At the end, restore the terminal's settings."""
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
    """Return stdin's file descriptor if stdin is a terminal and this process is in its foreground.

    Otherwise return None.
    """
    try:
        number = sys.stdin.fileno()
        return number if os.isatty(number) and os.tcgetpgrp(number) == os.getpgrp() else None
    except (OSError, ValueError):
        return None
