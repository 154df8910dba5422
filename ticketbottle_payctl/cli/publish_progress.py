"""What a person or a log sees of a publisher while it runs. stdout is left to the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ticketbottle_payctl.cli.human import is_terminal
from ticketbottle_payctl.cli.result import dim, good, warn
from ticketbottle_payctl.cli.session import Session
from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.jobs.publish_outbox import Observer, PublishOptions, Tally, preview_outbox
from ticketbottle_payctl.telemetry import log_event

_HEARTBEAT = 30.0


@contextmanager
def watched(session: Session, options: PublishOptions) -> Iterator[Observer]:
    """An observer: a progress bar for a drain on a terminal, else lines when something changes."""
    if options.loop or session.shared.quiet or not is_terminal(sys.stderr):
        yield _Lines(session, loop=options.loop).observer()
        return
    from rich.console import Console  # noqa: PLC0415 - rich, only where a bar is drawn
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    waiting = sum(row.events for row in preview_outbox(session.services.engine, options))
    columns = (TextColumn("publishing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("publishing", total=waiting or None)
        yield Observer(
            batch=lambda tally: progress.update(bar, completed=tally.claimed), waiting=_Lines(session).waiting
        )


@dataclass(slots=True)
class _Lines:
    session: Session
    loop: bool = False
    _spoken: float = field(default_factory=time.monotonic)

    def observer(self) -> Observer:
        return Observer(ready=self.ready, batch=self.batch, waiting=self.waiting)

    def ready(self) -> None:
        log_event("publish_outbox_ready")
        if self.loop:
            self.session.note(good("ready:"), "publishing what comes, until Ctrl-C or SIGTERM")

    def batch(self, tally: Tally) -> None:
        log_event("publish_outbox_batch", level="debug", published=tally.published, dead=tally.dead)
        if time.monotonic() - self._spoken >= _HEARTBEAT:
            self._spoken = time.monotonic()
            log_event(
                "publish_outbox_heartbeat",
                batches=tally.batches,
                published=tally.published,
                retried=tally.retried,
                dead=tally.dead,
                held=tally.held,
            )
            self.session.note(
                dim("…"), f"published {tally.published:,} · retried {tally.retried:,} · dead {tally.dead:,}"
            )

    def waiting(self, error: PayctlError, seconds: float) -> None:
        log_event("publish_outbox_waiting", level="warning", error=error, code=error.code, seconds=round(seconds, 1))
        self.session.note(warn("waiting:"), error.message, dim(f"· next try in {seconds:.0f} s"))
