"""Find out a stream's capabilities: whether it is a terminal, shows colour, and can encode payctl's marks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TextIO, assert_never

from ticketbottle_payctl.cli.output.output_format import Colour

_PLAIN_MARKS = str.maketrans(
    {"✔": "+", "✘": "x", "→": "->", "·": "-", "…": "..."} | dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True))
)


@dataclass(frozen=True, slots=True)
class Surface:
    """A stream's capabilities: whether it is a terminal, shows colour, and can encode payctl's marks."""

    terminal: bool
    colour: bool
    unicode: bool = True

    @classmethod
    def of(cls, stream: TextIO, *, colour: bool) -> Surface:
        """Return the capabilities of ``stream``."""
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
        return cls(is_terminal(stream), colour, encoding.startswith("utf"))

    def marks(self, text: str) -> str:
        """Return text that payctl itself wrote. If the stream cannot encode payctl's marks, replace them."""
        return text if self.unicode else text.translate(_PLAIN_MARKS)


_asked: ContextVar[Colour] = ContextVar("payctl_colour", default=Colour.AUTO)


def ask_colour(colour: Colour) -> None:
    """Store the value of ``--color`` for the code that draws bars, because that code cannot see the options."""
    _asked.set(colour)


def colour_asked() -> Colour:
    """Return the stored value of ``--color``."""
    return _asked.get()


def is_terminal(stream: TextIO) -> bool:
    """Return whether the stream is a terminal. For a closed stream, return False."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def surface_of(stream: TextIO, colour: Colour, environ: Mapping[str, str] | None = None) -> Surface:
    """Return the capabilities of ``stream``. Colour depends on ``--color``, NO_COLOR (no-color.org) and TERM."""
    environ = os.environ if environ is None else environ
    match colour:
        case Colour.ALWAYS:
            shows = True
        case Colour.NEVER:
            shows = False
        case Colour.AUTO:
            shows = is_terminal(stream) and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        case _:
            assert_never(colour)
    return Surface.of(stream, colour=shows)
