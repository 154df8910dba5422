"""One shard of the keys: become its publisher, drain it, leave.

While a batch is sent, both lanes claim: one the next batch, the other, once its own is committed, the one after.
Where a claim ends is known before its events are, so the two never meet on a row. Nothing is sent before the batch
before it is committed, so a payment's events keep their order, and after a crash one batch at most is sent again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from sqlalchemy import Engine

from ticketbottle_payctl.broker.producer import Failure, Producer
from ticketbottle_payctl.domain.cursor import Cursor, Position
from ticketbottle_payctl.domain.event import OutboxEvent
from ticketbottle_payctl.domain.ordering import LATE_COMMITS
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.publish_outbox.batch import BatchOutcome, Sender
from ticketbottle_payctl.jobs.publish_outbox.lane import Lane
from ticketbottle_payctl.jobs.publish_outbox.report import PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.sweep import SWEEP_EVERY, block_locked, next_claim, sweep
from ticketbottle_payctl.store.db.engine import is_lock_timeout
from ticketbottle_payctl.store.outbox.claim import Claim, Claimed
from ticketbottle_payctl.store.outbox.shard_lock import Entry
from ticketbottle_payctl.tracing import BatchSpan, batch_span

_OLDEST_CLAIM = 10.0
_AROUND_LOCKED_ROWS = 10.0
_SLICE = 1.0


class Visit(Enum):
    """What became of a visit."""

    LOCKED = "another publisher has the shard"
    MORE = "left while there may be more to publish"
    DRAINED = "nothing that may go was left"


class Batch(NamedTuple):
    """Claimed events, in a lane's open transaction. ``end`` is where the next claim begins; None: nothing is left."""

    claimed: Claimed
    end: Position | None
    seen_at: float
    """When the claim began to look (monotonic seconds): no later than the instant whose rows it saw."""
    claimed_at: float
    """When it was done; from then on its transaction idles."""

    @property
    def events(self) -> list[OutboxEvent]:
        """The events, oldest first."""
        return self.claimed.events


class Ahead(NamedTuple):
    """A claim under way on the other lane. ``end`` is answered first; from then on that lane holds the shard too."""

    end: Future[Position | None]
    batch: Future[Batch]
    since: float

    def wait(self) -> None:
        """A lane is never left while a thread uses it."""
        self.batch.exception()


class Sent(NamedTuple):
    """A batch whose every delivery is known, and when (by the database's clock) that was."""

    outcome: BatchOutcome
    acknowledged_at: datetime


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
        wanted = self._wanted()
        batch = self._claim(self._lanes[0], wanted, skip_locked=skip_locked)
        if skip_locked and batch.events:
            block_locked(self._lanes[0].connection, self.cursor, wanted, batch.events[-1], self._clock())
        drained = self._publish(batch, ahead=not skip_locked)
        due = self.cursor.next_due()
        return Visit.DRAINED if drained and (due is None or due > self._clock()) else Visit.MORE

    def _publish(self, batch: Batch, *, ahead: bool) -> bool:
        """Send this batch and those behind it, each after the one before is committed; whether nothing was left.

        ``lane`` holds the batch that is sent. Before it is committed the other lane holds the shard too, and as soon
        as it is, ``lane`` claims behind what the other one is claiming.
        """
        lane, other = self._lanes
        coming = self._claim_ahead(other, batch.end, batch.seen_at) if ahead else None
        before: Ahead | None = None
        try:
            while batch.events and self._may_send(batch):
                sent = self._send(batch, lane)
                try:
                    end = coming.end.result() if coming else None
                finally:
                    self._settle(lane, sent, batch)
                if sent.outcome.surprised:
                    self.cursor.look_back(caught_up=False)
                    return False
                if coming is None:
                    self.cursor.look_back(caught_up=batch.end is None)
                    return batch.end is None
                before, coming = coming, self._claim_ahead(lane, end, coming.since)
                batch = before.batch.result()
                lane, other = other, lane
            return self._stop_at(batch, lane)
        finally:
            for claim in (before, coming):
                if claim is not None:
                    claim.wait()

    def _settle(self, lane: Lane, sent: Sent, batch: Batch) -> None:
        lane.commit(sent.outcome.put_back)
        self._context.committed(sent)
        self.cursor.advance(batch.end or batch.events[-1].position)

    def _stop_at(self, batch: Batch, lane: Lane) -> bool:
        """Nothing of this batch is sent: either there is none, or the run ends here and it is given back."""
        if batch.events:
            lane.rollback()
        else:
            lane.commit([])
        drained = not batch.events and batch.claimed.complete and batch.end is None
        self.cursor.look_back(caught_up=drained)
        return drained

    def _claim_ahead(self, lane: Lane, after: Position | None, seen_at: float) -> Ahead | None:
        """Claim behind ``after`` on a thread of its own; None where that may not be done now.

        ``seen_at`` is when the claim that ends at ``after`` began to look.
        """
        if after is None or not self._may_claim_behind(after, seen_at):
            return None
        wanted, since = replace(self._wanted(), after=after), self._clock()
        end: Future[Position | None] = Future()

        def claim() -> Batch:
            try:
                end.set_result(lane.keep(wanted))
            except BaseException as error:
                end.set_exception(error)
                raise
            return self._claim(lane, replace(wanted, end=end.result()))

        return Ahead(end, self._context.pool.submit(claim), since)

    def _claim(self, lane: Lane, wanted: Claim, *, skip_locked: bool = False) -> Batch:
        seen_at = self._clock()
        claimed = lane.claim(wanted, skip_locked=skip_locked)
        end = wanted.end
        if end is None and len(claimed.events) == wanted.limit:
            end = claimed.events[-1].position
        return Batch(claimed, end, seen_at, self._clock())

    def _send(self, batch: Batch, lane: Lane) -> Sent:
        with self._context.span(batch.events) as ended:
            outcome = self._sender.send(batch.events, batch.seen_at, lane.lost)
            ended(outcome.counts)
        if lane.lost():
            message = "the database ended the session that held the claim"
            raise DatabaseUnavailableError(message, hint="check that the server is up and reachable, then try again")
        if outcome.broker_away:
            raise self._context.producer.unavailable()
        return Sent(outcome, self._database_time(self._clock()))

    def _may_send(self, batch: Batch) -> bool:
        """Not where the run ends, nor a batch with a gap, nor one that has lain too long to be sent in time."""
        fresh = self._clock() - batch.claimed_at < _OLDEST_CLAIM
        return fresh and batch.claimed.complete and self._context.may_go_on(1)

    def _begin_again(self) -> None:
        self._swept = None  # a sweep that fails half-way has forgotten who must wait
        connection, options = self._lanes[0].connection, self._context.options
        self._swept_at = sweep(connection, self.cursor, options, self._number, self._clock())
        self._swept = self._clock()

    def _database_time(self, at: float) -> datetime:
        """Our instant by the clock that wrote the events: as read at the last sweep, carried on by ours."""
        return self._swept_at + timedelta(seconds=at - (self._swept or at))

    def _must_sweep(self) -> bool:
        return self._swept is None or self._clock() - self._swept >= SWEEP_EVERY

    def _may_claim_behind(self, end: Position, seen_at: float) -> bool:
        """Not where the run ends, is throttled, owes a retry or a sweep, or should look at another shard.

        And not behind events that were so new when they were looked for that an older one could still commit: that
        one is found by looking back first.
        """
        options, due = self._context.options, self.cursor.next_due()
        return (
            end[0] < self._database_time(seen_at) - LATE_COMMITS
            and self._context.may_go_on(2)
            and options.rate is None
            and (due is None or due > self._clock())
            and not self._must_sweep()
            and (options.shards == 1 or self._clock() - self._entered < _SLICE)
        )

    def _wanted(self) -> Claim:
        return next_claim(self.cursor, self._context.options, self._number)
