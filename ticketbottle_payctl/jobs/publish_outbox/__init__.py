"""Carry pending events to Kafka: at least once, in order per payment, never lost.

``run`` visits shards, ``shard`` drains one, ``lane`` claims a batch, ``batch`` sends it, ``sweep`` begins anew.
"""

from __future__ import annotations

from threading import Event

from sqlalchemy import Engine

from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.domain.cursor import START
from ticketbottle_payctl.jobs.publish_outbox.lane import LIMITS
from ticketbottle_payctl.jobs.publish_outbox.report import (
    DeadEvent,
    Lag,
    OnDead,
    PublishOptions,
    PublishReport,
    StoppedBecause,
    Tally,
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
    "PublishOptions",
    "PublishReport",
    "StoppedBecause",
    "Tally",
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

    An event is marked published in the transaction that is committed after the broker acknowledged it, and only
    then the next batch is sent. A crash anywhere sends one batch at most again, each event with the same id, and none
    behind a later one of its payment. A broker that is away changes no row.

    It ends within some fifteen seconds of a stop or of its budget, whatever the broker does.

    What ended a run early is the report's ``failure``. Each run leaves one line, ``publish_outbox_ended``, in the log.

    Raises:
        DatabaseUnavailableError: the database is away (a loop waits for it instead), and nothing was committed yet.
        ConfigError: payctl's schema or a privilege is missing, and nothing was committed yet.
        GuardError: Debezium publishes this outbox, and nothing was committed yet.
    """
    return Run(engine, producer, options, stop or Event(), observer or Observer()).to_the_end()


def preview_outbox(engine: Engine, options: PublishOptions) -> list[Waiting]:
    """What a run would claim now, by event type. Reads only."""
    wanted = Claim(after=START, limit=0, max_retries=options.max_retries, types=options.types)
    with transaction(engine, LIMITS, commit=False) as connection:
        return outbox.preview(connection, wanted)
