"""Delete old published events once a day, and report dead events, which are never deleted."""

from __future__ import annotations

from datetime import timedelta

from lambda_entrypoints import runtime
from lambda_entrypoints.warm import Warm
from ticketbottle_payctl.aws.alerts import EVENT_DEAD
from ticketbottle_payctl.jobs.cleanup import CleanupReport, cleanup
from ticketbottle_payctl.metrics import Amount, Function, emit, of_outbox
from ticketbottle_payctl.wiring import Services

RESERVE_SECONDS = 30.0
"""The seconds reserved to finish the batch that is running at the time limit, and to count the remaining events."""


def handler(event: object, context: object) -> dict[str, object]:  # noqa: ARG001 - a schedule's event has no data
    """Run one cleanup. The next cleanup deletes the events that this cleanup does not reach.

    Raises:
        UnavailableError: the database cannot be reached. Committed batches stay deleted.
        ConfigError: a setting is invalid, or payctl's schema or a privilege is missing.
    """
    with runtime.invocation(Function.CLEANUP, context) as warm:
        report = warm.attempt(lambda services: _clean(services, context), "DATABASE_URL")
        emit(Function.CLEANUP, _amounts(report) | {"AlertFailed": _told(warm, report)}, env=warm.env)
        counts = report.counts
        return {"stopped_because": report.stopped_because, "deleted": counts["deleted"], "dead": counts["dead"]}


def _clean(services: Services, context: object) -> CleanupReport:
    settings = services.settings
    return cleanup(
        services.engine,
        retention=settings.retention,
        max_retries=settings.max_retries,
        max_duration=timedelta(seconds=runtime.seconds_left(context, RESERVE_SECONDS)),
    )


def _amounts(report: CleanupReport) -> dict[str, Amount]:
    found = report.unpublished
    return {
        "CleanupDeleted": report.deleted,
        "CleanupRemaining": report.remaining,
    } | of_outbox(report.pending, report.dead, found.oldest_pending_age_s)


def _told(warm: Warm, report: CleanupReport) -> int:
    """Send an alert if there are dead events that no operator has closed. Return how many alerts were not sent.

    If all dead events are harmless, the alert does not contain their age.
    """
    events = report.dead - report.closed
    age = {} if report.oldest_dead_s is None else {"oldest_age_s": round(report.oldest_dead_s)}
    return int(events > 0 and not warm.topic.tell(EVENT_DEAD, events=events, **age))
