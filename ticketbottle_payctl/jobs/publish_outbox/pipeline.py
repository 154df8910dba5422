"""Claim the next batch on a second connection while the current batch is being sent.

Two claims can run at the same time, because the publisher finds the end of a claim before it locks the claim's rows.
The next claim begins at this end, so the two claims never touch the same row. Each connection takes one of the shard's
two locks. A connection commits a batch only while the other connection holds the other lock. Therefore the publisher
always holds at least one lock, and other publishers cannot take over the shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple, Self

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.domain.event import OutboxEvent, Position
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog
from ticketbottle_payctl.jobs.publish_outbox.budget import Budget
from ticketbottle_payctl.store.db import pool
from ticketbottle_payctl.store.db.engine import Limits, open_connection, translated_errors
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox import shard_lock
from ticketbottle_payctl.store.outbox.claim import Claim, Released
from ticketbottle_payctl.store.outbox.shard_lock import Entry

LIMITS = Limits(
    statement=timedelta(seconds=30), lock=timedelta(seconds=2), idle=timedelta(seconds=60), index_only_plan=True
)
"""The limits for a claim's transaction. The idle limit is longer than the time needed to send a batch.

A publisher that hangs for longer loses its claim, but no events are lost.
"""

_OLDEST_CLAIM = 10.0
_SLICE = 1.0


@dataclass(slots=True)
class OpenBatch:
    """A batch of claimed events, oldest first, in an open transaction. The caller must commit it or roll it back.

    ``end`` is where the next claim begins, or None if nothing is left. The claim began at ``seen_at`` and finished at
    ``claimed_at``, both in monotonic seconds. ``passed_over`` are pending events that the claim left out because
    another session has locked their rows. ``interrupted`` is true if an earlier claim of any of the events was not
    committed.
    """

    events: list[OutboxEvent]
    complete: bool
    interrupted: bool
    end: Position | None
    seen_at: float
    claimed_at: float
    passed_over: list[tuple[str, Position]]
    connection: Connection
    other_lock: Future[Position | None] | None = None
    """A future that is done when the other connection holds the shard's other lock."""
    ended: bool = False
    """Whether the batch was committed or rolled back."""

    @property
    def last(self) -> Position:
        """The position of the batch's last event."""
        return self.end or self.events[-1].position

    def is_lost(self) -> bool:
        """Return whether the server has ended the session, and so released the claim.

        This check does not need a round trip.
        """
        return pool.is_closed_by_server(self.connection.connection.dbapi_connection)

    def commit(self, released: Sequence[Released]) -> None:
        """Release the events in ``released``, and commit the other events as published."""
        if self.other_lock is not None:
            self.other_lock.exception()  # wait for the lock; if that failed, the pipeline raises the error
        with translated_errors():
            if released:
                outbox.release(self.connection, released)
            self.connection.commit()
        self.ended = True

    def give_back(self) -> None:
        """Release all events, none of which was sent.

        A rollback would leave the traces of an interrupted claim, and the next publisher would wait for messages that
        were never sent.
        """
        self.commit([Released(event.id, event.retry_count, None) for event in self.events])


class _Ahead(NamedTuple):
    """A claim that runs in another thread. Once ``end`` is known, its connection holds one of the shard's two locks."""

    end: Future[Position | None]
    batch: Future[OpenBatch]
    seen_at: float


class ClaimPipeline:
    """An iterable of one shard's open batches, in order.

    The iteration ends when no events are left, or when the budget or the shard's turn is over. The iteration also ends
    at a batch that must not be sent. At the end of the ``with`` block, batches that are still open were not sent, and
    are given back. If the block raises an error, or if an earlier claim was interrupted, they are rolled back.
    """

    def __init__(self, engine: Engine, backlog: Backlog, budget: Budget, *, skip_locked: bool) -> None:
        self.caught_up = False
        """True if nothing was left to claim."""
        self.passed_over: Sequence[tuple[str, Position]] = ()
        """The locked events that the last claim left out. The list is empty if that claim found any other events."""
        self._engine, self._backlog, self._budget, self._skip_locked = engine, backlog, budget, skip_locked
        self._clock = budget.clock
        self._entered_at = self._clock()
        self._threads = ThreadPoolExecutor(2, "payctl-claim")
        self._connections: dict[int, Connection] = {}
        self._claimed: dict[int, OpenBatch] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_rest: object) -> None:
        self._threads.shutdown()  # no connection is closed while a thread uses it
        with (
            suppress(DatabaseUnavailableError),
            translated_errors(),
            self._open,
        ):  # if the server is unavailable, no connection is open
            for batch in self._claimed.values():
                if error is None and batch.events and not (batch.ended or batch.interrupted):
                    batch.give_back()

    def connection(self, lock: int = 0) -> Connection:
        """Return the connection that takes lock 0 or lock 1 of the shard. Open the connection on first use."""
        if lock not in self._connections:
            self._connections[lock] = self._open.enter_context(open_connection(self._engine, LIMITS))
        return self._connections[lock]

    def enter(self, owner: str) -> Entry:
        """Try to become the shard's publisher, in the transaction on connection 0 that later claims the first batch."""
        shard, shards = self._backlog.shard, self._backlog.options.shards
        with translated_errors():
            return shard_lock.enter(self.connection(), shard, shards, 0, owner, self._nothing_new)

    def _nothing_new(self) -> bool:
        """Return True if the only pending events are those that are blocked according to the backlog.

        Return False if a retry or a rescan is due. The backlog may be out of date, so its events must not be sent.
        """
        wanted, now, due = self._backlog.next_claim(), self._clock(), self._backlog.next_due()
        if self._backlog.rescan_is_due(now) or (due is not None and due <= now):
            return False
        return outbox.end_of_next(self.connection(), replace(wanted, limit=1), "0") is None

    def show_life(self, owner: str) -> None:
        """Record that the shard's publisher is alive. Use the transaction that :meth:`enter` began."""
        with translated_errors():
            options = self._backlog.options
            shard_lock.show_life(self.connection(), self._backlog.shard, options.shards, owner)

    def __iter__(self) -> Iterator[OpenBatch]:
        """Yield each batch after the previous one is committed.

        Raises:
            DatabaseUnavailableError: a claim failed. Events that were not committed are pending again.
        """
        lock, other = 0, 1
        batch = self._claim(lock, self._backlog.next_claim())
        ahead = self._claim_ahead(other, batch.end, batch.seen_at)
        while batch.events and self._may_be_sent(batch):
            batch.other_lock = ahead.end if ahead else None
            yield batch
            if ahead is None:
                self.caught_up = batch.end is None
                return
            coming, ahead = ahead.batch, self._claim_ahead(lock, ahead.end.result(), ahead.seen_at)
            batch = coming.result()
            lock, other = other, lock
        if not batch.events:
            self.passed_over = batch.passed_over
            batch.commit([])
            self.caught_up = batch.complete and batch.end is None

    def _claim(self, lock: int, wanted: Claim) -> OpenBatch:
        connection, seen_at = self.connection(lock), self._clock()
        passed_over = []
        with translated_errors():
            events, complete, interrupted = outbox.claim(connection, wanted, skip_locked=self._skip_locked)
            if self._skip_locked:
                passed_over = outbox.locked_by_others(connection, wanted, events[-1].position if events else None)
        end = events[-1].position if wanted.end is None and len(events) == wanted.limit else wanted.end
        batch = OpenBatch(events, complete, interrupted, end, seen_at, self._clock(), passed_over, connection)
        self._claimed[lock] = batch
        return batch

    def _claim_ahead(self, lock: int, after: Position | None, seen_at: float) -> _Ahead | None:
        """Start claiming the events after ``after`` in another thread. Return None if this is not allowed now."""
        if after is None or not self._may_claim_behind(after, seen_at):
            return None
        wanted, now = replace(self._backlog.next_claim(), after=after), self._clock()
        keeping = shard_lock.keeping(wanted.shard, wanted.shards, lock)
        end: Future[Position | None] = Future()

        def claim() -> OpenBatch:
            try:
                with translated_errors():
                    end.set_result(outbox.end_of_next(self.connection(lock), wanted, keeping))
            except BaseException as error:
                end.set_exception(error)
                raise
            return self._claim(lock, replace(wanted, end=end.result()))

        return _Ahead(end, self._threads.submit(claim), now)

    def _may_claim_behind(self, end: Position, seen_at: float) -> bool:
        """Return whether the next batch can be claimed before the current batch is committed.

        Return False if the run skips locked rows, is rate-limited or is about to end, or if the shard's turn is over.
        Also return False if :meth:`Backlog.may_claim_behind` returns False.
        """
        options, now = self._backlog.options, self._clock()
        return (
            not self._skip_locked
            and options.rate is None
            and self._budget.must_stop(coming=2) is None
            and (options.shards == 1 or now - self._entered_at < _SLICE)
            and self._backlog.may_claim_behind(end, seen_at, now)
        )

    def _may_be_sent(self, batch: OpenBatch) -> bool:
        """Return whether the batch is complete and can be sent within its transaction's time limit."""
        return batch.complete and self._clock() - batch.claimed_at < _OLDEST_CLAIM
