"""One shard of the keys: become its publisher, drain it, leave.

While a batch is sent on one lane, the other commits the batch before and claims the next. Nothing of the next is
sent before every delivery of this one is known, so a payment's events keep their order across batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Engine

from ticketbottle_payctl.broker.producer import Failure, Producer
from ticketbottle_payctl.domain.cursor import Cursor
from ticketbottle_payctl.domain.event import OutboxEvent
from ticketbottle_payctl.domain.retry import backoff
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.publish_outbox.batch import BatchOutcome, Sender
from ticketbottle_payctl.jobs.publish_outbox.lane import Lane
from ticketbottle_payctl.jobs.publish_outbox.report import OnDead, PublishOptions
from ticketbottle_payctl.store import outbox
from ticketbottle_payctl.store.engine import is_lock_timeout, translated_errors
from ticketbottle_payctl.store.outbox import Claim

SWEEP_EVERY = 30.0
"""How often a shard is begun again at its oldest event, in seconds: what committed late is never lost."""

_LOCKED_ROW_PAUSE = 2.0
_SLICE = 1.0
_BATCHES_PER_SECOND = 4


class Sent(NamedTuple):
    """A batch of ``claimed`` events whose every delivery is known, not yet committed."""

    outcome: BatchOutcome
    claimed: int


@dataclass(frozen=True, slots=True)
class Context:
    """What the shards of one run share. ``may_go_on(n)`` asks whether ``n`` batches more are within the run."""

    engine: Engine
    producer: Producer
    options: PublishOptions
    owner: str
    may_go_on: Callable[[int], bool]
    committed: Callable[[Sent], None]
    probe: Callable[[], None]
    stopping: Callable[[], bool]
    pool: ThreadPoolExecutor
    stopped_types: dict[str, Failure]
    clock: Callable[[], float] = time.monotonic


class Shard:
    """What a run remembers of a shard between visits, and how it visits."""

    def __init__(self, context: Context, number: int) -> None:
        self._context, self._number = context, number
        self.cursor = Cursor()
        self._sender = Sender(
            context.producer, self.cursor, context.options, context.stopped_types, context.stopping, context.clock
        )
        self._swept: float | None = None
        self._entered = 0.0
        self._lanes: list[Lane] = []

    def visit(self) -> bool:
        """Drain the shard. False where another publisher has it.

        Raises:
            BrokerUnavailableError, BrokerRefusedError: not one message of a batch went through; it was given back.
            DatabaseUnavailableError: the database went away; what was not committed is pending again.
        """
        shards = self._context.options.shards
        self._entered = self._context.clock()
        self._lanes = [Lane(self._context.engine, lane, self._number, shards) for lane in (0, 1)]
        try:
            return self._drain_around_locked_rows()
        except BaseException:
            self._swept = None
            raise
        finally:
            for lane in self._lanes:
                lane.close()

    def _drain_around_locked_rows(self) -> bool:
        try:
            return self._drain(skip_locked=False)
        except DatabaseUnavailableError as error:
            if not is_lock_timeout(error):
                raise
            # Another session holds a row and nothing of its batch was sent: go on without it and its payment.
            for lane in self._lanes:
                lane.rollback()
            self._swept = None
            return self._drain(skip_locked=True)

    def _drain(self, *, skip_locked: bool) -> bool:
        entered, taken_over = self._lanes[0].enter(self._context.owner)
        if not entered:
            return False
        if taken_over or self._must_sweep():
            self._begin_again()
        else:
            self.cursor.release_due(self._context.clock())
        events = self._lanes[0].claim(self._wanted(), skip_locked=skip_locked)
        if skip_locked and events:
            self._block_locked(events)
        self._publish(events, ahead=not skip_locked)
        return True

    def _publish(self, events: list[OutboxEvent], *, ahead: bool) -> None:
        """Send batch after batch; the database's part of the batches around it is done on the other lane meanwhile.

        At each moment one lane's transaction holds the batch that is being sent, and with it the shard.
        """
        lane, other = self._lanes
        behind: Sent | None = None
        while events:
            full = self._pass_over(events)
            settling = self._context.pool.submit(other.commit, behind.outcome.put_back) if behind else None
            claiming = None
            if ahead and full and self._may_claim_ahead(in_flight=2 if behind else 1):
                claiming = self._context.pool.submit(other.claim_next, self._wanted())
            try:
                sent = Sent(self._sender.send(events), len(events))
            finally:
                for job in (settling, claiming):  # a lane is never left while a thread uses it
                    if job is not None:
                        job.exception()
            if sent.outcome.broker_away:
                raise self._context.producer.unavailable()
            try:
                if settling and behind:
                    settling.result()
                    self._context.committed(behind)
                events = claiming.result() if claiming else []
            except BaseException:
                self._settle(lane, sent)
                raise
            lane, other, behind = other, lane, sent
            if events and not self._context.may_go_on(2):
                self.cursor.position = (events[0].created_at, "")
                lane.rollback()
                break
        if behind:
            self._settle(other, behind)
        else:
            lane.commit([])
            self.cursor.look_back()

    def _pass_over(self, events: list[OutboxEvent]) -> bool:
        """The next claim begins after these events; whether there may be more of them."""
        full = len(events) == self._wanted().limit
        self.cursor.advance(events[-1].position)
        if not full:
            self.cursor.look_back()
        return full

    def _settle(self, lane: Lane, sent: Sent) -> None:
        lane.commit(sent.outcome.put_back)
        self._context.committed(sent)

    def _begin_again(self) -> None:
        """Forget, and read again which payments wait: behind a dead event, a retry not due, a type left out.

        A retry is due its backoff after the event was created; a run that saw the failure counts from there.
        """
        cursor, options, connection = self.cursor, self._context.options, self._lanes[0].connection
        cursor.restart()
        self._context.probe()
        with translated_errors():
            database_now = outbox.now(connection)
            for row in outbox.failed(connection):
                wait = (row.position[0] + backoff(row.retry_count) - database_now).total_seconds()
                if row.retry_count < options.max_retries:
                    if wait > 0:
                        cursor.block(row.aggregate_id, row.position, self._context.clock() + wait)
                elif options.on_dead is OnDead.BLOCK:
                    cursor.block(row.aggregate_id, row.position, None)
            if options.types:
                # Only what is there now: an event written later could be behind one of a type left out.
                cursor.until = database_now
                for row in outbox.waiting_of_other_types(connection, options.types, options.max_retries):
                    cursor.block(row.aggregate_id, row.position, None)
        self._swept = self._context.clock()

    def _must_sweep(self) -> bool:
        return self._swept is None or self._context.clock() - self._swept >= SWEEP_EVERY

    def _may_claim_ahead(self, *, in_flight: int) -> bool:
        """Not where the run ends, is throttled, owes a retry or a sweep, or should look at another shard."""
        context = self._context
        due = self.cursor.next_due()
        return (
            context.may_go_on(in_flight + 1)
            and context.options.rate is None
            and (due is None or due > context.clock())
            and not self._must_sweep()
            and (context.options.shards == 1 or context.clock() - self._entered < _SLICE)
        )

    def _wanted(self) -> Claim:
        options = self._context.options
        limit = options.batch_size
        if options.rate is not None:
            limit = max(1, min(limit, int(options.rate / _BATCHES_PER_SECOND)))
        return Claim(
            after=self.cursor.position,
            limit=limit,
            max_retries=options.max_retries,
            held=self.cursor.held,
            types=options.types,
            until=self.cursor.until,
            shard=self._number,
            shards=options.shards,
        )

    def _block_locked(self, events: list[OutboxEvent]) -> None:
        """The payments of rows that another session holds wait, so that nothing overtakes them."""
        with translated_errors():
            left = outbox.locked_by_others(self._lanes[0].connection, self._wanted(), events[-1].position)
        for key, position in left:
            self.cursor.block(key, position, self._context.clock() + _LOCKED_ROW_PAUSE)
