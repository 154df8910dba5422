"""Define the alarms about the function that settles overdue payments. They exist only if this function exists."""

from __future__ import annotations

from dataclasses import replace

from deploy.alarms.model import Alarm, Silence, of_lambda, ours, unreadable_metrics
from ticketbottle_payctl.metrics import Function

_RECONCILE = Function.RECONCILE_PAYMENTS

_EACH = (
    Alarm(
        "ReconcileOverCap",
        "the scheduled repair would have settled too many payments at once, so it changed nothing",
        ours(_RECONCILE, "ReconcileOverCap"),
        0,
        period=900,
        pages=True,
    ),
    Alarm(
        "ReconcileForAPerson",
        "overdue payments need manual review",
        ours(_RECONCILE, "ReconcileForAPerson"),
        0,
        period=900,
    ),
    Alarm(
        "ReconcileUnanswered",
        "a gateway has not answered queries about overdue payments for 45 minutes",
        ours(_RECONCILE, "ReconcileUnanswered"),
        0,
        period=900,
        bad=3,
        of=3,
    ),
    Alarm(
        "ReconcileFailed",
        "the scheduled repair could not settle some payments in two of three periods",
        ours(_RECONCILE, "ReconcileFailed"),
        0,
        period=900,
        bad=2,
        of=3,
    ),
    Alarm(
        "ReconcilePaymentsSlow",
        "the scheduled repair is near its timeout of 300 s, although it stops itself after 270 s",
        of_lambda(_RECONCILE, "Duration", "p99"),
        290_000,
        period=900,
    ),
    Alarm(
        "ReconcilePaymentsSilent",
        "the scheduled repair of payments without a callback does not run",
        of_lambda(_RECONCILE, "Invocations"),
        below=1,
        period=3600,
        silence=Silence.IS_A_FAULT,
    ),
    Alarm(
        "ReconcilePaymentsFails",
        "the scheduled repair keeps failing",
        of_lambda(_RECONCILE, "Errors"),
        0,
        period=900,
        bad=2,
        of=3,
    ),
    Alarm(
        "ReconcilePaymentsDropped",
        "Lambda did not start some runs of the scheduled repair",
        of_lambda(_RECONCILE, "AsyncEventsDropped"),
        0,
        period=900,
    ),
    unreadable_metrics("ReconcilePayments"),
)

ALARMS: tuple[Alarm, ...] = tuple(replace(alarm, condition="ReconcilesPayments") for alarm in _EACH)
