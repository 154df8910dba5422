"""Decide when a run ends: after a stop signal, at its deadline, or after its maximum number of batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

from ticketbottle_payctl.jobs.publish_outbox.facts import StoppedBecause
from ticketbottle_payctl.jobs.publish_outbox.options import PublishOptions


class Budget:
    """The remaining time and batches of a run.

    The time limit starts when the budget is created. ``clock`` returns monotonic seconds.
    """

    def __init__(self, options: PublishOptions, stop: Event, clock: Callable[[], float] = time.monotonic) -> None:
        self.stop, self.clock = stop, clock
        self.began = clock()
        seconds = float("inf") if options.budget is None else options.budget.total_seconds()
        self._ends = self.began + seconds
        self._batches_left = float("inf") if options.max_batches is None else options.max_batches

    def spend_batch(self) -> None:
        """Count a committed batch."""
        self._batches_left -= 1

    def must_stop(self, coming: int = 1) -> StoppedBecause | None:
        """Return why the run must not process ``coming`` more batches, or None if the run is allowed to."""
        if self.stop.is_set():
            return StoppedBecause.SIGNAL
        if self._batches_left < coming:
            return StoppedBecause.MAX_BATCHES
        return StoppedBecause.DEADLINE if self.time_left() <= 0 else None

    def is_over(self) -> bool:
        """Return whether the run must end now, even in the middle of a batch."""
        return self.stop.is_set() or self.time_left() <= 0

    def time_left(self) -> float:
        """Return the number of seconds until the run's deadline."""
        return self._ends - self.clock()

    def wait(self, seconds: float) -> None:
        """Sleep for ``seconds``, but wake up early at a stop signal or at the run's deadline."""
        self.stop.wait(max(0.0, min(seconds, self.time_left())))
