"""Draw frames on the whole terminal.

Only changed rows are written, so that the screen also works over a slow connection. The frames are drawn on the
terminal's alternate screen, so the old content reappears at the end. Lines do not wrap.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import TextIO

from ticketbottle_payctl.cli.output.result import Part, Styled
from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.cli.output.surface import Surface
from ticketbottle_payctl.cli.output.text import coloured

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H\x1b[2J"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_CLEAR = "\x1b[2J"
_EMPTY_LINE = "\x1b[K"
"""The control sequence that clears a row before its new text is written.

Clearing the row after writing would delete the last character of text that is as wide as the terminal.
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """A group of parts that together take exactly ``width`` columns."""

    parts: Row
    width: int


Row = Sequence["Part | Cell"]
"""A row of a frame: parts and cells from left to right."""


class Screen:
    """The terminal's alternate screen. :func:`full_screen` opens and closes it."""

    def __init__(self, stream: TextIO, surface: Surface) -> None:
        self._stream = stream
        self._surface = surface
        self._size = self.size
        self._drawn: list[str] = []

    @property
    def size(self) -> os.terminal_size:
        """The current width and height of the terminal."""
        try:
            return os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return get_terminal_size()

    @property
    def resized(self) -> bool:
        """Whether the terminal's size has changed since the last frame."""
        return self.size != self._size

    def draw(self, rows: Sequence[Row]) -> None:
        """Write the rows that differ from the last frame. Rows that do not fit on the terminal are left out.

        Raises:
            ReaderGoneError: the terminal was closed.
        """
        before, self._size = self._size, self.size
        out = ""
        if self._size != before:
            self._drawn, out = [], _CLEAR
        lines = [self._line(row) for row in rows[: self._size.lines]]
        known = self._drawn + [""] * (len(lines) - len(self._drawn))
        lines += [""] * (len(known) - len(lines))
        for number, (old, new) in enumerate(zip(known, lines, strict=True), start=1):
            if old != new:
                out += f"\x1b[{number};1H{_EMPTY_LINE}{new}"
        self._drawn = lines
        self._write(out)

    def open(self) -> None:
        """Switch to the empty alternate screen."""
        self._drawn = []
        self._write(_ENTER)

    def close(self) -> None:
        """Switch back to the normal screen."""
        self._write(_LEAVE)

    def _line(self, row: Row) -> str:
        return "".join(coloured(part, self._surface) for part in fitted(row, self._size.columns, self._surface))

    def _write(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()


def fitted(row: Row, width: int, surface: Surface) -> list[Part]:
    """Return the row with escaped text, cut off at the terminal's width. A wide character counts as two columns."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - rich, only on a terminal

    kept: list[Part] = []
    left = width
    for number, part in enumerate(row):
        if isinstance(part, Cell):
            inner = fitted(part.parts, min(part.width, left), surface)
            used = sum(cell_len(_text(each)) for each in inner)
            kept += [*inner, " " * (min(part.width, left) - used)]
            left -= min(part.width, left)
            continue
        text = surface.marks(escape(_text(part)))
        need = cell_len(text)
        if need > left or (need == left and _follows(row[number + 1 :])):
            mark = surface.marks("…")
            text = set_cell_size(text, max(0, left - len(mark))) + mark[:left]
        kept.append(Styled(text, part.style) if isinstance(part, Styled) else text)
        left -= cell_len(text)
        if left <= 0:
            break
    return kept


def _follows(row: Row) -> bool:
    return any(isinstance(part, Cell) or _text(part).strip() for part in row)


def _text(part: Part) -> str:
    return part.text if isinstance(part, Styled) else part


@contextmanager
def full_screen(stream: TextIO, surface: Surface) -> Iterator[Screen]:
    """Yield an open alternate screen. Restore the terminal at the end, even after an error."""
    screen = Screen(stream, surface)
    screen.open()
    try:
        yield screen
    finally:
        screen.close()
