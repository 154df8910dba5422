"""Become the publisher of one shard, drain the shard, and release it.

A publisher holds a shard through advisory locks. A publisher claims batches in advance, but sends a batch only after
the previous batch is committed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from enum import Enum

from sqlalchemy import Engine

from ticketbottle_payctl.broker.sender import Sender
from ticketbottle_payctl.domain.event import Position
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog, Block, Cause
from ticketbottle_payctl.jobs.publish_outbox.batch import BatchOutcome, send_batch
from ticketbottle_payctl.jobs.publish_outbox.budget import Budget
from ticketbottle_payctl.jobs.publish_outbox.facts import BlockReason
from ticketbottle_payctl.jobs.publish_outbox.observer import Observer
from ticketbottle_payctl.jobs.publish_outbox.pipeline import ClaimPipeline, OpenBatch
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.store.db.engine import is_lock_timeout
from ticketbottle_payctl.store.outbox.shard_lock import Entry

SEND_WITHIN = 45.0
"""The time limit from the beginning of a claim to its last delivery, in seconds.

Sending a message can take 30 seconds, and the claim's transaction can be idle for 60 seconds. If a publisher is frozen
for a minute, another publisher can take over its claim. This limit keeps the frozen publisher from sending the old
claim.
"""

SETTLE = 5.0
"""The time between the end of another publisher's claim and the next send of the same events, in seconds.

A publisher's session can end while the messages of its batch are still on their way to the broker. If the next
publisher sent this batch again at once, and then the next batch, the delayed messages would arrive after newer events.
After this time they have arrived, unless the network delays them for longer.
"""

_SKIP_LOCKED_ROWS_FOR = 10.0
_LOCKED_ROW_PAUSE = 2.0
_ROW_LOCKED = Cause(BlockReason.ROW_LOCKED)


class DrainResult(Enum):
    """The result of a drain."""

    LOCKED = "another publisher holds the shard"
    MORE = "there may be more to publish"
    DRAINED = "no more events could be sent"


@dataclass(slots=True)
class Shard:
    """One shard, with the state that the run keeps between two drains."""

    engine: Engine
    sender: Sender
    backlog: Backlog
    budget: Budget
    owner: str
    observer: Observer
    result: DrainResult = field(default=DrainResult.MORE, init=False)
    """The result of the last drain."""
    _skip_locked_rows_until: float = field(default=0.0, init=False)
    _was_refused: bool = field(default=False, init=False)

    @property
    def number(self) -> int:
        """The shard's number, from 0."""
        return self.backlog.shard

    @property
    def is_known(self) -> bool:
        """Whether the backlog shows which events are waiting.

        The backlog may be empty while another publisher holds the shard.
        """
        return self.result is not DrainResult.LOCKED or self.backlog.is_scanned

    def drain(self) -> Generator[BatchOutcome, None, None]:
        """Drain the shard until it is empty or its turn is over. Yield the result of each batch after it is committed.

        Raises:
            BrokerUnavailableError, BrokerRefusedError: none of a batch's messages was delivered, and the batch was
                released.
            DatabaseUnavailableError: the database became unavailable. Events that were not committed are pending again.
        """
        skip_locked = self.budget.clock() < self._skip_locked_rows_until
        try:
            try:
                yield from self._drain(skip_locked=skip_locked)
            except DatabaseUnavailableError as error:
                if skip_locked or not is_lock_timeout(error):
                    raise
                # Another session has locked a row, so the claim failed and nothing was sent. Continue without this row
                # and its payment.
                self._skip_locked_rows_until = self.budget.clock() + _SKIP_LOCKED_ROWS_FOR
                yield from self._drain(skip_locked=True)
        except BaseException:
            self.backlog.forget()
            raise

    def _drain(self, *, skip_locked: bool) -> Generator[BatchOutcome, None, None]:
        clock, backlog = self.budget.clock, self.backlog
        with ClaimPipeline(self.engine, backlog, self.budget, skip_locked=skip_locked) as pipeline:
            entry, entered_at = pipeline.enter(self.owner), clock()
            if entry is Entry.REFUSED:
                self._remember_refusal()
                return
            if entry is Entry.STANDBY:
                self.result = DrainResult.DRAINED
                return
            self.result = DrainResult.MORE
            stale, self._was_refused = entry is Entry.TAKEN_OVER or self._was_refused, False
            if stale or backlog.rescan_is_due(clock()):
                if entry is Entry.UNCHANGED:
                    pipeline.show_life(self.owner)
                backlog.rescan(pipeline.connection(), clock())
            else:
                backlog.release_due(clock())
            for batch in pipeline:
                if self.sender.leader_may_be_back:
                    break
                if batch.interrupted:
                    self._settle(entered_at)
                if self.budget.must_stop():
                    break
                outcome = self._send(batch)
                batch.commit(outcome.released)
                self._remember(batch, outcome)
                yield outcome
                if outcome.partial_transport_failure:
                    break
            self._block_passed_over(pipeline.passed_over)
            backlog.rewind_for_late_commits(caught_up=pipeline.caught_up)
        due = backlog.next_due()
        drained = pipeline.caught_up and (due is None or due > clock())
        self.result = DrainResult.DRAINED if drained else DrainResult.MORE

    def _settle(self, entered_at: float) -> None:
        """Wait until the messages of an interrupted claim can no longer be on their way to the broker.

        The claim was interrupted before ``entered_at``, when this publisher locked the shard. A run with a time limit
        waits for at most half of the time that is left, so that it can still send the batch.
        """
        seconds = min(entered_at + SETTLE - self.budget.clock(), self.budget.time_left() / 2)
        if seconds > 0:
            log_event("publish_outbox_settling", shard=self.number, shards=self.backlog.options.shards, seconds=seconds)
            self.observer.on_settle(seconds)
            self.budget.wait(seconds)

    def _remember_refusal(self) -> None:
        """Make the next claim rescan the shard. Until then, keep what this publisher knows, unless a rescan is due.

        A publisher writes its name on the shard when it commits. If the current holder sends an event and dies before
        it commits, the shard does not show that another publisher has held it.
        """
        self._was_refused, self.result = True, DrainResult.LOCKED
        if self.backlog.rescan_is_due(self.budget.clock()):
            self.backlog.forget()

    def _send(self, batch: OpenBatch) -> BatchOutcome:
        self._block_passed_over(batch.passed_over)
        oldest = self.backlog.database_time(self.budget.clock()) - batch.events[0].created_at
        self.observer.on_send(len(batch.events), max(0.0, oldest.total_seconds()))
        with self.observer.span(batch.events) as ended:
            outcome = send_batch(batch, batch.seen_at + SEND_WITHIN, self.sender, self.backlog, self.budget.clock)
            ended(outcome.counts)
        if batch.is_lost():
            message = "the database ended the session that held the claim"
            raise DatabaseUnavailableError(message, hint="check that the server is up and reachable, then try again")
        if outcome.broker_away:
            raise self.sender.producer.unavailable()
        return outcome

    def _block_passed_over(self, passed_over: Iterable[tuple[str, Position]]) -> None:
        """Block each payment that has an event whose row another session has locked."""
        for key, position in passed_over:
            self.backlog.block(Block(key, position, self.budget.clock() + _LOCKED_ROW_PAUSE, _ROW_LOCKED))

    def _remember(self, batch: OpenBatch, outcome: BatchOutcome) -> None:
        for block in outcome.blocks:
            self.backlog.block(block)
        for key in outcome.excluded:
            self.backlog.exclude(key)
        self.backlog.advance(batch.last)
