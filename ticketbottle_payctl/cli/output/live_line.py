"""Redraw one line at the bottom of the terminal while a command runs. Messages are printed above this line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ticketbottle_payctl.cli.output.output_format import Colour
from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.cli.output.surface import surface_of

if TYPE_CHECKING:
    from rich.text import Text


@contextmanager
def live_line(colour: Colour, text: Callable[[], str]) -> Iterator[None]:
    """Write ``text()`` to stderr four times a second while the block runs, cut to the terminal's width.

    The caller must first check that stderr is a terminal. ``text`` is called on another thread.
    """
    from rich.console import Console  # noqa: PLC0415 - rich, only on a terminal
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    surface = surface_of(sys.stderr, colour)
    console = Console(stderr=True, no_color=not surface.colour, highlight=False, markup=False, emoji=False)

    def draw() -> Text:
        return Text(surface.marks(escape(text())), no_wrap=True, overflow="ellipsis")

    with Live(get_renderable=draw, console=console, transient=True, redirect_stdout=False):
        yield
