"""Define the alarms: which metric each one watches, and when it alerts a person.

Alarms and dashboard are made from the list in ``ticketbottle_payctl.metrics``, so they cannot name a metric that no
function emits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from deploy.dashboard import dashboard
from ticketbottle_payctl.metrics import BY_NAME, BY_PROVIDER, NAMESPACE, Function
from ticketbottle_payctl.providers import GATEWAYS

Json = dict[str, Any]

LOGICAL = {
    Function.WEBHOOK: "WebhookFunction",
    Function.PUBLISH_OUTBOX: "PublishOutboxFunction",
    Function.CLEANUP: "CleanupFunction",
    Function.WATCH_PAYMENTS: "WatchPaymentsFunction",
    Function.PROBE: "ProbeFunction",
    Function.BEFORE_TRAFFIC: "BeforeTrafficFunction",
}
"""The functions' names in the template."""


NAMES = {"zalopay": "ZaloPay", "payos": "PayOs", "vnpay": "VnPay", "momo": "MoMo"}
"""The gateways' names in the names of their alarms."""


class Silence(StrEnum):
    """How an alarm treats a missing value: as if nothing happened, or as a fault."""

    IS_FINE = "notBreaching"
    IS_A_FAULT = "breaching"


@dataclass(frozen=True, slots=True)
class Watch:
    """A metric with its dimensions and its statistic. It has one value in each period."""

    namespace: str | Json
    name: str
    dimensions: Json
    statistic: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm if ``watch`` is above ``above`` (or below ``below``) in ``bad`` of ``of`` periods of ``period`` seconds.

    With ``share_of``, the value is ``watch`` in percent of ``share_of``. It is 0 if ``watch`` is below ``at_least``,
    because a share of very few values means nothing. ``pages`` marks alarms that cannot wait until morning.
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

    @property
    def logical_id(self) -> str:
        """The alarm's name in the template."""
        return f"{self.name}Alarm"


def ours(function: Function, name: str) -> Watch:
    """Return a metric that a function emits, with the statistic from the list.

    Raises:
        KeyError: there is no such metric.
        ValueError: this function does not emit it.
    """
    metric = BY_NAME[name]
    if function not in metric.functions:
        message = f"{function} does not emit {name}"
        raise ValueError(message)
    return Watch(NAMESPACE, name, {"env": {"Ref": "Environment"}, "function": function.value}, metric.statistic.value)


def of_gateway(gateway: str, name: str) -> Watch:
    """Return a metric that a function emits for each gateway, with the statistic from the list.

    Raises:
        KeyError: there is no such metric.
        ValueError: it is not emitted for each gateway.
    """
    metric = BY_NAME[name]
    if BY_PROVIDER not in metric.dimensions or gateway not in GATEWAYS:
        message = f"no function emits {name} for {gateway}"
        raise ValueError(message)
    return Watch(NAMESPACE, name, {"env": {"Ref": "Environment"}, "provider": gateway}, metric.statistic.value)


def of_lambda(function: Function, name: str, statistic: str = "Sum") -> Watch:
    """Return a metric that Lambda itself emits for a function."""
    return Watch("AWS/Lambda", name, {"FunctionName": {"Ref": LOGICAL[function]}}, statistic)


def _waiting_in(queue: str) -> Watch:
    name = "ApproximateNumberOfMessagesVisible"
    return Watch("AWS/SQS", name, {"QueueName": {"Fn::GetAtt": [queue, "QueueName"]}}, "Maximum")


_WEBHOOK, _OUTBOX, _CLEANUP = Function.WEBHOOK, Function.PUBLISH_OUTBOX, Function.CLEANUP
_WATCH, _PROBE = Function.WATCH_PAYMENTS, Function.PROBE
_AGE = ours(_OUTBOX, "OutboxOldestPendingAge")
_NEWEST = {"Fn::GetAtt": ["WebhookFunction.Version", "Version"]}
_OWN = {"Fn::Sub": f"{NAMESPACE}/${{AWS::StackName}}"}

ALARMS: tuple[Alarm, ...] = (
    Alarm("OutboxLate", "events wait for more than two minutes", _AGE, 120, bad=3, of=5, silence=Silence.IS_A_FAULT),
    Alarm(
        "OutboxStuck",
        "events wait for more than ten minutes: tickets are not made",
        _AGE,
        600,
        bad=3,
        of=5,
        silence=Silence.IS_A_FAULT,
        pages=True,
    ),
    Alarm("DeadEvents", "events are out of retries", ours(_OUTBOX, "OutboxDeadTotal"), 0, pages=True),
    Alarm("Money", "a genuine callback that a person must look at", ours(_WEBHOOK, "WebhookMoneyAlert"), 0, pages=True),
    Alarm(
        "ForgedCallbacks",
        "many callbacks are not genuine: an attack, or a key that was rotated",
        ours(_WEBHOOK, "WebhookRejectedSignature"),
        20,
        period=300,
    ),
    *(
        Alarm(
            f"{NAMES[gateway]}Refused",
            f"payctl refuses more than a fifth of the callbacks of {gateway}, three or more in 15 minutes",
            of_gateway(gateway, "WebhookRefused"),
            20,
            period=900,
            share_of=of_gateway(gateway, "WebhookReceived"),
            at_least=3,
            pages=True,
        )
        for gateway in GATEWAYS
    ),
    Alarm(
        "Unreadable",
        "a genuine callback whose content payctl cannot act on",
        ours(_WEBHOOK, "WebhookUnreadable"),
        0,
    ),
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
        "NotConfigured", "callbacks of a gateway without keys", ours(_WEBHOOK, "WebhookNotConfigured"), 0, period=300
    ),
    Alarm(
        "WebhookTryAgain",
        "more than 1 % of the callbacks are answered with: try again",
        ours(_WEBHOOK, "WebhookTransientError"),
        1,
        bad=3,
        of=5,
        share_of=ours(_WEBHOOK, "WebhookReceived"),
        pages=True,
    ),
    # These two watch only the newest version. They have no data until it gets callbacks, whatever the previous one
    # does.
    Alarm(
        "NewVersionTryAgain",
        "the newest version of the webhook answers with: try again",
        Watch(
            NAMESPACE,
            "WebhookTransientError",
            {"env": {"Ref": "Environment"}, "version": _NEWEST},
            BY_NAME["WebhookTransientError"].statistic.value,
        ),
        0,
    ),
    Alarm(
        "NewVersionErrors",
        "the newest version of the webhook fails or is ended",
        Watch(
            "AWS/Lambda",
            "Errors",
            {
                "FunctionName": {"Ref": "WebhookFunction"},
                "Resource": {"Fn::Sub": "${WebhookFunction}:live"},
                "ExecutedVersion": _NEWEST,
            },
            "Sum",
        ),
        0,
    ),
    Alarm(
        "WebhookErrors",
        "the webhook itself fails or is ended",
        of_lambda(_WEBHOOK, "Errors"),
        1,
        bad=3,
        of=5,
        share_of=of_lambda(_WEBHOOK, "Invocations"),
        pages=True,
    ),
    Alarm(
        "ApiErrors",
        "the API answers with 5xx",
        Watch(_OWN, "ApiErrors", {}, "Sum"),
        0,
        bad=2,
        of=5,
    ),
    Alarm(
        "DoorClosed",
        "no forgery of the function probe is refused as it should be: callbacks do not get through",
        ours(_PROBE, "ProbeRefused"),
        below=1,
        period=300,
        bad=2,
        of=3,
        silence=Silence.IS_A_FAULT,
        pages=True,
    ),
    Alarm(
        "ProbeFailed",
        "a gateway's route does not refuse a forgery as it should",
        ours(_PROBE, "ProbeFailed"),
        0,
        period=300,
        bad=2,
        of=3,
    ),
    Alarm("WebhookThrottled", "Lambda turns callbacks away", of_lambda(_WEBHOOK, "Throttles"), 0, bad=2, of=3),
    Alarm(
        "ApiThrottled",
        "the API turns callbacks away (429), genuine ones too",
        Watch(_OWN, "ApiThrottled", {}, "Sum"),
        0,
        period=300,
        pages=True,
    ),
    Alarm("WebhookSlow", "near its timeout of 10 s", of_lambda(_WEBHOOK, "Duration", "p99"), 8_000, bad=3, of=5),
    Alarm(
        "PublishOutboxSlow",
        "near its timeout of 120 s",
        of_lambda(_OUTBOX, "Duration", "p99"),
        96_000,
        bad=3,
        of=5,
    ),
    Alarm(
        "CleanupSlow",
        "near its timeout of 300 s, though it ends itself at 270",
        of_lambda(_CLEANUP, "Duration", "p99"),
        297_000,
        period=300,
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
        "PublishOutboxSilent",
        "the outbox's processor does not run",
        of_lambda(_OUTBOX, "Invocations"),
        below=1,
        period=300,
        silence=Silence.IS_A_FAULT,
        pages=True,
    ),
    Alarm("PublishOutboxFails", "the processor fails again and again", of_lambda(_OUTBOX, "Errors"), 2, period=300),
    Alarm(
        "CleanupSilent",
        "the cleanup did not run last night",
        of_lambda(_CLEANUP, "Invocations"),
        below=1,
        period=3600,
        bad=27,  # one day, plus the window of the schedule
        of=27,
        silence=Silence.IS_A_FAULT,
    ),
    Alarm(
        "ProbeSlow", "near its timeout of 120 s", of_lambda(_PROBE, "Duration", "p99"), 96_000, period=300, bad=2, of=3
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
    Alarm("CleanupFails", "the cleanup fails", of_lambda(_CLEANUP, "Errors"), 0, period=300),
    Alarm("InvocationsLost", "ticks that failed for good", _waiting_in("InvocationDlq"), 0, period=300),
    Alarm(
        "DeadEventsWaiting", "pointers to dead events wait in the queue", _waiting_in("DeadEventQueue"), 0, period=300
    ),
    Alarm("PublishOutboxDropped", "ticks that Lambda dropped", of_lambda(_OUTBOX, "AsyncEventsDropped"), 0, period=300),
    Alarm("CleanupDropped", "ticks that Lambda dropped", of_lambda(_CLEANUP, "AsyncEventsDropped"), 0, period=300),
    Alarm("WatchPaymentsDropped", "ticks that Lambda dropped", of_lambda(_WATCH, "AsyncEventsDropped"), 0, period=300),
    Alarm(
        "SchedulerDropped",
        "ticks that the scheduler dropped",
        Watch("AWS/Scheduler", "InvocationDroppedCount", {"ScheduleGroup": {"Ref": "ScheduleGroup"}}, "Sum"),
        0,
        period=300,
    ),
    Alarm(
        "NobodyTold",
        "the topic could not deliver",
        Watch(
            "AWS/SNS", "NumberOfNotificationsFailed", {"TopicName": {"Fn::GetAtt": ["AlarmTopic", "TopicName"]}}, "Sum"
        ),
        0,
        period=300,
    ),
    *(
        Alarm(f"{name}AlertFailed", "messages to SQS or SNS that were not sent", ours(function, "AlertFailed"), 0)
        for name, function in (("Webhook", _WEBHOOK), ("PublishOutbox", _OUTBOX), ("Cleanup", _CLEANUP))
    ),
    *(
        Alarm(
            f"{name}Metrics",
            "metric lines that CloudWatch does not understand",
            Watch("AWS/Logs", "EMFParsingErrors", {"LogGroupName": {"Ref": f"{name}LogGroup"}}, "Sum"),
            0,
            period=300,
        )
        for name in ("Webhook", "PublishOutbox", "Cleanup", "WatchPayments", "Probe")
    ),
)


def resources() -> dict[str, Json]:
    """Return the template's resources that are made from this list: alarms, the pager's alarm, and the dashboard."""
    made = {alarm.logical_id: _alarm(alarm) for alarm in ALARMS}
    made["PaymentsUnhealthyAlarm"] = _composite([alarm for alarm in ALARMS if alarm.pages])
    made["Dashboard"] = dashboard([alarm.logical_id for alarm in ALARMS])
    return made


def _alarm(alarm: Alarm) -> Json:
    """Return an alarm's resource. It sends a message when the alarm starts and when it ends."""
    topic = [{"Ref": "AlarmTopic"}]
    properties: Json = {
        "AlarmName": {"Fn::Sub": f"${{AWS::StackName}}-{alarm.name}"},
        "AlarmDescription": f"payctl: {alarm.meaning}. What to do: docs/runbook.md, {alarm.name}.",
        "ComparisonOperator": "GreaterThanThreshold" if alarm.above is not None else "LessThanThreshold",
        "Threshold": alarm.above if alarm.above is not None else alarm.below,
        "DatapointsToAlarm": alarm.bad,
        "EvaluationPeriods": alarm.of,
        "TreatMissingData": alarm.silence.value,
        "AlarmActions": topic,
        "OKActions": topic,
    }
    if alarm.share_of is None:
        kind = "Statistic" if alarm.watch.statistic in {"Sum", "Maximum", "Minimum"} else "ExtendedStatistic"
        properties |= _metric(alarm.watch) | {kind: alarm.watch.statistic, "Period": alarm.period}
    else:
        share = f"IF(all > 0 AND part >= {alarm.at_least}, 100 * part / all, 0)"
        properties["Metrics"] = [
            {"Id": "share", "Label": alarm.meaning, "Expression": share},
            _series("part", alarm.watch, alarm.period),
            _series("all", alarm.share_of, alarm.period),
        ]
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}


def _metric(watch: Watch) -> Json:
    dimensions = [{"Name": name, "Value": value} for name, value in watch.dimensions.items()]
    found: Json = {"Namespace": watch.namespace, "MetricName": watch.name}
    return found | {"Dimensions": dimensions} if dimensions else found


def _series(name: str, watch: Watch, period: int) -> Json:
    stat = {"Metric": _metric(watch), "Period": period, "Stat": watch.statistic}
    return {"Id": name, "MetricStat": stat, "ReturnData": False}


def _composite(alarms: list[Alarm]) -> Json:
    """Return the alarm for the pager. It combines all alarms that cannot wait until morning."""
    rule = " OR ".join(f'ALARM("${{{alarm.logical_id}}}")' for alarm in alarms)
    properties = {
        "AlarmName": {"Fn::Sub": "${AWS::StackName}-PaymentsUnhealthy"},
        "AlarmDescription": "payctl: people pay and may get no ticket. What to do: docs/runbook.md, PaymentsUnhealthy.",
        "AlarmRule": {"Fn::Sub": rule},
        "AlarmActions": [{"Ref": "AlarmTopic"}],
        "OKActions": [{"Ref": "AlarmTopic"}],
    }
    return {"Type": "AWS::CloudWatch::CompositeAlarm", "Properties": properties}
