"""List the Lambda functions' metrics. The template's alarms and dashboard are generated from this list.

A function writes a metric as a line of JSON to stdout, in CloudWatch's embedded metric format. This format does not
need requests, an agent or an endpoint.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

NAMESPACE = "Payctl"

Amount = float | Sequence[float]
"""One value, or a sequence of at most :data:`MOST_VALUES` values."""

MOST_VALUES = 100
"""The maximum number of a metric's values in one line."""


class Function(StrEnum):
    """A Lambda function. A member's value is the function's name in the ``function`` dimension."""

    WEBHOOK = "webhook"
    PUBLISH_OUTBOX = "publish_outbox"
    CLEANUP = "cleanup"
    WATCH_PAYMENTS = "watch_payments"
    RECONCILE_PAYMENTS = "reconcile_payments"
    PROBE = "probe"
    BEFORE_TRAFFIC = "before_traffic"


class Unit(StrEnum):
    """A metric's unit, in CloudWatch's spelling."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"
    SECONDS = "Seconds"
    PERCENT = "Percent"


class Statistic(StrEnum):
    """The statistic that summarises the values in a period.

    The average is not used, because it would hide the worst values.
    """

    SUM = "Sum"
    MAXIMUM = "Maximum"
    MINIMUM = "Minimum"
    P99 = "p99"


BY_FUNCTION = ("env", "function")
BY_PROVIDER = ("env", "provider")
BY_VERSION = ("env", "version")
"""The only sets of dimensions in use. CloudWatch bills each combination of dimension values as a separate metric."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that one or more functions emit. ``meaning`` says what the metric measures.

    If ``always`` is True, every run of the function emits the metric, even if its value is zero. Therefore a missing
    value means a fault.
    """

    name: str
    unit: Unit
    statistic: Statistic
    functions: tuple[Function, ...]
    meaning: str
    dimensions: tuple[tuple[str, ...], ...] = (BY_FUNCTION,)
    always: bool = False


def _webhook(name: str, meaning: str, unit: Unit = Unit.COUNT, statistic: Statistic = Statistic.SUM) -> Metric:
    return Metric(name, unit, statistic, (Function.WEBHOOK,), meaning, (BY_FUNCTION, BY_PROVIDER))


def _watched(name: str, meaning: str, unit: Unit = Unit.COUNT) -> Metric:
    return Metric(name, unit, Statistic.MAXIMUM, (Function.WATCH_PAYMENTS,), meaning, (BY_PROVIDER,))


def _published(name: str, meaning: str) -> Metric:
    return Metric(name, Unit.COUNT, Statistic.SUM, (Function.PUBLISH_OUTBOX,), meaning, always=True)


def _reconciled(name: str, meaning: str, statistic: Statistic = Statistic.MAXIMUM) -> Metric:
    return Metric(name, Unit.COUNT, statistic, (Function.RECONCILE_PAYMENTS,), meaning, always=True)


_EVERY = tuple(Function)
_ALERTING = (Function.WEBHOOK, Function.PUBLISH_OUTBOX, Function.CLEANUP)
_WATCHERS = (Function.PUBLISH_OUTBOX, Function.CLEANUP)

METRICS: tuple[Metric, ...] = (
    _webhook("WebhookReceived", "requests that reached the function"),
    _webhook("WebhookAccepted", "genuine callbacks that settled a payment, or that needed no change"),
    _webhook("WebhookDuplicate", "genuine callbacks for payments that were already settled"),
    _webhook(
        "WebhookRefused", "refused callbacks: not genuine, unreadable, for an unknown payment or with a wrong amount"
    ),
    _webhook(
        "WebhookProbed",
        "refused callbacks from payctl's own probe, which are forged; the other counters leave them out",
    ),
    _webhook("WebhookRejectedSignature", "callbacks that are not genuine, or not for this merchant"),
    _webhook("WebhookRejectedAmount", "genuine callbacks whose amount differs from the payment's"),
    _webhook("WebhookUnknownOrder", "genuine callbacks for a payment that is not in the database"),
    _webhook("WebhookMoneyAlert", "genuine callbacks that need manual review, because money is involved"),
    _webhook("WebhookMalformed", "requests that are not callbacks: unknown gateway, unknown format, or too large"),
    _webhook("WebhookUnreadable", "callbacks with a valid signature that payctl cannot act on"),
    _webhook("WebhookNotConfigured", "callbacks from a gateway whose keys are not set"),
    replace(
        _webhook("WebhookTransientError", "callbacks that payctl asked the gateway to repeat"),
        dimensions=(BY_FUNCTION, BY_PROVIDER, BY_VERSION),
    ),
    _webhook(
        "WebhookLatency",
        "the time from the event to the reply, including verification, reading secrets and database work",
        Unit.MILLISECONDS,
        Statistic.P99,
    ),
    _webhook(
        "DbLatency",
        "the part of WebhookLatency during which the function waits for the database",
        Unit.MILLISECONDS,
        Statistic.P99,
    ),
    _published("OutboxPublished", "events acknowledged by Kafka and committed as published"),
    _published("OutboxFailed", "events that failed, and pending events that are held"),
    _published("OutboxRetried", "events that failed and will be retried"),
    _published("OutboxDead", "events that ran out of retries"),
    _published("OutboxBatches", "committed batches"),
    Metric(
        "PublishLatency",
        Unit.MILLISECONDS,
        Statistic.P99,
        (Function.PUBLISH_OUTBOX,),
        "the time from an event's creation to Kafka's acknowledgement",
    ),
    Metric("OutboxPending", Unit.COUNT, Statistic.MAXIMUM, _WATCHERS, "events waiting to be published", always=True),
    Metric("OutboxDeadTotal", Unit.COUNT, Statistic.MAXIMUM, _WATCHERS, "dead events (out of retries)", always=True),
    Metric(
        "OutboxDeadHarmful",
        Unit.COUNT,
        Statistic.MAXIMUM,
        (Function.PUBLISH_OUTBOX,),
        "dead events (out of retries), except those counted in OutboxDeadSuperseded",
        always=True,
    ),
    Metric(
        "OutboxDeadSuperseded",
        Unit.COUNT,
        Statistic.MAXIMUM,
        (Function.PUBLISH_OUTBOX,),
        "harmless dead events: the customer paid later, and no event is waiting behind them",
        always=True,
    ),
    Metric(
        "OutboxOldestPendingAge",
        Unit.SECONDS,
        Statistic.MAXIMUM,
        _WATCHERS,
        "the age of the oldest pending event; 0 if no event is pending",
        always=True,
    ),
    Metric(
        "CleanupDeleted",
        Unit.COUNT,
        Statistic.SUM,
        (Function.CLEANUP,),
        "expired events that were deleted",
        always=True,
    ),
    Metric(
        "CleanupRemaining",
        Unit.COUNT,
        Statistic.MAXIMUM,
        (Function.CLEANUP,),
        "expired events that are still in the table",
        always=True,
    ),
    _watched("PaymentsOverdue", "payments that are 30 to 90 minutes old and still PENDING"),
    _watched(
        "PaymentsUnsettled",
        "the proportion of payments 30 to 90 minutes old that are still PENDING; 0 if fewer than five are that old",
        Unit.PERCENT,
    ),
    _watched(
        "CallbackSilence", "how long payments have been created without a genuine callback arriving", Unit.SECONDS
    ),
    _reconciled("ReconcileSettled", "payments that were settled with their gateway's response", Statistic.SUM),
    _reconciled("ReconcileFailed", "payments that could not be settled: the row was locked, or time ran out"),
    _reconciled("ReconcileOpen", "overdue payments that their gateway also reports as pending"),
    _reconciled("ReconcileOverCap", "payments in a plan that was refused because it is over the cap"),
    _reconciled("ReconcileUnanswered", "overdue payments for which no trustworthy response arrived"),
    _reconciled("ReconcileForAPerson", "overdue payments that need manual review"),
    Metric(
        "ProbeRefused",
        Unit.COUNT,
        Statistic.MINIMUM,
        (Function.PROBE,),
        "forged callbacks from the probe that were refused",
        always=True,
    ),
    Metric(
        "ProbeFailed",
        Unit.COUNT,
        Statistic.MAXIMUM,
        (Function.PROBE,),
        "forged callbacks from the probe that got no reply",
        always=True,
    ),
    Metric("ColdStart", Unit.COUNT, Statistic.SUM, _EVERY, "execution environments that were started"),
    Metric("AlertFailed", Unit.COUNT, Statistic.SUM, _ALERTING, "messages to SQS or SNS that could not be sent"),
)

BY_NAME = {metric.name: metric for metric in METRICS}


def of_outbox(pending: int, dead: int, oldest_pending_age_s: float | None) -> dict[str, Amount]:
    """Return the metrics of the outbox's current state, by name."""
    age = round(oldest_pending_age_s or 0.0, 3)
    return {"OutboxPending": pending, "OutboxDeadTotal": dead, "OutboxOldestPendingAge": age}


def of_dead(dead: int, harmless: int) -> dict[str, Amount]:
    """Return the metrics that count harmful and harmless dead events."""
    return {"OutboxDeadHarmful": max(0, dead - harmless), "OutboxDeadSuperseded": harmless}


def emf(  # noqa: PLR0913 - one argument for each dimension
    function: Function,
    amounts: Mapping[str, Amount],
    *,
    env: str,
    at: float,
    provider: str | None = None,
    version: str | None = None,
) -> list[str]:
    """Return JSON lines with these amounts, one line for each set of dimensions. ``at`` is in seconds since 1970.

    Raises:
        KeyError: no metric in :data:`METRICS` has this name.
        ValueError: :data:`METRICS` does not list the metric for this function.
    """
    values = {"env": env, "function": function.value, "provider": provider, "version": version}
    chosen = [BY_NAME[name] for name in amounts]
    if any(function not in metric.functions for metric in chosen):
        message = "a function may emit only the metrics that are listed for it"
        raise ValueError(message)
    lines = []
    for dimensions in (BY_FUNCTION, BY_PROVIDER, BY_VERSION):
        metrics = [metric for metric in chosen if dimensions in metric.dimensions and amounts[metric.name] != []]
        if not metrics or any(values[name] is None for name in dimensions):
            continue
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [list(dimensions)],
            "Metrics": [{"Name": metric.name, "Unit": metric.unit.value} for metric in metrics],
        }
        line: dict[str, object] = {"_aws": {"Timestamp": int(at * 1000), "CloudWatchMetrics": [directive]}}
        line |= {name: values[name] for name in dimensions}
        line |= {metric.name: amounts[metric.name] for metric in metrics}
        lines.append(json.dumps(line))
    return lines


def emit(
    function: Function,
    amounts: Mapping[str, Amount],
    *,
    env: str,
    provider: str | None = None,
    version: str | None = None,
) -> None:
    """Write the lines to stdout and flush, because the process may then be frozen or end immediately."""
    for line in emf(function, amounts, env=env, at=time.time(), provider=provider, version=version):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
