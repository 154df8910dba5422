"""Find out why events are waiting now."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from sqlalchemy import Connection

from ticketbottle_payctl.formats import duration
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog, Block
from ticketbottle_payctl.jobs.publish_outbox.facts import BlockReason
from ticketbottle_payctl.jobs.publish_outbox.obstacles import MOST_NAMED, Blocker, LockedShard, Obstacles
from ticketbottle_payctl.jobs.publish_outbox.options import OnDead
from ticketbottle_payctl.store.outbox import dead as dead_events
from ticketbottle_payctl.store.outbox import held as held_events
from ticketbottle_payctl.store.outbox import shard_lock
from ticketbottle_payctl.store.outbox.held import Barrier, BlockingEvent, Held
from ticketbottle_payctl.store.outbox.oldest_pending import oldest_pending
from ticketbottle_payctl.store.outbox.shard_lock import Holder
from ticketbottle_payctl.store.outbox.unsent_successes import NONE_UNSENT, unsent_successes

_MOST_BARRIERS = 100_000
_WAITS_ITSELF = frozenset({BlockReason.RETRY_LATER, BlockReason.ROW_LOCKED})


def look(
    connection: Connection,
    backlogs: Sequence[Backlog],
    now: float,
    stopped: Mapping[str, str],
    locked: Iterable[int] = (),
) -> Obstacles:
    """Return the reasons why events are waiting at ``now``, which is in monotonic seconds.

    ``backlogs`` are the run's memory of its shards. ``stopped`` contains the event types whose topics cannot be written
    to. ``locked`` contains the shards that other publishers hold.
    """
    options = backlogs[0].options
    blocks = list(islice((block for backlog in backlogs for block in backlog.blocks()), _MOST_BARRIERS))
    # A topic counts as one reason, however many events are waiting for it.
    blocks = [block for block in blocks if block.cause and block.cause.why is not BlockReason.TOPIC]
    barriers = [
        Barrier(block.key, block.position, bool(block.cause and block.cause.why in _WAITS_ITSELF)) for block in blocks
    ]
    groups = held_events.held(connection, barriers, list(stopped), options.types, options.max_retries)
    found = [_blocker(blocks, group, now, stopped) for group in groups]
    with_events = {group.barrier for group in groups}
    failed = [number for number, block in enumerate(blocks) if block.cause and block.cause.why is BlockReason.FAILED]
    found += [_of_block(blocks[number], 0, now) for number in failed if number not in with_events]
    named = heapq.nlargest(MOST_NAMED, found, key=lambda each: (each.events, each.event_id or ""))
    dead = dead_events.count(connection, options.max_retries)
    oldest, dead_blocks = oldest_pending(connection, options.max_retries), options.on_dead is OnDead.BLOCK
    may_wait = dead.events > (dead.closed if dead_blocks and oldest is not None else dead.failures)
    blocking = [each.event_id for each in named if each.event_id]
    known = held_events.blocking_events(connection, blocking)
    return Obstacles(
        locked=[_locked(connection, shard, options.shards) for shard in locked],
        stopped=dict(stopped),
        blockers=[_explained(each, known) for each in named],
        held_by_type=sum((Counter(group.types) for group in groups), Counter()),
        failed=len(failed),
        causes=len(found),
        locked_rows=sum(each.reason is BlockReason.ROW_LOCKED for each in found),
        dead=dead.events,
        dead_failures=dead.failures,
        dead_closed=dead.closed,
        unsent=unsent_successes(connection, options.max_retries, blocking, dead_blocks=dead_blocks)
        if may_wait
        else NONE_UNSENT,
        oldest_pending_age_s=oldest,
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
    """Return the blocker, with the event's type, order code and error from the database."""
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
    """Describe a shard's holder, with its database session and the publisher that last took over the shard."""
    said = []
    if holder.pid is not None:
        about = [holder.application, holder.address and f"from {holder.address}"]
        whose = " ".join(each for each in about if each)
        said.append(f"database session {holder.pid}" + (f" ({whose})" if whose else ""))
    if holder.owner:
        host, _, process = shard_lock.name_of(holder.owner)[0].rpartition(":")
        said.append("last taken over by " + (f"process {process} on {host}" if host else process))
    if holder.shards != shards:
        said.append(f"PAYCTL_SHARDS is {holder.shards} there and {shards} here")
    return ", ".join(said) or "another publisher"
