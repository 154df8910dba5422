"""One shard of the keys: become its publisher, drain it, leave.

While a batch is sent on one lane, the other commits the batch before and claims the next. Nothing of the next is
sent before every delivery of this one is known, so a payment's events keep their order across batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from sqlalchemy import Engine

from ticketbottle_payctl.broker.producer import Failure, Producer
from ticketbottle_payctl.domain.cursor import LATE_COMMITS, Cursor
from ticketbottle_payctl.domain.event import OutboxEvent
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.publish_outbox.batch import BatchOutcome, Sender
from ticketbottle_payctl.jobs.publish_outbox.lane import Lane
from ticketbottle_payctl.jobs.publish_outbox.report import PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.sweep import SWEEP_EVERY, block_locked, next_claim, sweep
from ticketbottle_payctl.store.engine import is_lock_timeout
from ticketbottle_payctl.store.outbox import Claim, Claimed
from ticketbottle_payctl.store.ownership import Entry
from ticketbottle_payctl.tracing import BatchSpan, batch_span

_OLDEST_CLAIM = 10.0
_AROUND_LOCKED_ROWS = 10.0
_SLICE = 1.0
_NOBODY: frozenset[str] = frozenset()


class Visit(Enum):
    """What became of a visit."""

    LOCKED = "another publisher has the shard"
    MORE = "left while there may be more to publish"
    DRAINED = "nothing that may go was left"


class Batch(NamedTuple):
    """Claimed events, in a lane's open transaction. ``full`` means that there may be more behind them."""

    claimed: Claimed
    full: bool
    claimed_at: float

    @property
    def events(self) -> list[OutboxEvent]:
        """The events, oldest first."""
        return self.claimed.events


@dataclass(slots=True)
class Sent:
    """A batch whose every delivery is known: in doubt until it is committed."""

    outcome: BatchOutcome
    acknowledged_at: datetime
    committed: bool = False

    @property
    def payments(self) -> Collection[str]:
        """Whose later events wait for the commit."""
        return self.outcome.payments


@dataclass(frozen=True, slots=True)
class Context:
    """What the shards of one run share. ``may_go_on(n)`` asks whether ``n`` batches more are within the run."""

    engine: Engine
    producer: Producer
    options: PublishOptions
    owner: str
    may_go_on: Callable[[int], bool]
    committed: Callable[[Sent], None]
    stopping: Callable[[], bool]
    pool: ThreadPoolExecutor
    stopped_types: dict[str, Failure]
    clock: Callable[[], float] = time.monotonic
    span: BatchSpan = batch_span


class Shard:
    """What a run remembers of a shard between visits, and how it visits."""

    def __init__(self, context: Context, number: int) -> None:
        self._context, self._number = context, number
        self._clock = context.clock
        self.cursor = Cursor()
        self._sender = Sender(
            context.producer, self.cursor, context.options, context.stopped_types, context.stopping, context.clock
        )
        self._swept: float | None = None
        self._swept_at = datetime.min  # noqa: DTZ901 - the owner's columns have no zone
        self._around_locked_rows_until = 0.0
        self._entered = 0.0
        self._lanes: list[Lane] = []

    def forget(self) -> None:
        """Begin again at the oldest event with the next visit."""
        self.cursor.restart()
        self._swept = None

    def visit(self) -> Visit:
        """Drain the shard, or as much of it as is this visit's share.

        Raises:
            BrokerUnavailableError, BrokerRefusedError: not one message of a batch went through; it was given back.
            DatabaseUnavailableError: the database went away; what was not committed is pending again.
        """
        shards = self._context.options.shards
        self._entered = self._clock()
        self._lanes = [Lane(self._context.engine, lane, self._number, shards) for lane in (0, 1)]
        try:
            return self._drain_around_locked_rows()
        except BaseException:
            self.forget()
            raise
        finally:
            for lane in self._lanes:
                lane.close()

    def _drain_around_locked_rows(self) -> Visit:
        if self._clock() < self._around_locked_rows_until:
            return self._drain(skip_locked=True)
        try:
            return self._drain(skip_locked=False)
        except DatabaseUnavailableError as error:
            if not is_lock_timeout(error):
                raise
            # Another session holds a row and nothing of its batch was sent: go on without it and its payment.
            self._around_locked_rows_until = self._clock() + _AROUND_LOCKED_ROWS
            for lane in self._lanes:
                lane.rollback()
            return self._drain(skip_locked=True)

    def _drain(self, *, skip_locked: bool) -> Visit:
        entry = self._lanes[0].enter(self._context.owner)
        if entry is Entry.REFUSED:
            self.forget()
            return Visit.LOCKED
        if entry is Entry.TAKEN_OVER or self._must_sweep():
            self._begin_again()
        else:
            self.cursor.release_due(self._clock())
        wanted, now = self._wanted(), self._clock()
        batch = _batch(self._lanes[0].claim(wanted, skip_locked=skip_locked), wanted, now)
        if skip_locked and batch.events:
            block_locked(self._lanes[0].connection, self.cursor, wanted, batch.events[-1], now)
        drained = self._publish(batch, ahead=not skip_locked)
        due = self.cursor.next_due()
        return Visit.DRAINED if drained and (due is None or due > self._clock()) else Visit.MORE

    def _publish(self, batch: Batch, *, ahead: bool) -> bool:
        """Send this batch and those behind it; whether there was nothing more to claim.

        While a batch is sent on ``lane``, the database's part of the batches around it is done on ``other``. At
        each moment one lane's transaction holds the batch that is being sent, and with it the shard.
        """
        lane, other = self._lanes
        behind: Sent | None = None
        drained = batch.claimed.complete
        while batch.events:
            if not self._may_send(batch, in_flight=1 if behind else 0):
                lane.rollback()
                drained = False
                break
            drained = not batch.full
            self.cursor.advance(batch.events[-1].position)
            next_claim = self._next_claim(batch, in_flight=2 if behind else 1) if ahead else None
            turn = self._context.pool.submit(self._turn_over, other, behind, next_claim)
            try:
                sent = self._send(batch, behind, turn)
            finally:
                error = turn.exception()  # a lane is never left while a thread uses it
                self._count(behind)
            if error is not None:
                self._settle(lane, sent)
                raise error
            lane, other, behind, batch = other, lane, sent, turn.result()
        if behind is None:
            lane.commit([])
        else:
            self._settle(other, behind)
        self.cursor.look_back(caught_up=drained)
        return drained

    def _turn_over(self, lane: Lane, behind: Sent | None, wanted: Claim | None) -> Batch:
        """On the pool's thread: commit the batch before, claim the next."""
        if behind is not None:
            lane.commit(behind.outcome.put_back)
            behind.committed = True
        now = self._clock()
        if wanted is None:
            return Batch(Claimed([], complete=True), full=False, claimed_at=now)
        return _batch(lane.claim_next(wanted), wanted, now)

    def _send(self, batch: Batch, behind: Sent | None, turn: Future[Batch]) -> Sent:
        def committed() -> bool:
            turn.exception()
            return behind is None or behind.committed

        in_doubt = behind.payments if behind else _NOBODY
        with self._context.span(batch.events) as ended:
            outcome = self._sender.send(batch.events, batch.claimed_at, in_doubt, committed)
            ended(outcome.counts)
        if outcome.broker_away:
            raise self._context.producer.unavailable()
        return Sent(outcome, self._database_now())

    def _settle(self, lane: Lane, sent: Sent) -> None:
        lane.commit(sent.outcome.put_back)
        sent.committed = True
        self._count(sent)

    def _count(self, sent: Sent | None) -> None:
        if sent is not None and sent.committed:
            self._context.committed(sent)

    def _may_send(self, batch: Batch, *, in_flight: int) -> bool:
        """Not where the run ends, nor a batch with a gap, nor one so old that its claim could end while it is sent."""
        fresh = self._clock() - batch.claimed_at < _OLDEST_CLAIM
        return fresh and batch.claimed.complete and self._context.may_go_on(in_flight + 1)

    def _begin_again(self) -> None:
        self._swept = self._clock()
        self._swept_at = sweep(self._lanes[0].connection, self.cursor, self._context.options, self._swept)

    def _database_now(self) -> datetime:
        """By the clock that wrote the events, read at the last sweep and carried on by ours."""
        return self._swept_at + timedelta(seconds=self._clock() - (self._swept or 0.0))

    def _must_sweep(self) -> bool:
        return self._swept is None or self._clock() - self._swept >= SWEEP_EVERY

    def _next_claim(self, batch: Batch, *, in_flight: int) -> Claim | None:
        """What to claim behind this batch while it is sent.

        None where the run ends, is throttled, owes a retry or a sweep, or should look at another shard. And none
        behind events so new that an older one may still commit: that one is found by looking back first.
        """
        options, due = self._context.options, self.cursor.next_due()
        settled = batch.events[-1].created_at < self._database_now() - LATE_COMMITS
        ahead = (
            batch.full
            and settled
            and self._context.may_go_on(in_flight + 1)
            and options.rate is None
            and (due is None or due > self._clock())
            and not self._must_sweep()
            and (options.shards == 1 or self._clock() - self._entered < _SLICE)
        )
        return self._wanted() if ahead else None

    def _wanted(self) -> Claim:
        return next_claim(self.cursor, self._context.options, self._number)


def _batch(claimed: Claimed, wanted: Claim, at: float) -> Batch:
    return Batch(claimed, full=len(claimed.events) == wanted.limit, claimed_at=at)
