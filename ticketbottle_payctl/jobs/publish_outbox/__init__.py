"""Publish pending events to Kafka, at least once and in order per payment.

``run`` drains the shards repeatedly within its ``budget``. ``shard`` drains one shard. ``pipeline`` claims the shard's
batches. ``batch`` sends a batch and decides the result for each event. ``backlog`` remembers where the shard's next
claim begins and which payments are blocked. ``find_obstacles`` finds out why events are waiting.
"""

from __future__ import annotations

from dataclasses import replace
from threading import Event

from sqlalchemy import Engine

from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.jobs.publish_outbox.facts import BlockReason, StoppedBecause
from ticketbottle_payctl.jobs.publish_outbox.observer import Observer
from ticketbottle_payctl.jobs.publish_outbox.obstacles import Blocker, LockedShard, Obstacles
from ticketbottle_payctl.jobs.publish_outbox.options import OnDead, PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.pipeline import LIMITS
from ticketbottle_payctl.jobs.publish_outbox.preview import Preview, preview_outbox
from ticketbottle_payctl.jobs.publish_outbox.report import DeadEvent, LagPercentiles, PublishCounts, PublishReport
from ticketbottle_payctl.jobs.publish_outbox.run import PublisherRun
from ticketbottle_payctl.store.outbox import cdc
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
