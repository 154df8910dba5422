"""Show a replay's wait for the canary, then a progress bar. Without a terminal, print lines and write log events."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output.progress import bar, status
from ticketbottle_payctl.cli.output.result import dim, warn
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.formats import count, duration
from ticketbottle_payctl.jobs.replay import CanaryWait, ReplayOptions
from ticketbottle_payctl.logs import log_event

_SMALLEST_SHOWN = 5000


@contextmanager
def watched(session: Session, events: int, options: ReplayOptions, *, resumed: bool = False) -> Iterator[Watch]:
    """Yield an object that shows the number of handled events and the state of the canary.

    A ``resumed`` run may have requeued its canary already.
    """
    with ExitStack() as shown:
        watch = Watch(session, events, options, shown)
        if options.canary and not resumed:
            first = count(min(options.canary, events), "event")
            session.note(dim(f"canary: {first} first; the rest follow when the canary is published"))
        yield watch


@dataclass(slots=True)
class Watch:
    """The live line and the progress bar of one replay. Only one of the two is shown at a time."""

    _session: Session
    _events: int
    _options: ReplayOptions
    _shown: ExitStack
    _draw: Callable[[int], None] | None = None
    _say: Callable[[str], None] | None = None
    _told: tuple[int, bool] | None = None
    _warned: bool = False

    def tell(self, decided: int) -> None:
        """Draw the bar. During the wait for the canary, draw nothing."""
        if self._options.canary and decided <= self._options.canary:
            return
        if self._draw is None:
            self._shown.close()
            long = self._events >= _SMALLEST_SHOWN or self._options.rate is not None or self._options.canary is not None
            quiet = self._session.shared.quiet or not long
            self._draw = self._shown.enter_context(bar("requeueing", self._events, quiet=quiet))
        self._draw(decided)

    def on_canary(self, wait: CanaryWait) -> None:
        """Show how many canary events are published, and warn if no publisher is running."""
        gone = wait.publisher is False
        if gone and not self._warned:
            self._warned = True
            seen = "none has ever been seen" if wait.unseen_s is None else f"last seen {duration(wait.unseen_s)} ago"
            self._session.note(warn("no publisher is running"), dim(f"({seen}):"), "payctl publish-outbox")
        words = f"{wait.published:,} of {wait.events:,} published, {duration(max(0, round(wait.left_s)))} left"
        if gone:
            words += "; no publisher is running"
        if is_terminal(sys.stderr):
            if self._say is None:
                self._say = self._shown.enter_context(status(quiet=self._session.shared.quiet))
            self._say(f"canary: {words}")
        elif self._told != (wait.published, gone):
            self._told = (wait.published, gone)
            self._session.note(dim("canary:"), words)
            log_event(
                "replay_canary_waiting",
                level="warning" if gone else "info",
                published=wait.published,
                events=wait.events,
                seconds_left=round(wait.left_s),
                publisher_running=wait.publisher,
            )
