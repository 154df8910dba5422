"""Publish events on a schedule, and return before Lambda ends the invocation."""

from __future__ import annotations

from datetime import timedelta
from threading import Event

from lambda_entrypoints import outbox_measures, runtime
from lambda_entrypoints.warm import Warm
from ticketbottle_payctl.errors import ConfigError, PayctlError
from ticketbottle_payctl.jobs.measure_outbox import count_harmless_dead, measure_outbox
from ticketbottle_payctl.jobs.publish_outbox import Observer, PublishOptions, PublishReport, publish_outbox
from ticketbottle_payctl.metrics import Amount, Function, emit, of_dead, of_outbox
from ticketbottle_payctl.wiring import Services

RESERVE_SECONDS = 20.0
"""The seconds reserved to finish a run after the time budget is spent."""

_SECRETS = ("DATABASE_URL", "KAFKA_USERNAME", "KAFKA_PASSWORD")


def handler(event: object, context: object) -> dict[str, object]:  # noqa: ARG001 - a schedule's event has no data
    """Run one publisher. Metrics are sent even if part of the run fails.

    Waiting events, or a shard that another publisher holds, are not failures. In these cases, the log contains
    ``publish_outbox_waiting``. Alarms watch the age of the oldest pending event.

    Raises:
        UnavailableError: the database or the brokers cannot be reached.
        ConfigError: a setting is invalid, or the credentials were refused.
    """
    with runtime.invocation(Function.PUBLISH_OUTBOX, context) as warm:
        report = warm.attempt(lambda services: _publish(warm, services, context), *_SECRETS)
        return {"stopped_because": report.stopped_because, "published": report.counts.published}


def _publish(warm: Warm, services: Services, context: object) -> PublishReport:
    settings, stop = services.settings, Event()
    left = runtime.seconds_left(context, RESERVE_SECONDS)
    budget = min(settings.loop, timedelta(seconds=left)) or timedelta(seconds=left)
    options = PublishOptions(
        settings.batch_size, settings.max_retries, budget=budget, loop=bool(settings.loop), shards=settings.shards
    )
    dead = outbox_measures.NewlyDead(warm, settings.dead_events_queue, settings.max_retries)

    def on_wait(error: PayctlError, _seconds: float) -> None:
        if isinstance(error, ConfigError) and warm.environ.renew(_SECRETS):
            stop.set()  # the secrets have changed, so the next run may be able to connect

    amounts: dict[str, Amount] = outbox_measures.of_publishing(None, 0)
    try:
        # Each run has its own producer, because the connections and tokens of a frozen producer are no longer valid.
        with Services(warm.environ, engine=services.engine) as run:
            observer = Observer(
                on_progress=dead.on_progress, on_wait=on_wait, on_obstacles=outbox_measures.log_obstacles
            )
            report = publish_outbox(run.engine, run.producer, options, stop=stop, observer=observer)
        amounts = outbox_measures.of_publishing(report, dead.failed)
        size = measure_outbox(services.engine, settings.max_retries)
        amounts |= of_outbox(size.pending, size.dead, size.oldest_pending_age_s)
        amounts |= of_dead(size.dead, 0)  # if the next query fails, the alarm counts every dead event
        if size.dead:
            amounts |= of_dead(size.dead, count_harmless_dead(services.engine, settings.max_retries))
    finally:
        emit(Function.PUBLISH_OUTBOX, amounts, env=warm.env)
    if stop.is_set():
        return _publish(warm, warm.services(*_SECRETS), context)
    if report.failure is not None:
        raise report.failure
    return report
