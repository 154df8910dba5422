"""The output of a running publisher, on stderr and in the log. stdout is for the result."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output.progress import bar
from ticketbottle_payctl.cli.output.result import dim, good, warn
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.errors import InputError, PayctlError
from ticketbottle_payctl.formats import duration
from ticketbottle_payctl.jobs.publish_outbox import Observer, PublishCounts, PublishOptions, preview_outbox
from ticketbottle_payctl.telemetry import log_event

_HEARTBEAT = 30.0
_TOUCH_EVERY = 5.0


@contextmanager
def watched(session: Session, options: PublishOptions, health_file: Path | None = None) -> Iterator[Observer]:
    """Return an observer that draws a bar for a drain on a terminal, or else writes lines when something changes.

    Raises:
        InputError: the health file cannot be written.
    """
    if health_file is not None:
        _touch(health_file)
    if options.loop or session.shared.quiet or not is_terminal(sys.stderr):
        yield _Lines(session, loop=options.loop, health_file=health_file).observer()
        return
    waiting = sum(row.events for row in preview_outbox(session.services.engine, options))
    with bar("publishing", waiting or None) as tell:
        yield Observer(on_progress=lambda counts: tell(counts.claimed), on_wait=_Lines(session).on_wait)


@dataclass(slots=True)
class _Lines:
    session: Session
    loop: bool = False
    health_file: Path | None = None
    _spoken: float = field(default_factory=time.monotonic)
    _touched: float = field(default_factory=time.monotonic)

    def observer(self) -> Observer:
        return Observer(self.on_ready, self.on_heartbeat, self.on_progress, self.on_wait)

    def on_ready(self) -> None:
        log_event("publish_outbox_ready")
        if self.loop:
            self.session.note(good("ready:"), "publishing until Ctrl-C or SIGTERM")

    def on_heartbeat(self, counts: PublishCounts) -> None:
        if self.health_file is not None and time.monotonic() - self._touched >= _TOUCH_EVERY:
            self._touched = time.monotonic()
            _touch(self.health_file)
        if time.monotonic() - self._spoken >= _HEARTBEAT:
            self._spoken = time.monotonic()
            self._beat(counts)

    def _beat(self, counts: PublishCounts) -> None:
        lag = counts.lag_s
        log_event("publish_outbox_heartbeat", counts=counts.by_name, batches=counts.batches, lag_s=lag)
        said = f"published {counts.published:,} · retried {counts.retried:,} · dead {counts.dead:,}"
        self.session.note(
            dim("…"), f"{said} · lag p50 {duration(lag['p50'])}, p99 {duration(lag['p99'])}" if lag else said
        )

    def on_progress(self, counts: PublishCounts) -> None:
        log_event("publish_outbox_batch", level="debug", published=counts.published, dead=counts.dead)

    def on_wait(self, error: PayctlError, seconds: float) -> None:
        log_event("publish_outbox_waiting", level="warning", error=error, code=error.code, seconds=round(seconds, 1))
        self.session.note(warn("waiting:"), error.message, dim(f"· next try in {duration(seconds)}"))


def _touch(path: Path) -> None:
    """Set the file's time to now, and create the file if it is missing. A link is refused: it may lead anywhere."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, 0o600)
        try:
            os.utime(file)
        finally:
            os.close(file)
    except OSError as error:
        if error.errno == errno.ELOOP:
            message = "the health file is a symbolic link"
            raise InputError(message, hint="name the file itself: payctl touches no file through a link") from error
        message = f"the health file cannot be written: {error.strerror}"
        raise InputError(message, hint="name a file in a directory that payctl may write to") from error
