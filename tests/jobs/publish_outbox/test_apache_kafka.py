"""The three failure budgets against a broker that is really stopped, killed, frozen, or set up wrongly."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest
from confluent_kafka.admin import AdminClient

from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED, GOOD, READ
from ticketbottle_payctl.sandbox.kafka_messages import create_topics

DRAINED_WITHIN = 20.0


@contextmanager
def a_loop(outbox, **options):
    """A publisher at work on another thread; stopped, and its report awaited, when the block ends."""
    stop, reports = threading.Event(), []
    thread = threading.Thread(
        target=lambda: reports.append(outbox.publish(stop=stop, loop=True, batch_size=50, **options))
    )
    thread.start()
    try:
        yield reports
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def drained(outbox, within=DRAINED_WITHIN):
    """Wait until nothing is pending; how long that took, in seconds."""
    began = time.monotonic()
    while "pending" in outbox.states():
        assert time.monotonic() - began < within
        time.sleep(0.05)
    return time.monotonic() - began


def published(outbox, least):
    """Wait until so many are."""
    deadline = time.monotonic() + DRAINED_WITHIN
    while outbox.states().count("published") < least:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("fault", ["stop", "kill", "pause"])
def test_a_broker_that_is_gone_for_a_while(kafka_outbox, kafka, fault):
    """Stopped, killed or frozen under load: no event pays for it, and when it is back the backlog drains by itself."""
    outbox = kafka_outbox
    outbox.insert(200, aggregates=70)
    with a_loop(outbox):
        published(outbox, 1)
        getattr(kafka, fault)()
        for _ in range(5):
            outbox.insert(40, event_type=FAILED, aggregates=30)
            outbox.insert(40, event_type=COMPLETED, aggregates=30)
        threading.Event().wait(1.5)  # what counts is that the broker is away for some time
        if fault == "pause":
            kafka.resume()
        else:
            kafka.restart()
        drained(outbox)
    rows, verdict = outbox.rows(), outbox.verdict()
    assert {(row.state, row.retry_count, row.last_error) for row in rows} == {("published", 0, None)}
    assert (verdict.lost, verdict.phantom, verdict.altered, verdict.reordered, verdict.overtaken) == (
        [],
        [],
        [],
        [],
        [],
    )
    assert sum(verdict.duplicates.values()) <= 100


def delete(kafka, topic):
    """Delete a topic and wait until the broker has."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    admin.delete_topics([topic], operation_timeout=30)[topic].result(30)


def test_a_topic_that_is_missing(kafka_outbox, kafka):
    """Its events wait, uncharged, with their payments; the other types flow; when it is made they go."""
    outbox = kafka_outbox
    delete(kafka, "payment.failed")
    first, second = outbox.add("k", FAILED, age=9), outbox.add("k", COMPLETED, age=8)
    outbox.insert(20)
    report = outbox.publish()
    assert (report.stopped_because, report.tally.published, report.tally.held) == ("empty", 20, 2)
    assert list(report.tally.stopped_types) == [FAILED]
    assert (outbox.row(first).retry_count, outbox.row(second).state) == (0, "pending")
    create_topics(kafka.bootstrap, ["payment.failed"])
    assert outbox.publish().tally.published == 2
    assert outbox.verdict() == GOOD


def test_a_message_larger_than_the_topic_takes(kafka_outbox, kafka):
    """Only that one is dead, though the broker refuses the whole bundle that it came in, and many are."""
    outbox = kafka_outbox
    delete(kafka, "payment.completed")
    create_topics(kafka.bootstrap, ["payment.completed"], config={"max.message.bytes": "3000"})
    outbox.insert(40, payload_bytes=500)
    large = outbox.add("k", payload={"padding": "x" * 5000})
    outbox.insert(40, payload_bytes=500)
    report = outbox.publish()
    assert (report.tally.published, [event.id for event in report.tally.dead_events]) == (80, [large])
    assert outbox.row(large).last_error.startswith("MSG_SIZE_TOO_LARGE: ")
    assert outbox.verdict() == GOOD
    assert {m.topic for m in outbox.messages()} <= set(READ)
