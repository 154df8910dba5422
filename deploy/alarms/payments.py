"""Define the alarms about missing callbacks, which use the metrics from ``watch_payments``."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.alarms.model import NAMES, Alarm, Silence, of_gateway, of_lambda
from ticketbottle_payctl.formats import PROVIDERS
from ticketbottle_payctl.metrics import Function
from ticketbottle_payctl.providers import GATEWAYS

_WATCH = Function.WATCH_PAYMENTS


def _of_each_gateway(name: str, meaning: str, metric: str, above: float) -> Iterator[Alarm]:
    """Yield one alarm about missing callbacks for each gateway. These alarms page the on-call engineer.

    ``{}`` in ``meaning`` is replaced with the gateway's display name.
    """
    for gateway in GATEWAYS:
        watch = of_gateway(gateway, metric)
        yield Alarm(
            f"{NAMES[gateway]}{name}",
            meaning.format(PROVIDERS[gateway]),
            watch,
            above,
            period=300,
            bad=2,
            of=3,
            pages=True,
        )


ALARMS: tuple[Alarm, ...] = (
    *_of_each_gateway(
        "Silent",
        "for two hours, payments were created but no genuine callback arrived from {}",
        "CallbackSilence",
        7200,
    ),
    *_of_each_gateway(
        "Unsettled",
        "more than nine of ten {} payments are pending half an hour after they were created",
        "PaymentsUnsettled",
        90,
    ),
    Alarm(
        "WatchPaymentsSlow",
        "the check for missing callbacks is near its timeout of 30 s",
        of_lambda(_WATCH, "Duration", "p99"),
        24_000,
        period=300,
        bad=2,
        of=3,
    ),
    Alarm(
        "WatchPaymentsSilent",
        "the check for missing callbacks does not run",
        of_lambda(_WATCH, "Invocations"),
        below=1,
        period=900,
        silence=Silence.IS_A_FAULT,
    ),
    Alarm(
        "WatchPaymentsFails",
        "the check for missing callbacks keeps failing",
        of_lambda(_WATCH, "Errors"),
        2,
        period=900,
    ),
    Alarm(
        "WatchPaymentsDropped",
        "Lambda did not start some runs of the check for missing callbacks",
        of_lambda(_WATCH, "AsyncEventsDropped"),
        0,
        period=300,
    ),
)
