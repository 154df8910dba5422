"""Delete expired events in batches until none is left. Delete, archive and commit each batch, then pause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Event

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.archive_file import Archive
from ticketbottle_payctl.domain.event import START, Position
from ticketbottle_payctl.store.db.engine import Limits, open_connection, transaction, translated_errors
from ticketbottle_payctl.store.outbox import retention as store
from ticketbottle_payctl.store.outbox.retention import Expired

LIMITS = Limits(
    statement=timedelta(seconds=10), lock=timedelta(seconds=1), idle=timedelta(seconds=60), index_only_plan=True
)
"""The limits for a batch's transaction. The idle limit leaves time to write the archive."""

_COUNTING = Limits(statement=timedelta(minutes=1), index_only_plan=True)
_MOST_COUNTED = 100_000
_SHORTEST_REST, _LONGEST_REST = 0.001, 1.0
_LEAST_SHARE, _LARGEST_SHARE = 0.1, 1.0
_BESIDE_A_PUBLISHER = 2.0
_SLOW = 2.0


class CleanupStoppedBecause(StrEnum):
    """The reason why a cleanup ended."""

    EMPTY = "empty"
    DEADLINE = "deadline"
    SIGNAL = "signal"


@dataclass(slots=True)
class Swept:
    """The counts of a cleanup so far. ``bytes`` is the approximate size of the deleted events."""

    deleted: int = 0
    archived: int = 0
    bytes: int = 0
    batches: int = 0
    receipts: int = 0


def kinds(horizon: datetime, kept: Sequence[str]) -> tuple[Expired, Expired]:
    """Return two selections of events that were published before ``horizon``: fully marked and half-marked events.

    The success events of the payments in ``kept`` are left out.
    """
    return Expired(horizon, kept=kept), Expired(horizon, half_marked=True, kept=kept)


@dataclass(slots=True)
class Rest:
    """The pause after a batch, as a share of the batch's duration. The share grows if the server becomes slower.

    While a publisher runs, the pause is twice the batch's duration, because publishing is more urgent.
    """

    share: float = _LEAST_SHARE
    _best: float = float("inf")

    def after(self, seconds: float, rows: int, *, publishing: bool = False) -> float:
        """Return the pause, in seconds, after a batch of ``rows`` that took ``seconds``."""
        per_row = seconds / max(rows, 1)
        self._best = min(self._best, per_row)
        slow = per_row > _SLOW * self._best
        self.share = min(_LARGEST_SHARE, self.share * 2) if slow else max(_LEAST_SHARE, self.share / 2)
        share = max(self.share, _BESIDE_A_PUBLISHER) if publishing else self.share
        return min(_LONGEST_REST, max(_SHORTEST_REST, seconds * share))


@dataclass(slots=True)
class Sweep:
    """A cleanup in progress. ``deadline`` is a time as returned by ``clock``.

    ``done`` is called after each committed batch. The success events of the payments in ``kept`` stay in the outbox.
    """

    engine: Engine
    horizon: datetime
    batch_size: int
    stop: Event
    done: Callable[[Swept], None]
    clock: Callable[[], float]
    deadline: float | None
    kept: Sequence[str] = ()
    swept: Swept = field(default_factory=Swept)
    _rest: Rest = field(default_factory=Rest)
    _publishing: bool = False

    def run(self, archive: Archive | None, receipts_before: datetime | None) -> CleanupStoppedBecause:
        """Delete expired events, then old receipts if ``receipts_before`` is given. Return why the run ended."""
        with translated_errors(), open_connection(self.engine, LIMITS) as connection:
            for kind in kinds(self.horizon, self.kept):
                reason = self._each(self._events(connection, kind, archive))
                if reason is not None:
                    return reason
            if receipts_before is not None:
                return self._each(self._receipts(connection, receipts_before)) or CleanupStoppedBecause.EMPTY
        return CleanupStoppedBecause.EMPTY

    def remaining(self) -> int:
        """Count the expired events that are still in the table, up to 100,000."""
        with transaction(self.engine, _COUNTING, commit=False) as connection:
            found = sum(store.count(connection, kind, _MOST_COUNTED) for kind in kinds(self.horizon, self.kept))
        return min(found, _MOST_COUNTED)

    def _each(self, batches: Iterator[int]) -> CleanupStoppedBecause | None:
        """Run batches with a pause after each one. Stop when a batch is not full or the run must end."""
        while (reason := self._must_stop()) is None:
            began = self.clock()
            rows = next(batches)
            if rows:
                self.done(self.swept)
            if rows < self.batch_size:
                return None
            pause = self._rest.after(self.clock() - began, rows, publishing=self._publishing)
            self.stop.wait(min(pause, self._time_left()))
        return reason

    def _events(self, connection: Connection, kind: Expired, archive: Archive | None) -> Iterator[int]:
        """Delete one batch per iteration, in its own transaction. Yield the number of expired rows that were found."""
        after: Position = START
        while True:
            batch = store.delete_next(connection, kind, after, self.batch_size, whole=archive is not None)
            if archive is not None and batch.lines:
                archive.add(batch.lines)
            connection.commit()
            self._publishing = batch.publishing
            if batch.last:
                after = batch.last
                self.swept.deleted += batch.deleted
                self.swept.archived += len(batch.lines)
                self.swept.bytes += batch.bytes
                self.swept.batches += 1
            yield batch.found

    def _receipts(self, connection: Connection, before: datetime) -> Iterator[int]:
        while True:
            deleted = store.delete_receipts(connection, before, self.batch_size)
            connection.commit()
            self.swept.receipts += deleted
            yield deleted

    def _must_stop(self) -> CleanupStoppedBecause | None:
        if self.stop.is_set():
            return CleanupStoppedBecause.SIGNAL
        return CleanupStoppedBecause.DEADLINE if self._time_left() <= 0 else None

    def _time_left(self) -> float:
        return float("inf") if self.deadline is None else self.deadline - self.clock()
