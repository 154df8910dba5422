"""Test the three kinds of failure with a broker that is stopped, frozen or misconfigured."""

from __future__ import annotations

from random import Random

from confluent_kafka.admin import AdminClient

from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED, GOOD, READ, STAMPED, new_producer
from tests.jobs.publish_outbox.outages import (
    BATCH,
    NO_HARM,
    a_loop,
    drained,
    harm,
    in_flight,
    payctl,
    published,
    states,
    until,
)
from ticketbottle_payctl.broker import sender
from ticketbottle_payctl.jobs.publish_outbox import Observer, run
from ticketbottle_payctl.sandbox.kafka_messages import create_topics

INCOMPRESSIBLE = Random(7).randbytes(5000).hex()  # noqa: S311 - not for secrets
"""Text that cannot be compressed, because a topic's limit applies to batches after compression."""

DRAINED_AFTER_MINUTES = 15.0
"""The maximum time in seconds until no event is pending, after an outage of a few minutes."""


def insert_some(outbox):
    """Insert events for a few payments. Each payment has PAYMENT_FAILED events before its PAYMENT_COMPLETED event."""
    for _ in range(5):
        outbox.insert(40, event_type=FAILED, aggregates=30)
        outbox.insert(40, event_type=COMPLETED, aggregates=30)


def test_a_frozen_broker_costs_no_retry(kafka_outbox, kafka):
    """If a broker freezes, no event uses up a retry. After the broker continues, the backlog drains.

    A frozen broker keeps its connections open but does not answer.
    """
    outbox = kafka_outbox
    outbox.insert(200, aggregates=70)
    with a_loop(outbox):
        published(outbox, 1)
        kafka.pause()
        insert_some(outbox)
        until(lambda: in_flight(outbox))
        kafka.resume()
        drained(outbox)
    assert states(outbox) == {("published", 0, None)}
    assert harm(outbox.verdict()) == NO_HARM
    assert sum(outbox.verdict().duplicates.values()) <= BATCH


def test_a_long_broker_outage_costs_no_retry(kafka_outbox, kafka, monkeypatch):
    """If a broker is down so long that the publisher's waits reach their maximum, no event uses up a retry."""
    monkeypatch.setattr(run, "_FIRST_WAIT", run._LONGEST_WAIT)  # noqa: SLF001 - as after minutes of failures
    outbox, told = kafka_outbox, []
    hasty = new_producer(kafka.bootstrap, message_timeout_ms=2000)
    outbox.insert(200, aggregates=70)
    with a_loop(outbox, producer=hasty, observer=Observer(on_wait=lambda *heard: told.append(heard))):
        published(outbox, 1)
        kafka.stop()
        insert_some(outbox)
        error, wait = until(lambda: told)[0]
        assert (error.code, wait >= run._LONGEST_WAIT / 2) == ("KAFKA_UNAVAILABLE", True)  # noqa: SLF001
        assert {(count, error) for _, count, error in states(outbox)} == {(0, None)}
        kafka.restart()
        assert drained(outbox, DRAINED_AFTER_MINUTES) <= DRAINED_AFTER_MINUTES
    hasty.close()
    assert states(outbox) == {("published", 0, None)}
    assert harm(outbox.verdict()) == NO_HARM
    assert sum(outbox.verdict().duplicates.values()) <= BATCH


def topics_of(kafka):
    """Return the names of the topics in the cluster."""
    return set(AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0}).list_topics(timeout=10).topics)


def test_a_missing_topic_costs_no_retry(kafka_outbox, kafka):
    """If a topic is missing, its events wait without using up a retry, and are sent after the topic is created."""
    outbox = kafka_outbox
    kafka.delete_topics(["payment.failed"])
    first, second = outbox.add("k", FAILED, age=9), outbox.add("k", COMPLETED, age=8)
    outbox.insert(20)
    report = outbox.publish()
    assert (report.stopped_because, report.counts.published, report.counts.held) == ("empty", 20, 2)
    assert list(report.counts.stopped_types) == [FAILED]
    assert (outbox.row(first).retry_count, outbox.row(second).state) == (0, "pending")
    assert "payment.failed" not in topics_of(kafka)  # this broker creates a topic when any client asks for it
    create_topics(kafka.bootstrap, ["payment.failed"], config=STAMPED)
    assert outbox.publish().counts.published == 2
    assert outbox.verdict() == GOOD


def test_a_loop_survives_the_deletion_of_a_topic(kafka_outbox, kafka, monkeypatch):
    """If a topic is deleted during a publisher loop, events wait for a new topic without using up a retry."""
    monkeypatch.setattr(sender, "PROBE_EVERY", 1.0)
    outbox = kafka_outbox
    outbox.insert(10, event_type=FAILED)
    with a_loop(outbox) as reports:
        published(outbox, 10)
        kafka.delete_topics(["payment.failed"])
        waiting = [outbox.add("k", FAILED), outbox.add("k", COMPLETED)]
        outbox.insert(20)
        published(outbox, 30)
        assert [outbox.row(id_).state for id_ in waiting] == ["pending", "pending"]
        create_topics(kafka.bootstrap, ["payment.failed"], config=STAMPED)
        drained(outbox)
    assert list(reports[0].counts.stopped_types) == [FAILED]
    assert states(outbox) == {("published", 0, None)}
    verdict = outbox.verdict()
    assert len(verdict.lost) == 10  # the messages of the deleted topic are lost, and payctl does not send them again
    assert harm(verdict)[1:] == NO_HARM[1:]


def test_only_the_message_that_is_too_large_for_its_topic_becomes_dead(kafka_outbox, kafka):
    """If a broker refuses a whole batch, only the event whose message is too large becomes dead."""
    outbox = kafka_outbox
    only_small(kafka)
    outbox.insert(40, payload_bytes=500)
    large = outbox.add("k", payload={"padding": INCOMPRESSIBLE})
    outbox.insert(40, payload_bytes=500)
    report = outbox.publish()
    assert (report.counts.published, [event.id for event in report.counts.dead_events]) == (80, [large])
    assert outbox.row(large).last_error.startswith("MSG_SIZE_TOO_LARGE: ")
    assert outbox.verdict() == GOOD
    assert {m.topic for m in outbox.messages()} <= set(READ)


def only_small(kafka):
    """Recreate ``payment.completed`` with a message limit of 3,000 bytes."""
    kafka.delete_topics(["payment.completed"])
    create_topics(kafka.bootstrap, ["payment.completed"], config=STAMPED | {"max.message.bytes": "3000"})


def test_the_command_reports_waiting_and_dead_events(kafka_outbox, kafka, database_url):
    """`publish-outbox` reports a missing topic and a message that is too large, and sends all other events."""
    outbox = kafka_outbox
    only_small(kafka)
    kafka.delete_topics(["payment.failed"])
    outbox.insert(30)
    held = outbox.add("k", FAILED)
    large = outbox.add("m", payload={"padding": INCOMPRESSIBLE})
    code, document, said = payctl(database_url, kafka.environment(), "publish-outbox")
    assert (code, document["result"]["stopped_because"]) == (6, "empty")
    assert document["counts"] == {"claimed": 32, "published": 30, "retried": 0, "dead": 1, "held": 1}
    assert [item["id"] for item in document["items"]] == [large]
    assert list(document["result"]["stopped_types"]) == [FAILED]
    assert FAILED in said
    assert (outbox.row(held).state, outbox.row(held).retry_count, outbox.row(large).state) == ("pending", 0, "dead")
    create_topics(kafka.bootstrap, ["payment.failed"], config=STAMPED)
    code, document, _ = payctl(database_url, kafka.environment(), "publish-outbox")
    assert (code, document["counts"]["published"], outbox.verdict()) == (6, 1, GOOD)  # one event is dead


def test_a_loop_says_that_a_topic_is_missing(kafka_outbox, kafka, monkeypatch):
    """A publisher loop reports a missing topic soon after it starts, and reports when the topic's events flow again."""
    monkeypatch.setattr(sender, "PROBE_EVERY", 2.0)
    kafka.delete_topics(["payment.completed"])
    told = []
    with a_loop(kafka_outbox, observer=Observer(on_obstacles=told.append)):
        assert list(until(lambda: told)[0].stopped) == [COMPLETED]
        kafka_outbox.insert(2)
        create_topics(kafka.bootstrap, ["payment.completed"], config=STAMPED)
        until(lambda: len(told) > 1 and not told[-1], 40)
    assert {each.state for each in kafka_outbox.rows()} == {"published"}
