"""Alarms about callbacks that do not come: what the watch of the payments measures."""

from __future__ import annotations

from deploy.alarms.model import NAMES, Alarm, Silence, of_gateway, of_lambda
from ticketbottle_payctl.metrics import Function
from ticketbottle_payctl.providers import GATEWAYS

_WATCH = Function.WATCH_PAYMENTS

ALARMS: tuple[Alarm, ...] = (
    *(
        Alarm(
            f"{NAMES[gateway]}Silent",
            f"for two hours payments were created and no genuine callback of {gateway} came",
            of_gateway(gateway, "CallbackSilence"),
            7200,
            period=300,
            bad=2,
            of=3,
            pages=True,
        )
        for gateway in GATEWAYS
    ),
    *(
        Alarm(
            f"{NAMES[gateway]}Unsettled",
            f"nine of ten payments of {gateway} are pending half an hour after their creation",
            of_gateway(gateway, "PaymentsUnsettled"),
            90,
            period=300,
            bad=2,
            of=3,
            pages=True,
        )
        for gateway in GATEWAYS
    ),
    Alarm(
        "WatchPaymentsSlow",
        "near its timeout of 30 s",
        of_lambda(_WATCH, "Duration", "p99"),
        24_000,
        period=300,
        bad=2,
        of=3,
    ),
    Alarm(
        "WatchPaymentsSilent",
        "nobody watches for missing callbacks",
        of_lambda(_WATCH, "Invocations"),
        below=1,
        period=900,
        silence=Silence.IS_A_FAULT,
    ),
    Alarm(
        "WatchPaymentsFails",
        "the watch for missing callbacks fails again and again",
        of_lambda(_WATCH, "Errors"),
        2,
        period=900,
    ),
    Alarm("WatchPaymentsDropped", "ticks that Lambda dropped", of_lambda(_WATCH, "AsyncEventsDropped"), 0, period=300),
)
