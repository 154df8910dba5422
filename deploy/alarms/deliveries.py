"""Define the alarms about lost invocations, undelivered messages, and metric lines that CloudWatch cannot read."""

from __future__ import annotations

from dataclasses import replace

from deploy.alarms.model import PUBLISHES_HERE, Alarm, Watch, ours, unreadable_metrics
from ticketbottle_payctl.metrics import Function

_WEBHOOK, _OUTBOX, _CLEANUP = Function.WEBHOOK, Function.PUBLISH_OUTBOX, Function.CLEANUP


def _waiting_in(queue: str) -> Watch:
    name = "ApproximateNumberOfMessagesVisible"
    return Watch("AWS/SQS", name, {"QueueName": {"Fn::GetAtt": [queue, "QueueName"]}}, "Maximum")


def _alert_failed(name: str, function: Function) -> Alarm:
    return Alarm(f"{name}AlertFailed", "messages to SQS or SNS could not be sent", ours(function, "AlertFailed"), 0)


ALARMS: tuple[Alarm, ...] = (
    Alarm("InvocationsLost", "ticks failed permanently", _waiting_in("InvocationDlq"), 0, period=300),
    Alarm(
        "DeadEventsWaiting",
        "messages about dead events are waiting in the queue",
        _waiting_in("DeadEventQueue"),
        0,
        period=300,
    ),
    Alarm(
        "SchedulerDropped",
        "the scheduler could not start some runs of the functions",
        Watch("AWS/Scheduler", "InvocationDroppedCount", {"ScheduleGroup": {"Ref": "ScheduleGroup"}}, "Sum"),
        0,
        period=300,
    ),
    Alarm(
        "NobodyTold",
        "the alert topic could not deliver a message",
        Watch(
            "AWS/SNS", "NumberOfNotificationsFailed", {"TopicName": {"Fn::GetAtt": ["AlarmTopic", "TopicName"]}}, "Sum"
        ),
        0,
        period=300,
    ),
    *(_alert_failed(name, function) for name, function in (("Webhook", _WEBHOOK), ("Cleanup", _CLEANUP))),
    *(unreadable_metrics(name) for name in ("Webhook", "Cleanup", "WatchPayments", "Probe")),
    *(
        replace(alarm, condition=PUBLISHES_HERE)
        for alarm in (_alert_failed("PublishOutbox", _OUTBOX), unreadable_metrics("PublishOutbox"))
    ),
)
