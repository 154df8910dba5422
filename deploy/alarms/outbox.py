"""Define the alarms about pending and dead events, the publisher and the cleanup.

The alarms about events and the publisher exist only if the function publishes.
"""

from __future__ import annotations

from dataclasses import replace

from deploy.alarms.model import PUBLISHES_HERE, Alarm, Silence, of_lambda, ours
from ticketbottle_payctl.metrics import Function

_OUTBOX, _CLEANUP = Function.PUBLISH_OUTBOX, Function.CLEANUP
_AGE = ours(_OUTBOX, "OutboxOldestPendingAge")

_PUBLISHER = (
    Alarm(
        "OutboxLate",
        "events have been waiting for more than two minutes",
        _AGE,
        120,
        bad=3,
        of=5,
        silence=Silence.IS_A_FAULT,
    ),
    Alarm(
        "OutboxStuck",
        "events have been waiting for more than ten minutes, so customers get no tickets",
        _AGE,
        600,
        bad=3,
        of=5,
        silence=Silence.IS_A_FAULT,
        pages=True,
    ),
    Alarm(
        "DeadEvents",
        "events have run out of retries, so customers may not get their tickets",
        ours(_OUTBOX, "OutboxDeadHarmful"),
        0,
        pages=True,
    ),
    Alarm(
        "PublishOutboxSlow",
        "the publisher is near its timeout of 120 s",
        of_lambda(_OUTBOX, "Duration", "p99"),
        96_000,
        bad=3,
        of=5,
    ),
    Alarm(
        "PublishOutboxSilent",
        "the publisher is not running",
        of_lambda(_OUTBOX, "Invocations"),
        below=1,
        period=300,
        silence=Silence.IS_A_FAULT,
        pages=True,
    ),
    Alarm("PublishOutboxFails", "the publisher keeps failing", of_lambda(_OUTBOX, "Errors"), 2, period=300),
    Alarm(
        "PublishOutboxDropped",
        "Lambda did not start some runs of the publisher",
        of_lambda(_OUTBOX, "AsyncEventsDropped"),
        0,
        period=300,
    ),
)

_CLEANING = (
    Alarm(
        "CleanupSlow",
        "the cleanup is near its timeout of 300 s, although it stops itself after 270 s",
        of_lambda(_CLEANUP, "Duration", "p99"),
        297_000,
        period=300,
    ),
    Alarm(
        "CleanupSilent",
        "the cleanup did not run last night",
        of_lambda(_CLEANUP, "Invocations"),
        below=1,
        period=3600,
        bad=27,  # hours: one day and the schedule's window
        of=27,
        silence=Silence.IS_A_FAULT,
    ),
    Alarm("CleanupFails", "the cleanup fails", of_lambda(_CLEANUP, "Errors"), 0, period=300),
    Alarm(
        "CleanupDropped",
        "Lambda did not start some runs of the cleanup",
        of_lambda(_CLEANUP, "AsyncEventsDropped"),
        0,
        period=300,
    ),
)

ALARMS: tuple[Alarm, ...] = (*(replace(alarm, condition=PUBLISHES_HERE) for alarm in _PUBLISHER), *_CLEANING)
