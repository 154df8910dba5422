"""Show a running publisher's progress on stderr and in the log. stdout is only for the result."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ticketbottle_payctl.cli.app.session import TRACEBACK_VERBOSITY, Session
from ticketbottle_payctl.cli.commands.publish_outbox.obstacle_words import first_words, reasons
from ticketbottle_payctl.cli.output.instants import zone_shown
from ticketbottle_payctl.cli.output.live_line import live_line
from ticketbottle_payctl.cli.output.progress import bar
from ticketbottle_payctl.cli.output.result import dim, good, warn
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.formats import count, duration, rate, time_of_day
from ticketbottle_payctl.jobs.publish_outbox import Observer, Obstacles, PublishCounts, PublishOptions, preview_outbox
from ticketbottle_payctl.logs import log_event

_HEARTBEAT = 30.0
_TOUCH_EVERY = 5.0
_RATE_OVER = 10.0
_SLOW_AFTER = 2.0
"""The number of seconds after which the line shows the batch that is being sent."""


@contextmanager
def watched(session: Session, options: PublishOptions, health_file: Path | None = None) -> Iterator[Observer]:
    """Yield an observer that draws a bar or a live line on a terminal, and writes log events elsewhere.

    Raises:
        InputError: the health file cannot be written.
    """
    if health_file is not None:
        _touch(health_file)
    if session.shared.quiet or not is_terminal(sys.stderr):
        yield _Log(session, loop=options.loop, health_file=health_file).observer()
    elif options.loop:
        line = _Line(session, health_file=health_file)
        with live_line(session.shared.color, line.text):
            yield line.observer()
    else:
        preview = preview_outbox(session.services.engine, options)
        waiting = sum(row.events for row in preview.waiting) - preview.obstacles.held
        with bar("publishing", waiting or None) as tell:
            yield Observer(
                on_progress=lambda counts: tell(counts.published + counts.dead),
                on_settle=lambda seconds: _tell_of_settling(session, seconds),
            )


@dataclass(slots=True)
class _Log:
    """An observer that logs the start, regular heartbeats, and when causes begin or end."""

    session: Session
    loop: bool = False
    health_file: Path | None = None
    _spoken: float = field(default_factory=time.monotonic)
    _touched: float = field(default_factory=time.monotonic)

    def observer(self) -> Observer:
        return Observer(self.on_ready, self.on_heartbeat, self.on_progress, on_obstacles=self.on_obstacles)

    def on_ready(self) -> None:
        log_event("publish_outbox_ready")
        if self.loop:
            self.session.note(good("ready:"), "publishing until Ctrl-C or SIGTERM")

    def on_heartbeat(self, counts: PublishCounts) -> None:
        now = time.monotonic()
        if self.health_file is not None and now - self._touched >= _TOUCH_EVERY:
            self._touched = now
            _touch(self.health_file)
        if now - self._spoken >= _HEARTBEAT:
            self._spoken = now
            log_event("publish_outbox_heartbeat", counts=counts.by_name, batches=counts.batches, lag_s=counts.lag_s)

    def on_progress(self, counts: PublishCounts) -> None:
        log_event("publish_outbox_batch", level="debug", published=counts.published, dead=counts.dead)

    def on_obstacles(self, obstacles: Obstacles) -> None:
        """Log what is blocking events, or that nothing is. Both messages have the same level."""
        if not obstacles:
            log_event("publish_outbox_resumed", level="warning")
            return
        traceback = obstacles.away if self.session.shared.verbose >= TRACEBACK_VERBOSITY else None
        told = reasons(obstacles)
        log_event("publish_outbox_waiting", level="warning", error=traceback, reasons=told, **obstacles.facts)


@dataclass(slots=True)
class _Line:
    """An observer that draws one line, and writes a line above it when a cause begins or ends."""

    session: Session
    health_file: Path | None = None
    _published: int = 0
    _obstacles: Obstacles | None = None
    _sending: tuple[int, float, float] | None = None
    """The number of events in the batch that is being sent, the oldest one's age, and when the sending began."""
    _seen: deque[tuple[float, int]] = field(default_factory=deque)
    _log: _Log = field(init=False)

    def __post_init__(self) -> None:
        self._log = _Log(self.session, loop=True, health_file=self.health_file)

    def observer(self) -> Observer:
        return Observer(
            self._log.on_ready,
            self.on_heartbeat,
            self._log.on_progress,
            on_obstacles=self.on_obstacles,
            on_look=self.on_look,
            on_send=self.on_send,
            on_settle=lambda seconds: _tell_of_settling(self.session, seconds),
        )

    def on_heartbeat(self, counts: PublishCounts) -> None:
        self._log.on_heartbeat(counts)
        now = time.monotonic()
        self._published, self._sending = counts.published, None
        if not self._seen or now - self._seen[-1][0] >= 1:
            self._seen.append((now, counts.published))
        while len(self._seen) > 1 and now - self._seen[0][0] > _RATE_OVER:
            self._seen.popleft()

    def on_look(self, obstacles: Obstacles) -> None:
        self._obstacles = obstacles

    def on_send(self, events: int, age_s: float) -> None:
        self._sending = events, age_s, time.monotonic()

    def on_obstacles(self, obstacles: Obstacles) -> None:
        at = dim(time_of_day(self.session.services.now(), zone_shown()))
        if not obstacles:
            self.session.note(good("✔"), at, "no events are held back any more")
        for reason in reasons(obstacles):
            self.session.note(warn("!"), at, reason)

    def text(self) -> str:
        """Return the line with the number of sent events, the rate, and the age and cause of waiting events.

        If the brokers do not acknowledge a batch soon, show the batch instead of the waiting events.
        """
        parts = [f"published {self._published:,}", rate(self._rate()), *(self._slow_batch() or self._waiting())]
        return " · ".join(part for part in parts if part)

    def _slow_batch(self) -> list[str]:
        if self._sending is None:
            return []
        events, age, began = self._sending
        seconds = time.monotonic() - began
        if seconds < _SLOW_AFTER:
            return []
        return [f"sending {count(events, 'event')} for {duration(int(seconds))}", f"oldest {duration(age + seconds)}"]

    def _waiting(self) -> list[str]:
        obstacles = self._obstacles
        if obstacles is None:
            return []
        age = obstacles.oldest_pending_age_s
        oldest = f"oldest {duration(age) if age is not None else '-'}"
        return [f"held {obstacles.waiting:,}", oldest, first_words(obstacles)]

    def _rate(self) -> float:
        """Return the rate over the last ten seconds, in events per second."""
        if not self._seen:
            return 0.0
        at, published = self._seen[0]
        seconds = time.monotonic() - at
        return (self._published - published) / seconds if seconds > 0 else 0.0


def _tell_of_settling(session: Session, seconds: float) -> None:
    at = dim(time_of_day(session.services.now(), zone_shown()))
    why = "a publisher ended while it sent a batch, and its messages may still arrive"
    session.note(warn("!"), at, f"waiting {duration(round(seconds))}: {why}")


def _touch(path: Path) -> None:
    """Set the file's time to now, and create the file if it is missing. A symbolic link is refused."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, 0o600)
        try:
            os.utime(file)
        finally:
            os.close(file)
    except OSError as error:
        if error.errno == errno.ELOOP:
            message = "the health file is a symbolic link"
            raise InputError(
                message, hint="give the path of the file itself; payctl does not touch a file through a link"
            ) from error
        message = f"the health file cannot be written: {error.strerror}"
        raise InputError(message, hint="name a file in a directory that payctl can write to") from error
