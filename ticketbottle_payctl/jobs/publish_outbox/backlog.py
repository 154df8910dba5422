"""Remember a shard's state for its publisher: where the next claim begins, and which payments are blocked.

An event blocks the later events of its payment while it waits for its retry, or if its type cannot be sent. A dead
event also blocks them, unless the ``on_dead`` option releases them. Other payments are never blocked. This memory only
saves queries. If it is wrong or lost, a rescan rebuilds it from the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.event import START, OutboxEvent, Position
from ticketbottle_payctl.domain.late_commits import LATE_COMMITS
from ticketbottle_payctl.domain.retry import backoff, is_dead
from ticketbottle_payctl.jobs.publish_outbox.facts import BlockReason
from ticketbottle_payctl.jobs.publish_outbox.options import OnDead, PublishOptions
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.store.db.engine import translated_errors
from ticketbottle_payctl.store.outbox import cdc
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox.claim import Claim

RESCAN_EVERY = 30.0
"""The interval between rescans, in seconds.

A rescan reads a shard from its oldest event, and finds events whose transactions committed late.
"""

_MOST_FAILED = 1_000_000
_MOST_EXCLUDED = 1000
_BATCHES_PER_SECOND = 4


class Cause(NamedTuple):
    """The reason why an event blocks its payment. ``detail`` has an error's code and text, but no payload."""

    why: BlockReason
    detail: str | None = None


class Block(NamedTuple):
    """A block that keeps a payment's events after ``position`` from being sent.

    The block ends at ``due``, in monotonic seconds.

    If ``due`` is None, only a replay ends the block. If ``cause`` is None, the events wait only until their own batch
    is committed.
    """

    key: str
    position: Position
    due: float | None
    cause: Cause | None = None


_DEAD, _RETRY_LATER = Cause(BlockReason.DEAD), Cause(BlockReason.RETRY_LATER)
_OTHER_TYPE = Cause(BlockReason.OTHER_TYPE)


class Backlog:
    """One publisher's memory of one shard. ``now`` is always in monotonic seconds."""

    def __init__(self, options: PublishOptions, shard: int) -> None:
        self.options, self.shard = options, shard
        self.forget()

    def forget(self) -> None:
        """Clear the memory of the shard, so that a rescan is due."""
        self.position: Position = START
        self._until: datetime | None = None
        self._newest: Position | None = None
        self._blocks: dict[str, dict[Position, Cause | None]] = {}
        self._due: dict[tuple[str, Position], float] = {}
        self._excluded: dict[str, None] = {}
        self._scanned_at: float | None = None
        self._scanned = START[0]

    def next_claim(self) -> Claim:
        """Return the next claim.

        If the run has a rate limit, a claim has no more events than the limit allows in 250 ms.
        """
        limit, rate = self.options.batch_size, self.options.rate
        return Claim(
            after=self.position,
            limit=limit if rate is None else max(1, min(limit, int(rate / _BATCHES_PER_SECOND))),
            max_retries=self.options.max_retries,
            excluded=list(self._excluded),
            types=self.options.types,
            until=self._until,
            shard=self.shard,
            shards=self.options.shards,
        )

    @property
    def is_scanned(self) -> bool:
        """Whether a rescan has filled the memory since it was last cleared."""
        return self._scanned_at is not None

    def rescan_is_due(self, now: float) -> bool:
        """Return whether the publisher must read the shard again from its oldest event."""
        return self._scanned_at is None or now - self._scanned_at >= RESCAN_EVERY

    def rescan(self, connection: Connection, now: float) -> None:
        """Clear the memory, and read the blocked payments from the database.

        A retry's backoff starts at the failure if this run saw it, or else when the event was created.

        Raises:
            GuardError: Debezium is publishing this outbox.
        """
        self.forget()  # if this fails halfway, a rescan is still due
        with translated_errors():
            cdc.refuse_while_debezium_publishes(connection)
            database_now = outbox.now(connection)
            self._block_failed(connection, now, database_now)
            if self.options.types:
                # Do not claim events that are newer than this rescan: they may follow an event of an excluded type.
                self._until = database_now
                for row in outbox.waiting_of_other_types(connection, self.options.types, self.options.max_retries):
                    self.block(Block(row.aggregate_id, row.position, None, _OTHER_TYPE))
        self._newest = (database_now, "")
        self._scanned_at, self._scanned = now, database_now

    def database_time(self, at: float) -> datetime:
        """Convert a monotonic time to database time, based on the clocks at the last rescan."""
        return self._scanned + timedelta(seconds=at - (self._scanned_at or at))

    def may_claim_behind(self, end: Position, seen_at: float, now: float) -> bool:
        """Return whether events after ``end`` can be claimed before the batch that ends at ``end`` is committed.

        Return False if a retry or a rescan is due, or if a transaction with an event before ``end`` might still commit.
        In the last case, the publisher first reads the late-commit window again. ``seen_at`` is when the claim that
        ends at ``end`` started.
        """
        due = self.next_due()
        settled = end[0] < self.database_time(seen_at) - LATE_COMMITS
        return settled and (due is None or due > now) and not self.rescan_is_due(now)

    def advance(self, last: Position) -> None:
        """Record that the next claim begins after ``last``."""
        self.position = last
        if self._newest is None or last > self._newest:
            self._newest = last

    def rewind_for_late_commits(self, *, caught_up: bool) -> None:
        """Move the next claim back by :data:`LATE_COMMITS`, to find events whose transactions committed late.

        If ``caught_up`` is true, nothing was left to claim, and the new start is relative to the newest event seen.
        Otherwise the new start is relative to the event that was claimed last.
        """
        newest = self._newest if caught_up and self._newest is not None else self.position
        if newest != START:
            self.position = (newest[0] - LATE_COMMITS, "")

    def block(self, block: Block) -> None:
        """Block an event's payment. A newer block for the same event replaces the older one."""
        key, position, due, cause = block
        self._blocks.setdefault(key, {})[position] = cause
        if due is None:
            self._due.pop((key, position), None)
        else:
            self._due[key, position] = due

    def exclude(self, key: str) -> None:
        """Exclude a blocked payment from the next claims.

        At most 1,000 payments are excluded. Events of other blocked payments are claimed and then released.
        """
        if len(self._excluded) < _MOST_EXCLUDED:
            self._excluded[key] = None

    def has_blocks_of(self, keys: Iterable[str]) -> bool:
        """Return whether any of these payments may be blocked. The cost does not grow with the number of blocks."""
        return not self._blocks.keys().isdisjoint(keys)

    def is_blocked(self, event: OutboxEvent) -> bool:
        """Return whether an earlier event of the payment blocks this event, or this event waits for its own retry."""
        blocks = self._blocks.get(event.aggregate_id)
        if blocks is None:
            return False
        # If a block has no due time and its event is pending again, an operator has replayed the event.
        return (
            any(position < event.position for position in blocks) or (event.aggregate_id, event.position) in self._due
        )

    def blocks(self) -> Iterator[Block]:
        """Yield every block that has a cause, in no particular order."""
        for key, positions in self._blocks.items():
            for position, cause in positions.items():
                if cause is not None:
                    yield Block(key, position, self._due.get((key, position)), cause)

    def release_due(self, now: float) -> None:
        """Remove the blocks that are due. If necessary, move the next claim back to the earliest unblocked event."""
        due = [place for place, at in self._due.items() if at <= now]
        for key, position in due:
            del self._due[key, position]
            self._blocks[key].pop(position, None)
            if not self._blocks[key]:
                del self._blocks[key]
            self._excluded.pop(key, None)
            if position <= self.position:
                self.position = (position[0], "")

    def next_due(self) -> float | None:
        """Return when the next block is due, or None if no block has a due time."""
        return min(self._due.values(), default=None)

    def _block_failed(self, connection: Connection, now: float, database_now: datetime) -> None:
        options = self.options
        failed = outbox.failed(connection, shard=self.shard, shards=options.shards, limit=_MOST_FAILED)
        for row in failed:
            wait = (row.position[0] + backoff(row.retry_count) - database_now).total_seconds()
            if not is_dead(row.retry_count, options.max_retries):
                if wait > 0:
                    self.block(Block(row.aggregate_id, row.position, now + wait, _RETRY_LATER))
            elif options.on_dead is OnDead.BLOCK:
                self.block(Block(row.aggregate_id, row.position, None, _DEAD))
        if len(failed) == _MOST_FAILED:  # there may be more failed events, which do not block their payments
            shard, shards, known = self.shard, options.shards, len(failed)
            log_event("publish_outbox_too_many_failed", level="error", shard=shard, shards=shards, known=known)
