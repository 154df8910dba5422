"""Alarms about the scheduled repair of payments. They exist only if the function does."""

from __future__ import annotations

from dataclasses import replace

from deploy.alarms.model import Alarm, Silence, of_lambda, ours, unreadable_metrics
from ticketbottle_payctl.metrics import Function

_RECONCILE = Function.RECONCILE_PAYMENTS

_EACH = (
    Alarm(
        "ReconcileOverCap",
        "so many payments would be settled at once that the scheduled repair changed nothing",
        ours(_RECONCILE, "ReconcileOverCap"),
        0,
        period=900,
        pages=True,
    ),
    Alarm(
        "ReconcileForAPerson",
        "overdue payments that a person must look at",
        ours(_RECONCILE, "ReconcileForAPerson"),
        0,
        period=900,
    ),
    Alarm(
        "ReconcileUnanswered",
        "for 45 minutes a gateway did not answer questions about overdue payments",
        ours(_RECONCILE, "ReconcileUnanswered"),
        0,
        period=900,
        bad=3,
        of=3,
    ),
    Alarm(
        "ReconcileFailed",
        "payments that should have been settled and were not, twice",
        ours(_RECONCILE, "ReconcileFailed"),
        0,
        period=900,
        bad=2,
        of=3,
    ),
    Alarm(
        "ReconcilePaymentsSlow",
        "near its timeout of 300 s, though it ends itself at 270",
        of_lambda(_RECONCILE, "Duration", "p99"),
        290_000,
        period=900,
    ),
    Alarm(
        "ReconcilePaymentsSilent",
        "nobody repairs payments whose callback never came",
        of_lambda(_RECONCILE, "Invocations"),
        below=1,
        period=3600,
        silence=Silence.IS_A_FAULT,
    ),
    Alarm(
        "ReconcilePaymentsFails",
        "the scheduled repair fails again and again",
        of_lambda(_RECONCILE, "Errors"),
        0,
        period=900,
        bad=2,
        of=3,
    ),
    Alarm(
        "ReconcilePaymentsDropped",
        "ticks that Lambda dropped",
        of_lambda(_RECONCILE, "AsyncEventsDropped"),
        0,
        period=900,
    ),
    unreadable_metrics("ReconcilePayments"),
)

ALARMS: tuple[Alarm, ...] = tuple(replace(alarm, condition="ReconcilesPayments") for alarm in _EACH)
