"""Publish pending events to Kafka, at least once and in order per payment.

``run`` drains the shards repeatedly within its ``budget``. ``shard`` drains one shard. ``pipeline`` claims the shard's
batches. ``batch`` sends a batch and decides the result for each event. ``backlog`` remembers where the shard's next
claim begins and which payments are blocked. ``find_obstacles`` finds out why events are waiting.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from threading import Event
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.domain.event import START
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog, Block, Cause
from ticketbottle_payctl.jobs.publish_outbox.facts import BlockReason, StoppedBecause
from ticketbottle_payctl.jobs.publish_outbox.find_obstacles import look
from ticketbottle_payctl.jobs.publish_outbox.observer import Observer
from ticketbottle_payctl.jobs.publish_outbox.obstacles import Blocker, LockedShard, Obstacles
from ticketbottle_payctl.jobs.publish_outbox.options import OnDead, PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.pipeline import LIMITS
from ticketbottle_payctl.jobs.publish_outbox.report import DeadEvent, LagPercentiles, PublishCounts, PublishReport
from ticketbottle_payctl.jobs.publish_outbox.run import PublisherRun
from ticketbottle_payctl.store.db.engine import transaction
from ticketbottle_payctl.store.outbox import cdc, held, shard_lock
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox.claim import Claim, Waiting
from ticketbottle_payctl.store.payctl.run_lifecycle import optional_run
from ticketbottle_payctl.store.payctl.runs import NewRun, RunStatus

__all__ = [
    "BlockReason",
    "Blocker",
    "DeadEvent",
    "LagPercentiles",
    "LockedShard",
    "Observer",
    "Obstacles",
    "OnDead",
    "Preview",
    "PublishCounts",
    "PublishOptions",
    "PublishReport",
    "StoppedBecause",
    "preview_outbox",
    "publish_outbox",
]


class Preview(NamedTuple):
    """A preview of a run.

    ``waiting`` lists the pending events by type. ``obstacles`` says why events cannot be sent, and which shards are
    held. An event of an unknown type that is not held would die.
    """

    waiting: list[Waiting]
    obstacles: Obstacles


def publish_outbox(  # noqa: PLR0913 - the job needs each of them
    engine: Engine,
    producer: Producer,
    options: PublishOptions,
    *,
    stop: Event | None = None,
    observer: Observer | None = None,
    recorded_as: NewRun | None = None,
) -> PublishReport:
    """Publish pending events until none is left, or in a loop until ``stop`` is set.

    An event is committed as published only after the broker has acknowledged it. The next batch is sent only after that
    commit, so at most one batch is repeated after a crash. A repeated event has the same id, and is never sent after a
    later event of the same payment. If no broker is available, the run does not change any rows. After a stop signal,
    or when its time limit is reached, the run ends within about 15 seconds, even if the broker hangs. If an error ended
    the run early, it is in the report's ``failure``. Each run logs the event ``publish_outbox_ended``. With
    ``recorded_as``, the run is also recorded in ``payctl.runs``, if the role is allowed to record it.

    Raises:
        DatabaseUnavailableError: the database is unavailable and nothing was committed yet. A loop does not raise this
            error, but waits and tries again.
        ConfigError: payctl's schema or a privilege is missing, and nothing was committed yet.
        GuardError: Debezium is publishing this outbox, and nothing was committed yet.
    """
    with optional_run(engine, recorded_as, LIMITS, check=cdc.refuse_while_debezium_publishes) as record:
        report = PublisherRun(engine, producer, options, stop or Event(), observer or Observer()).run()
        complete = report.stopped_because is StoppedBecause.EMPTY
        ended_by = report.failure.code if report.failure else report.stopped_because.value
        status = RunStatus.DONE if complete else RunStatus.INCOMPLETE
        record.end(status, report.counts.by_name, ended_by=None if complete else ended_by)
    return replace(report, run_id=record.id, unrecorded=record.unrecorded)


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
        if options.on_dead is OnDead.BLOCK:
            _block_behind_dying(connection, backlogs)
        return Preview(waiting, look(connection, backlogs, now, {}, shard_lock.held_shards(connection, options.shards)))


def _block_behind_dying(connection: Connection, backlogs: Sequence[Backlog]) -> None:
    """Block the payments of pending events of unknown types, as a run does when such an event dies."""
    dying = held.of_unknown_types(connection, backlogs[0].options.max_retries)
    known = {(block.key, block.position) for backlog in backlogs for block in backlog.blocks()} if dying else set()
    for each in dying:
        if each not in known:  # an event that waits for its retry does not die yet
            backlogs[0].block(Block(*each, None, Cause(BlockReason.WOULD_DIE)))
