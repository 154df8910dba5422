"""The progress bar of a replay, on stderr if that is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output.progress import bar
from ticketbottle_payctl.cli.output.result import dim
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.replay import ReplayOptions

_SMALLEST_SHOWN = 5000


@contextmanager
def watched(session: Session, events: int, options: ReplayOptions) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many events were handled."""
    if options.canary:
        session.note(
            dim(f"canary: {count(min(options.canary, events), 'event')} first; the rest when they are published")
        )
    long = events >= _SMALLEST_SHOWN or options.rate is not None or options.canary is not None
    with bar("requeueing", events, quiet=session.shared.quiet or not long) as tell:
        yield tell
