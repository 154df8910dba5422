"""Show a replay's wait for the canary, then a progress bar. Without a terminal, print lines and write log events."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from ticketbottle_payctl.cli.output.progress import bar, status
from ticketbottle_payctl.cli.output.result import dim, warn
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.cli.safety.advised import Adviser, PublishAdvice
from ticketbottle_payctl.domain.causes import Activity, Publishing
from ticketbottle_payctl.formats import count, duration
from ticketbottle_payctl.jobs.replay import CanaryWait, ReplayOptions
from ticketbottle_payctl.logs import log_event

_SMALLEST_SHOWN = 5000

_LONGEST_SEARCH = timedelta(seconds=1)
"""The longest time for each statement that looks for failure events of paid orders, while the canary waits."""


@contextmanager
def watched(adviser: Adviser, events: int, options: ReplayOptions, *, resumed: bool = False) -> Iterator[Watch]:
    """Yield an object that shows the number of handled events and the state of the canary.

    A ``resumed`` run may have requeued its canary already.
    """
    with ExitStack() as shown:
        watch = Watch(adviser, events, options, shown)
        if options.canary and not resumed:
            first = count(min(options.canary, events), "event")
            adviser.session.note(dim(f"canary: {first} first; the rest follow when the canary is published"))
        yield watch


@dataclass(slots=True)
class Watch:
    """The live line and the progress bar of one replay. Only one of the two is shown at a time."""

    _adviser: Adviser
    _events: int
    _options: ReplayOptions
    _shown: ExitStack
    _draw: Callable[[int], None] | None = None
    _say: Callable[[str], None] | None = None
    _told: tuple[int, Activity] | None = None
    _warned: set[Activity] = field(default_factory=set)

    def tell(self, decided: int) -> None:
        """Draw the bar. During the wait for the canary, draw nothing."""
        if self._options.canary and decided <= self._options.canary:
            return
        if self._draw is None:
            self._shown.close()
            long = self._events >= _SMALLEST_SHOWN or self._options.rate is not None or self._options.canary is not None
            quiet = self._adviser.session.shared.quiet or not long
            self._draw = self._shown.enter_context(bar("requeueing", self._events, quiet=quiet))
        self._draw(decided)

    def on_canary(self, wait: CanaryWait) -> None:
        """Show how many canary events are published. Warn if no publisher is running or reaches its brokers."""
        state = wait.publishing
        seconds = max(0, round(wait.left_s))
        left = duration(seconds) if seconds else "under 1 s"
        gone, cut_off = state.running is False, state.activity is Activity.WITHOUT_BROKERS
        if state.activity not in self._warned:
            self._warned.add(state.activity)
            self._warn(state, left)
        words = f"{wait.published:,} of {wait.events:,} published, {left} left"
        if cut_off:
            words += "; brokers unreachable"
        elif gone:
            words += "; no publisher is running"
        if is_terminal(sys.stderr):
            if self._say is None:
                self._say = self._shown.enter_context(status(quiet=self._adviser.session.shared.quiet))
            self._say(f"canary: {words}")
        elif self._told != (wait.published, state.activity):
            self._told = (wait.published, state.activity)
            self._adviser.session.note(dim("canary:"), words)
            log_event(
                "replay_canary_waiting",
                level="warning" if gone or cut_off else "info",
                published=wait.published,
                events=wait.events,
                seconds_left=round(wait.left_s),
                publisher_running=state.running,
            )

    def _warn(self, state: Publishing, left: str) -> None:
        """Say once what the canary waits for, if no publisher is running or reaches its brokers."""
        match state.activity:
            case Activity.BETWEEN_RUNS:
                self._adviser.session.note(warn(state.words))
                publish = self._adviser.publishing(longest=_LONGEST_SEARCH)
                waits = f"the canary waits {left} for the next run"
                if publish.before is None:
                    self._adviser.session.note(dim(f"{waits}; if none is scheduled:"), publish.command)
                else:
                    self._adviser.session.note(dim(waits))
                    self._note_dry_run(publish)
            case Activity.WITHOUT_BROKERS if state.last is not None:
                self._adviser.session.note(warn(f"{state.words}:"), state.last.without_brokers or "")
                doctor = self._adviser.reading(["doctor"])
                self._adviser.session.note(dim(f"the canary waits {left} for the brokers; to find the cause:"), doctor)
            case Activity.GONE | Activity.NEVER_SEEN:
                publish, gone = self._adviser.publishing(longest=_LONGEST_SEARCH), warn("no publisher is running")
                if publish.before is None:
                    self._adviser.session.note(gone, dim(f"({state.last_sign}):"), publish.command)
                else:
                    self._adviser.session.note(gone, dim(f"({state.last_sign})"))
                    self._note_dry_run(publish)

    def _note_dry_run(self, publish: PublishAdvice) -> None:
        self._adviser.session.note(dim(f"before a publisher runs, {publish.before}:"), publish.command)
