"""Define the types for alarms and for the metrics that they watch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ticketbottle_payctl.formats import PROVIDERS
from ticketbottle_payctl.metrics import BY_NAME, BY_PROVIDER, NAMESPACE, Function
from ticketbottle_payctl.providers import GATEWAYS

Json = dict[str, Any]

LOGICAL = {
    Function.WEBHOOK: "WebhookFunction",
    Function.PUBLISH_OUTBOX: "PublishOutboxFunction",
    Function.CLEANUP: "CleanupFunction",
    Function.WATCH_PAYMENTS: "WatchPaymentsFunction",
    Function.RECONCILE_PAYMENTS: "ReconcilePaymentsFunction",
    Function.PROBE: "ProbeFunction",
    Function.BEFORE_TRAFFIC: "BeforeTrafficFunction",
}
"""The logical id of each function in the template."""

PUBLISHES_HERE = "PublishesHere"
"""The template's condition for a stack whose function publishes the events."""


NAMES = {name: re.sub("[A-Z]+(?=[A-Z][a-z]|$)", lambda run: run[0].capitalize(), PROVIDERS[name]) for name in GATEWAYS}
"""Each gateway's spelling in alarm names, such as ``PayOs`` for PayOS."""


class Silence(StrEnum):
    """The meaning of a missing value: either nothing happened, or something is broken."""

    IS_FINE = "notBreaching"
    IS_A_FAULT = "breaching"


@dataclass(frozen=True, slots=True)
class Watch:
    """A metric with its dimensions and statistic. The statistic gives one value for each period."""

    namespace: str | Json
    name: str
    dimensions: Json
    statistic: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that fires if the value is higher than ``above`` or lower than ``below`` in ``bad`` of ``of`` periods.

    The value comes from ``watch``. With ``share_of``, the value is ``watch`` as a percentage of ``share_of``. This
    percentage is 0 if ``watch`` is less than ``at_least``, because percentages of small counts mean little. A period
    lasts ``period`` seconds. ``pages`` marks alarms that cannot wait until morning. ``condition`` is the template's
    condition for creating the watched resource. The alarm exists only if this condition is true.
    """

    name: str
    meaning: str
    watch: Watch
    above: float | None = None
    below: float | None = None
    period: int = 60
    bad: int = 1
    of: int = 1
    silence: Silence = Silence.IS_FINE
    share_of: Watch | None = None
    at_least: int = 1
    pages: bool = False
    condition: str | None = None

    @property
    def logical_id(self) -> str:
        """Return the alarm's logical id in the template."""
        return f"{self.name}Alarm"


def ours(function: Function, name: str) -> Watch:
    """Return a metric that a function emits, with the statistic from the list of metrics.

    Raises:
        KeyError: the metric does not exist.
        ValueError: this function does not emit the metric.
    """
    metric = BY_NAME[name]
    if function not in metric.functions:
        message = f"{function} does not emit {name}"
        raise ValueError(message)
    return Watch(NAMESPACE, name, {"env": {"Ref": "Environment"}, "function": function.value}, metric.statistic.value)


def of_gateway(gateway: str, name: str) -> Watch:
    """Return a metric that a function emits for each gateway, with the statistic from the list of metrics.

    Raises:
        KeyError: the metric does not exist.
        ValueError: the metric is not emitted for each gateway, or the gateway is unknown.
    """
    metric = BY_NAME[name]
    if BY_PROVIDER not in metric.dimensions or gateway not in GATEWAYS:
        message = f"no function emits {name} for {gateway}"
        raise ValueError(message)
    return Watch(NAMESPACE, name, {"env": {"Ref": "Environment"}, "provider": gateway}, metric.statistic.value)


def of_lambda(function: Function, name: str, statistic: str = "Sum") -> Watch:
    """Return a metric that the Lambda service emits for a function."""
    return Watch("AWS/Lambda", name, {"FunctionName": {"Ref": LOGICAL[function]}}, statistic)


def unreadable_metrics(name: str) -> Alarm:
    """Return an alarm that fires if CloudWatch cannot read a function's metric lines."""
    watch = Watch("AWS/Logs", "EMFParsingErrors", {"LogGroupName": {"Ref": f"{name}LogGroup"}}, "Sum")
    return Alarm(f"{name}Metrics", f"CloudWatch cannot parse metric lines from {name}Function", watch, 0, period=300)
