"""Publish pending events to Kafka, at least once and in order per payment.

``run`` drains the shards repeatedly within its ``budget``. ``shard`` drains one shard: its ``pipeline`` claims batches,
and ``batch`` sends a batch and decides about its events. Its ``backlog`` remembers where the next claim begins and
which payments are blocked. ``obstacles`` finds out why events wait.
"""

from __future__ import annotations

import time
from threading import Event
from typing import NamedTuple

from sqlalchemy import Engine

from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.domain.event import START
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog
from ticketbottle_payctl.jobs.publish_outbox.facts import BlockReason, StoppedBecause
from ticketbottle_payctl.jobs.publish_outbox.obstacles import Blocker, LockedShard, Obstacles, look
from ticketbottle_payctl.jobs.publish_outbox.options import OnDead, PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.pipeline import LIMITS
from ticketbottle_payctl.jobs.publish_outbox.report import DeadEvent, LagPercentiles, PublishCounts, PublishReport
from ticketbottle_payctl.jobs.publish_outbox.run import Observer, PublisherRun
from ticketbottle_payctl.store.db.engine import transaction
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox import shard_lock
from ticketbottle_payctl.store.outbox.claim import Claim, Waiting

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
    """A preview of a run: the pending events by type, the waiting events, and the publishers that hold a shard now."""

    waiting: list[Waiting]
    obstacles: Obstacles


def publish_outbox(
    engine: Engine,
    producer: Producer,
    options: PublishOptions,
    *,
    stop: Event | None = None,
    observer: Observer | None = None,
) -> PublishReport:
    """Publish pending events until none is left, or in a loop until ``stop`` is set.

    An event is committed as published only after the broker acknowledged it, and the next batch is sent only after that
    commit. After a crash at most one batch is sent again. A repeated event has the same id, and is never sent after a
    later event of its payment. If a broker is unavailable, no row is changed.

    The run ends within about fifteen seconds of a stop or of its budget, whatever the broker does. If it ended early,
    the report's ``failure`` says why. Each run writes one line to the log, ``publish_outbox_ended``.

    Raises:
        DatabaseUnavailableError: the database is unavailable and nothing was committed yet. A loop waits instead.
        ConfigError: payctl's schema or a privilege is missing, and nothing was committed yet.
        GuardError: Debezium publishes this outbox, and nothing was committed yet.
    """
    return PublisherRun(engine, producer, options, stop or Event(), observer or Observer()).run()


def preview_outbox(engine: Engine, options: PublishOptions) -> Preview:
    """Return which events a run would claim and which are held now. Claim nothing, send nothing, and ask no broker.

    Raises:
        DatabaseUnavailableError: the database is unavailable.
        ConfigError: payctl's schema or a privilege is missing.
        GuardError: Debezium publishes this outbox.
    """
    wanted = Claim(after=START, limit=0, max_retries=options.max_retries, types=options.types)
    backlogs = [Backlog(options, shard) for shard in range(options.shards)]
    with transaction(engine, LIMITS, commit=False) as connection:
        waiting, now = outbox.preview(connection, wanted), time.monotonic()
        for backlog in backlogs:
            backlog.rescan(connection, now)
        return Preview(waiting, look(connection, backlogs, now, {}, shard_lock.held_shards(connection, options.shards)))
