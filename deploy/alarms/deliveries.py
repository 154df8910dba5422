"""Define the alarms about lost invocations, undelivered messages, and metric lines that CloudWatch cannot read."""

from __future__ import annotations

from deploy.alarms.model import Alarm, Watch, ours, unreadable_metrics
from ticketbottle_payctl.metrics import Function

_WEBHOOK, _OUTBOX, _CLEANUP = Function.WEBHOOK, Function.PUBLISH_OUTBOX, Function.CLEANUP


def _waiting_in(queue: str) -> Watch:
    name = "ApproximateNumberOfMessagesVisible"
    return Watch("AWS/SQS", name, {"QueueName": {"Fn::GetAtt": [queue, "QueueName"]}}, "Maximum")


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
        "the scheduler dropped ticks",
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
    *(
        Alarm(f"{name}AlertFailed", "messages to SQS or SNS could not be sent", ours(function, "AlertFailed"), 0)
        for name, function in (("Webhook", _WEBHOOK), ("PublishOutbox", _OUTBOX), ("Cleanup", _CLEANUP))
    ),
    *(unreadable_metrics(name) for name in ("Webhook", "PublishOutbox", "Cleanup", "WatchPayments", "Probe")),
)
