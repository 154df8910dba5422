"""During a long job, draw a progress bar or a status line on stderr if it is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from ticketbottle_payctl.cli.output.surface import colour_asked, is_terminal, surface_of
from ticketbottle_payctl.cli.output.theme import rich_theme
from ticketbottle_payctl.formats import duration

if TYPE_CHECKING:
    from rich.console import Console


class Tell(Protocol):
    """A function that takes the amount of finished work and, once it is known, the total."""

    def __call__(self, done: int, of: int | None = None, /) -> None:
        """Update the bar."""


@contextmanager
def bar(word: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Tell]:
    """Draw a progress bar while the block runs. If the total is unknown, show only the amount of finished work.

    If there is nothing to do, draw nothing.
    """
    if quiet or total == 0 or not is_terminal(sys.stderr):
        yield _nobody
        return
    from rich.progress import BarColumn, Progress, Task, TextColumn  # noqa: PLC0415 - rich, only if a bar is drawn
    from rich.text import Text  # noqa: PLC0415

    class Figures(TextColumn):
        """A column next to the bar, with the amount of finished work and the remaining time in payctl's own formats."""

        def render(self, task: Task) -> Text:
            of = "?" if task.total is None else f"{task.total:,.0f}"
            left = "" if task.time_remaining is None else f"  {duration(round(task.time_remaining))} left"
            return Text(f"{task.completed:,.0f}/{of}{left}")

    columns = (TextColumn(word), BarColumn(), Figures(""))
    with Progress(*columns, console=_console(), transient=True) as progress:
        task = progress.add_task(word, total=total)

        def tell(done: int, of: int | None = None, /) -> None:
            progress.update(task, completed=done, total=of)

        yield tell


@contextmanager
def status(*, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows the current step in a line on stderr.

    Without a terminal, the function shows nothing.
    """
    if quiet or not is_terminal(sys.stderr):
        yield lambda _step: None
        return
    with _console().status("") as line:
        yield lambda step: line.update(f"{step} ...")


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415 - rich, only on a terminal

    coloured = surface_of(sys.stderr, colour_asked()).colour
    return Console(stderr=True, theme=rich_theme(), no_color=not coloured, highlight=False)


def _nobody(done: int, of: int | None = None, /) -> None:
    """Draw nothing."""
