"""Pointers on SQS and messages on SNS, on moto's server."""

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
    """Distinct ones."""
    return [Pointer(f"event-{n}", f"payment-{n}", "PAYMENT_COMPLETED", 5, "MSG_SIZE_TOO_LARGE") for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 10, 25])
def test_each_dead_event_is_one_pointer_on_the_queue(cloud, count):
    """However many there are; nothing of what the event says is in it."""
    queue = cloud.queue()
    sender = DeadEventQueue(queue)
    sender.send(pointers(count))
    found = cloud.messages(queue)
    assert sorted(message["eventId"] for message in found) == sorted(f"event-{n}" for n in range(count))
    assert all(message.keys() == {"eventId", "aggregateId", "eventType", "attempts", "errorClass"} for message in found)
    assert sender.failed == 0


def test_a_queue_that_is_not_there_fails_nothing_and_is_asked_once(cloud):
    """The run goes on; what was not sent is counted."""
    asked = []

    def client(service):
        asked.append(service)
        return quick_client(service)

    sender = DeadEventQueue(f"{cloud.url}/123456789012/no-such-queue", client=client)
    sender.send(pointers(25))
    sender.send(pointers(5))
    assert (sender.failed, asked) == (30, ["sqs"])


def test_without_an_address_nothing_is_sent():
    """Both are optional; AWS's client is not even made."""
    DeadEventQueue(None, client=None).send(pointers(3))
    assert AlertTopic(None, env="test", client=None).tell("late_money")


def published(cloud, queue):
    """The messages that came through the topic."""
    return [(json.loads(json.dumps(m))["Subject"], m["Message"]) for m in cloud.messages(queue)]


@pytest.mark.parametrize("kind", sorted(MEANINGS))
def test_a_message_says_what_it_means_and_where_to_look(cloud, clock, kind):
    """The kind is in the subject, the ids are in the text, and nothing that looks like a secret is."""
    arn, queue = cloud.topic()
    topic = AlertTopic(arn, env="test", clock=clock)
    assert topic.tell(kind, order_code="TB-1", payment_id=None, note="line\none  key=" + "a" * 64)
    ((subject, text),) = published(cloud, queue)
    assert subject == f"[payctl test] {kind}"
    assert text.startswith(MEANINGS[kind])
    assert ("order_code: TB-1\n" in text, "payment_id" in text, "a" * 64 in text) == (True, False, False)
    assert f"runbook, {kind}" in text


def test_a_storm_of_one_kind_is_one_message_in_five_minutes(cloud, clock):
    """The next one says how many were left out; another kind does not wait for it."""
    arn, queue = cloud.topic()
    topic = AlertTopic(arn, env="test", clock=clock)
    assert all(topic.tell("wrong_amount") for _ in range(50))
    assert topic.tell(EVENT_DEAD)
    assert len(published(cloud, queue)) == 2
    clock.now += SHORTEST_BETWEEN
    assert topic.tell("wrong_amount")
    ((_, text),) = published(cloud, queue)
    assert "left out since the last message of this kind: 49" in text


def test_a_topic_that_is_away_fails_nothing_and_is_not_waited_for_again(cloud, clock):
    """One failure in five minutes: a webhook's gateway is waiting."""
    asked = []

    def client(service):
        asked.append(service)
        return quick_client(service)

    topic = AlertTopic(f"{cloud.topic()[0]}-that-is-not-there", env="test", clock=clock, client=client)
    assert [topic.tell("late_money") for _ in range(10)] == [False] + [True] * 9
    assert asked == ["sns"]
