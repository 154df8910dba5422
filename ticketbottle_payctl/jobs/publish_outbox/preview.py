"""Find out which events a run would publish, and which would die, without changing or sending any."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.domain.event import START, Position
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog, Block, Cause
from ticketbottle_payctl.jobs.publish_outbox.facts import BlockReason
from ticketbottle_payctl.jobs.publish_outbox.find_obstacles import look
from ticketbottle_payctl.jobs.publish_outbox.obstacles import Obstacles
from ticketbottle_payctl.jobs.publish_outbox.options import OnDead, PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.pipeline import LIMITS
from ticketbottle_payctl.store.db.engine import transaction
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox import held, shard_lock
from ticketbottle_payctl.store.outbox.claim import Claim, Waiting
from ticketbottle_payctl.store.outbox.held import Unsendable


class Preview(NamedTuple):
    """A preview of a run.

    ``waiting`` lists the pending events by type. ``obstacles`` says why events cannot be sent, and which shards are
    held. ``dying`` are the events that would die, oldest first.
    """

    waiting: list[Waiting]
    obstacles: Obstacles
    dying: Sequence[Unsendable]


def preview_outbox(engine: Engine, options: PublishOptions) -> Preview:
    """Return the events that a run would claim, and the reasons why other events cannot be sent.

    This function does not claim or send events, and does not connect to a broker.

    Raises:
        DatabaseUnavailableError: the database is unavailable.
        ConfigError: payctl's schema or a privilege is missing.
        GuardError: Debezium is publishing this outbox.
    """
    wanted = Claim(after=START, limit=0, max_retries=options.max_retries, types=options.types)
    backlogs = [Backlog(options, shard) for shard in range(options.shards)]
    with transaction(engine, LIMITS, commit=False) as connection:
        waiting, now = outbox.preview(connection, wanted), time.monotonic()
        for backlog in backlogs:
            backlog.rescan(connection, now)
        dying = _dying(connection, backlogs)
        if options.on_dead is OnDead.BLOCK:
            for each in dying:
                backlogs[0].block(Block(each.key, each.position, None, Cause(BlockReason.WOULD_DIE)))
        obstacles = look(connection, backlogs, now, {}, shard_lock.held_shards(connection, options.shards))
    return Preview(waiting, obstacles, dying)


def _dying(connection: Connection, backlogs: Sequence[Backlog]) -> list[Unsendable]:
    """Return the events that would die in this run, oldest first.

    An event does not die yet if it waits for its retry, or behind an earlier event of its payment.
    """
    options = backlogs[0].options
    first_only = options.on_dead is OnDead.BLOCK
    found = held.unsendable(connection, options.types, options.max_retries, first_only=first_only)
    blocked: dict[str, Position] = {}
    for block in (each for backlog in backlogs for each in backlog.blocks()) if found else ():
        blocked[block.key] = min(block.position, blocked.get(block.key, block.position))
    return [each for each in found if each.key not in blocked or each.position < blocked[each.key]]
