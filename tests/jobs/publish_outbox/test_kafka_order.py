"""Test that a payment's events are in the right order across several topics, judging by the broker's append time."""

from __future__ import annotations

import random

import pytest
from confluent_kafka import Producer as Client

from tests.jobs.publish_outbox.conftest import CANCELLED, COMPLETED, FAILED, GOOD, OLD
from tests.jobs.publish_outbox.outages import BATCH, a_loop, drained, payctl, published, until
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.jobs.publish_outbox import backlog


def test_the_checker_finds_events_that_were_appended_in_the_wrong_order(kafka_outbox):
    """The checker finds events in the wrong order, even if the producer's timestamps hide this."""
    outbox = kafka_outbox
    outbox.add("k", FAILED, age=9, published=True)
    outbox.add("k", COMPLETED, age=8, published=True)
    failed, completed = outbox.rows()
    client = Client({"bootstrap.servers": outbox.bootstrap, "partitioner": "murmur2_random"})
    for row, at in ((completed, 2000), (failed, 1000)):
        headers = list(row.headers.items())
        client.produce(TOPICS[row.event_type], row.value, row.key, headers=headers, timestamp=at)
        client.flush(10)
    assert min(message.timestamp for message in outbox.messages()) > 2000
    verdict = outbox.verdict()
    assert (verdict.reordered, verdict.overtaken, verdict.lost, verdict.altered) == (["k"], ["k"], [], [])


@pytest.mark.parametrize("shards", [1, 3])
def test_every_event_of_a_payment_is_appended_after_the_previous_one(kafka_outbox, shards):
    """If a payment has events in three topics, each event is appended after the payment's previous event."""
    chance, outbox = random.Random(shards), kafka_outbox  # noqa: S311 - not for secrets
    outbox.insert(300, age=OLD)  # old events, because only these are claimed ahead
    for number in range(200):
        outbox.add(f"k{number % 30}", chance.choice((FAILED, CANCELLED, COMPLETED)), age=20 - number / 1000)
    report = outbox.publish(batch_size=BATCH, shards=shards)
    assert (report.stopped_because, report.counts.published, outbox.verdict()) == ("empty", 500, GOOD)


def test_a_replay_during_publishing_keeps_the_order(kafka_outbox, database_url, monkeypatch):
    """A replay during publishing does not change the order of a payment's events, and no event is sent twice."""
    monkeypatch.setattr(backlog, "RESCAN_EVERY", 0.5)
    outbox = kafka_outbox
    for number in range(30):
        kind = {"retry_count": 5, "last_error": "INVALID_RECORD: x"} if number % 2 else {}
        outbox.add(f"k{number}", FAILED, age=20, **kind)
        outbox.add(f"k{number}", COMPLETED, age=19)
    with a_loop(outbox):
        published(outbox, 30)
        assert (outbox.states().count("dead"), outbox.states().count("pending")) == (15, 15)
        code, document, said = payctl(database_url, {}, "replay", "--failed", "--yes", "--reason", "repaired")
        assert (code, document["counts"]["requeued"]) == (0, 15), said
        until(lambda: outbox.insert(3, event_type=CANCELLED, aggregates=2) or "dead" not in outbox.states())
        drained(outbox)
    assert set(outbox.states()) == {"published"}
    assert sum("replayRunId" in message.header for message in outbox.messages()) == 15
    assert outbox.verdict() == GOOD
