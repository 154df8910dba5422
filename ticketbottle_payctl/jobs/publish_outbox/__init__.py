"""Publish pending events to Kafka: at least once, in order per payment, never lost.

``run`` drains the shards again and again within its ``budget``. ``shard`` drains one: its ``pipeline`` claims batches,
``batch`` sends one and decides about its events, and its ``backlog`` remembers where to look next and what is blocked.
"""

from __future__ import annotations

from threading import Event

from sqlalchemy import Engine

from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.domain.event import START
from ticketbottle_payctl.jobs.publish_outbox.facts import StoppedBecause
from ticketbottle_payctl.jobs.publish_outbox.pipeline import LIMITS
from ticketbottle_payctl.jobs.publish_outbox.report import (
    DeadEvent,
    Lag,
    OnDead,
    PublishCounts,
    PublishOptions,
    PublishReport,
)
from ticketbottle_payctl.jobs.publish_outbox.run import Observer, Run
from ticketbottle_payctl.store.db.engine import transaction
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox.claim import Claim, Waiting

__all__ = [
    "DeadEvent",
    "Lag",
    "Observer",
    "OnDead",
    "PublishCounts",
    "PublishOptions",
    "PublishReport",
    "StoppedBecause",
    "preview_outbox",
    "publish_outbox",
]


def publish_outbox(
    engine: Engine,
    producer: Producer,
    options: PublishOptions,
    *,
    stop: Event | None = None,
    observer: Observer | None = None,
) -> PublishReport:
    """Publish pending events until none is left, or in a loop until ``stop`` is set.

    An event is committed as published only after the broker acknowledged it, and the next batch is sent only after
    that commit. After a crash at most one batch is sent again. Each event has the same id then, and none comes after a
    later one of its payment. A broker that is unavailable changes no row.

    The run ends within about fifteen seconds of a stop or of its budget, whatever the broker does. The report's
    ``failure`` says what ended it early. Each run writes one line to the log, ``publish_outbox_ended``.

    Raises:
        DatabaseUnavailableError: the database is unavailable and nothing was committed yet. A loop waits instead.
        ConfigError: payctl's schema or a privilege is missing, and nothing was committed yet.
        GuardError: Debezium publishes this outbox, and nothing was committed yet.
    """
    return Run(engine, producer, options, stop or Event(), observer or Observer()).run()


def preview_outbox(engine: Engine, options: PublishOptions) -> list[Waiting]:
    """Return what a run would claim now, by event type. Change nothing."""
    wanted = Claim(after=START, limit=0, max_retries=options.max_retries, types=options.types)
    with transaction(engine, LIMITS, commit=False) as connection:
        return outbox.preview(connection, wanted)
