"""What a person sees of a replay while it runs: a bar on a terminal's stderr, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output.result import dim
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.replay import ReplayOptions

_SMALLEST_SHOWN = 5000


@contextmanager
def watched(session: Session, events: int, options: ReplayOptions) -> Iterator[Callable[[int], None]]:
    """Hears how many events are decided."""
    if options.canary:
        session.note(
            dim(f"canary: {count(min(options.canary, events), 'event')} first; the rest when they are published")
        )
    long = events >= _SMALLEST_SHOWN or options.rate is not None or options.canary is not None
    if session.shared.quiet or not long or not is_terminal(sys.stderr):
        yield lambda _decided: None
        return
    from rich.console import Console  # noqa: PLC0415 - rich, only where a bar is drawn
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("requeueing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("requeueing", total=events)
        yield lambda decided: progress.update(bar, completed=decided)
