"""Find out why events are waiting now: blocking events, locked shards, and unavailable services."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.errors import BrokerUnavailableError, PayctlError
from ticketbottle_payctl.formats import duration
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog, Block
from ticketbottle_payctl.jobs.publish_outbox.facts import BlockerFacts, BlockReason, LockFacts
from ticketbottle_payctl.store.outbox import dead as dead_events
from ticketbottle_payctl.store.outbox import held as held_events
from ticketbottle_payctl.store.outbox import shard_lock
from ticketbottle_payctl.store.outbox.held import Barrier, BlockingEvent, Held
from ticketbottle_payctl.store.outbox.oldest_pending import oldest_pending
from ticketbottle_payctl.store.outbox.shard_lock import Holder
from ticketbottle_payctl.store.outbox.unsent_successes import NONE_UNSENT, UnsentSuccesses, unsent_successes

_VARIES = re.compile(r"\([^()]*\)|[0-9]+")
_MOST_BARRIERS = 100_000
_MOST_NAMED = 20
_RETRIES = frozenset({BlockReason.RETRY_LATER, BlockReason.FAILED})
_WAITS_ITSELF = frozenset({BlockReason.RETRY_LATER, BlockReason.ROW_LOCKED})


class Blocker(NamedTuple):
    """A reason why pending events are waiting: an earlier event of their payment, or the topic for their type.

    ``events`` is the number of waiting events.
    """

    reason: BlockReason
    events: int
    event_id: str | None
    event_type: str | None
    detail: str | None
    retry_in_s: float | None = None
    order_code: str | None = None

    @property
    def facts(self) -> BlockerFacts:
        """The blocker's data, under the field names of the JSON output."""
        return {
            "reason": self.reason,
            "events": self.events,
            "event_id": self.event_id,
            "event_type": self.event_type,
            "detail": self.detail,
            "retry_in_s": self.retry_in_s,
        }


class LockedShard(NamedTuple):
    """A shard that another process holds.

    ``holder`` describes the process to the operator. ``who`` identifies the process in comparisons.
    """

    shard: int
    shards: int
    holder: str
    who: str

    @property
    def facts(self) -> LockFacts:
        """The shard's data, under the field names of the JSON output."""
        return {"shard": self.shard, "holder": self.holder}


@dataclass(frozen=True)
class Obstacles:
    """The reasons why events are waiting. If there is no reason, every pending event can be sent.

    ``away`` is the error of an unavailable service. ``locked`` lists the shards that other processes hold. ``stopped``
    contains the event types whose topic cannot be written to, even if no event waits for the topic. ``blockers`` are
    the reasons with the most waiting events.

    ``held`` counts the pending events that cannot be sent now. ``failed`` counts events that failed in this run and
    will be retried. ``dead`` counts the dead events in the outbox. ``dead_failures`` counts the dead events that no
    paying customer is waiting for, and ``dead_closed`` counts how many of these a person has closed. ``unsent`` are the
    other dead events, except those among the blockers.

    ``known`` is False if the database could not be read. In this case only ``away`` and ``stopped`` are set.
    """

    away: PayctlError | None = None
    locked: Sequence[LockedShard] = ()
    stopped: Mapping[str, str] = field(default_factory=dict)
    blockers: Sequence[Blocker] = ()
    held: int = 0
    failed: int = 0
    dead: int = 0
    dead_failures: int = 0
    dead_closed: int = 0
    unsent: UnsentSuccesses = NONE_UNSENT
    causes: int = 0
    """The number of reasons, including those that ``blockers`` does not list."""
    oldest_pending_age_s: float | None = None
    known: bool = True

    def __bool__(self) -> bool:
        """Return whether there is any reason why an event is waiting."""
        return bool(self.away or self.locked or self.stopped or self.blockers)

    @property
    def dead_successes(self) -> int:
        """The number of dead events that do not report a failed payment.

        A customer could be waiting for such an event.
        """
        return self.dead - self.dead_failures

    @property
    def facts(self) -> dict[str, object]:
        """The reasons, under the field names of the JSON output and the log."""
        return {
            "code": self.away.code if self.away else None,
            "held": self.held,
            "blocked_by": [each.facts for each in self.blockers],
            "locked_by": [each.facts for each in self.locked],
            "stopped_types": dict(self.stopped),
            "oldest_pending_age_s": self.oldest_pending_age_s,
        }

    def same_as(self, other: Obstacles) -> bool:
        """Return whether the operator would get the same message for ``other``. Counts and ages can differ.

        All retries count as one reason, because they change constantly. If there are too many blockers to list, all
        blockers of one kind also count as one reason.
        """
        return self._causes() == other._causes()

    def _causes(self) -> object:
        return (
            self.away and _kind(self.away),
            [(each.shard, each.who) for each in self.locked],
            dict(self.stopped),
            {self._blocked_by(each) for each in self.blockers},
        )

    def _blocked_by(self, blocker: Blocker) -> tuple[str, str | None]:
        if blocker.reason in _RETRIES:
            return "retry", None
        return blocker.reason, (blocker.event_id or blocker.event_type) if self.causes <= _MOST_NAMED else None


def _kind(error: PayctlError) -> tuple[str, str]:
    """Return an error's code and its message without the parts that change with each attempt, such as times."""
    if isinstance(error, BrokerUnavailableError):
        return error.code, ""
    return error.code, _VARIES.sub("", error.message)


def look(
    connection: Connection,
    backlogs: Sequence[Backlog],
    now: float,
    stopped: Mapping[str, str],
    locked: Iterable[int] = (),
) -> Obstacles:
    """Return the reasons why events are waiting at ``now``, which is in monotonic seconds.

    ``backlogs`` are the run's memory of its shards. ``stopped`` contains the event types whose topic cannot be written
    to. ``locked`` are the numbers of the shards that other publishers hold.
    """
    options = backlogs[0].options
    blocks = list(islice((block for backlog in backlogs for block in backlog.blocks()), _MOST_BARRIERS))
    # A topic counts as one reason, no matter how many events are waiting for it.
    blocks = [block for block in blocks if block.cause and block.cause.why is not BlockReason.TOPIC]
    barriers = [
        Barrier(block.key, block.position, bool(block.cause and block.cause.why in _WAITS_ITSELF)) for block in blocks
    ]
    groups = held_events.held(connection, barriers, list(stopped), options.types, options.max_retries)
    found = [_blocker(blocks, group, now, stopped) for group in groups]
    with_events = {group.barrier for group in groups}
    failed = [number for number, block in enumerate(blocks) if block.cause and block.cause.why is BlockReason.FAILED]
    found += [_of_block(blocks[number], 0, now) for number in failed if number not in with_events]
    named = heapq.nlargest(_MOST_NAMED, found, key=lambda each: (each.events, each.event_id or ""))
    dead = dead_events.count(connection, options.max_retries)
    may_wait = dead.events > dead.failures
    blocking = [each.event_id for each in named if each.event_id]
    known = held_events.blocking_events(connection, blocking)
    return Obstacles(
        locked=[_locked(connection, shard, options.shards) for shard in locked],
        stopped=dict(stopped),
        blockers=[_explained(each, known) for each in named],
        held=sum(group.events for group in groups),
        failed=len(failed),
        causes=len(found),
        dead=dead.events,
        dead_failures=dead.failures,
        dead_closed=dead.closed,
        unsent=unsent_successes(connection, options.max_retries, blocking) if may_wait else NONE_UNSENT,
        oldest_pending_age_s=oldest_pending(connection, options.max_retries),
    )


def _blocker(blocks: Sequence[Block], group: Held, now: float, stopped: Mapping[str, str]) -> Blocker:
    if group.barrier is not None:
        return _of_block(blocks[group.barrier], group.events, now)
    return Blocker(BlockReason.TOPIC, group.events, None, group.event_type, stopped.get(group.event_type or ""))


def _of_block(block: Block, events: int, now: float) -> Blocker:
    assert block.cause is not None  # noqa: S101 - for the type checker
    retry_in = None if block.due is None else round(max(0.0, block.due - now), 1)
    return Blocker(block.cause.why, events, block.position[1], None, block.cause.detail, retry_in)


def _explained(blocker: Blocker, known: Mapping[str, BlockingEvent]) -> Blocker:
    """Return the blocker. Add the type, order code and error of its event from the database."""
    event = known.get(blocker.event_id or "")
    if event is None:
        return blocker
    detail = blocker.detail or event.last_error
    if blocker.reason is BlockReason.ROW_LOCKED:
        detail = _session(event)
    return blocker._replace(event_type=event.event_type, detail=detail, order_code=event.order_code)


def _session(event: BlockingEvent) -> str | None:
    if event.locked_by is None:
        return None
    about = [event.application, event.session_state, f"for {duration(event.locked_s)}" if event.locked_s else None]
    return f"session {event.locked_by} ({', '.join(each for each in about if each)})"


def _locked(connection: Connection, shard: int, shards: int) -> LockedShard:
    holders = shard_lock.holders(connection, shard, shards)
    if not holders:
        return LockedShard(shard, shards, "another publisher", "")
    return LockedShard(shard, shards, _holder(holders[0], shards), holders[0].owner or str(holders[0].pid))


def _holder(holder: Holder, shards: int) -> str:
    """Describe a shard's holder: its database session, and the publisher that last took over the shard."""
    said = []
    if holder.pid is not None:
        about = [holder.application, holder.address and f"from {holder.address}"]
        whose = " ".join(each for each in about if each)
        said.append(f"database session {holder.pid}" + (f" ({whose})" if whose else ""))
    if holder.owner:
        host, _, process = holder.owner.rpartition(":")[0].rpartition(":")
        said.append(f"last taken over by process {process} on {host}")
    if holder.shards != shards:
        said.append(f"PAYCTL_SHARDS is {holder.shards} there and {shards} here")
    return ", ".join(said) or "another publisher"
