"""A bar on a terminal's stderr while something long is at work. Elsewhere nothing: a pipe and stdout stay clean."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ticketbottle_payctl.cli.output.surface import is_terminal


class Tell(Protocol):
    """Hears how much is done, and of how much where that is only known now."""

    def __call__(self, done: int, of: int | None = None, /) -> None:
        """Draw it."""


@contextmanager
def bar(word: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Tell]:
    """Draw it while the block runs; without a total it shows how much is done and that it goes on."""
    if quiet or not is_terminal(sys.stderr):
        yield _nobody
        return
    from rich.console import Console  # noqa: PLC0415 - rich, only where a bar is drawn
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn(word), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(word, total=total)

        def tell(done: int, of: int | None = None, /) -> None:
            progress.update(task, completed=done, total=of)

        yield tell


def _nobody(done: int, of: int | None = None, /) -> None:
    """Nobody looks."""
