"""Test the pointers to dead events in SQS and the alerts in SNS, with moto's server."""

from __future__ import annotations

import json

import pytest

from ticketbottle_payctl.aws.alerts import (
    EVENT_DEAD,
    MEANINGS,
    SHORTEST_BETWEEN,
    AlertTopic,
    DeadEventQueue,
    Pointer,
    quick_client,
)


def pointers(count):
    """Return ``count`` different pointers to dead events."""
    return [Pointer(f"event-{n}", f"payment-{n}", "PAYMENT_COMPLETED", 5, "MSG_SIZE_TOO_LARGE") for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 10, 25])
def test_each_dead_event_is_one_pointer_on_the_queue(cloud, count):
    """The SQS queue gets one message for each dead event, with the event's ids but not its payload."""
    queue = cloud.queue()
    sender = DeadEventQueue(queue)
    sender.send(pointers(count))
    found = cloud.messages(queue)
    assert sorted(message["eventId"] for message in found) == sorted(f"event-{n}" for n in range(count))
    assert all(message.keys() == {"eventId", "aggregateId", "eventType", "attempts", "errorClass"} for message in found)
    assert sender.failed == 0


def test_a_missing_queue_raises_no_error_and_is_called_once(cloud):
    """`DeadEventQueue` counts the pointers that it cannot send, and does not try a missing queue again."""
    asked = []

    def client(service):
        asked.append(service)
        return quick_client(service)

    sender = DeadEventQueue(f"{cloud.url}/123456789012/no-such-queue", client=client)
    sender.send(pointers(25))
    sender.send(pointers(5))
    assert (sender.failed, asked) == (30, ["sqs"])


def test_without_queue_or_topic_no_alert_is_sent():
    """The queue and the topic are optional. Without them, payctl does not create an AWS client or raise an error."""
    DeadEventQueue(None, client=None).send(pointers(3))
    assert AlertTopic(None, env="test", client=None).tell("late_money")


def published(cloud, queue):
    """Return the subject and the body of each message that the topic delivered."""
    return [(json.loads(json.dumps(m))["Subject"], m["Message"]) for m in cloud.messages(queue)]


@pytest.mark.parametrize("kind", sorted(MEANINGS))
def test_an_alert_has_its_kind_ids_meaning_and_runbook_entry(cloud, clock, kind):
    """An alert gives its kind in the subject and its ids in the body, and does not contain secrets."""
    arn, queue = cloud.topic()
    topic = AlertTopic(arn, env="test", clock=clock)
    assert topic.tell(kind, order_code="TB-1", payment_id=None, note="line\none  key=" + "a" * 64)
    ((subject, text),) = published(cloud, queue)
    assert subject == f"[payctl test] {kind}"
    assert text.startswith(MEANINGS[kind])
    assert ("order_code: TB-1\n" in text, "payment_id" in text, "a" * 64 in text) == (True, False, False)
    assert f"see {kind} in the runbook" in text


def test_alerts_of_one_kind_are_limited_to_one_in_five_minutes(cloud, clock):
    """Only one alert of each kind is sent in five minutes. The next alert contains the count of suppressed alerts.

    The limit for one kind does not delay another kind.
    """
    arn, queue = cloud.topic()
    topic = AlertTopic(arn, env="test", clock=clock)
    assert all(topic.tell("wrong_amount") for _ in range(50))
    assert topic.tell(EVENT_DEAD)
    assert len(published(cloud, queue)) == 2
    clock.now += SHORTEST_BETWEEN
    assert topic.tell("wrong_amount")
    ((_, text),) = published(cloud, queue)
    assert "left out since the last message of this kind: 49" in text


def test_an_unavailable_topic_raises_no_error_and_is_called_once(cloud, clock):
    """If the alert topic is unavailable, payctl continues without an error, and tries again only after five minutes."""
    asked = []

    def client(service):
        asked.append(service)
        return quick_client(service)

    topic = AlertTopic(f"{cloud.topic()[0]}-that-is-not-there", env="test", clock=clock, client=client)
    assert [topic.tell("late_money") for _ in range(10)] == [False] + [True] * 9
    assert asked == ["sns"]
