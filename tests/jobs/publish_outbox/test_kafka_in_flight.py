"""Test a broker that is killed while a batch is in flight, before or after it appends the batch."""

from __future__ import annotations

from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED
from tests.jobs.publish_outbox.outages import (
    BATCH,
    NO_HARM,
    a_loop,
    drained,
    harm,
    in_flight,
    published,
    states,
    until,
    watched_producer,
)
from tests.proxy import Proxy


def insert_wave(outbox, event_type, age=0.0):
    """Insert one event for each of 40 payments. Each call uses the same payments."""
    return [outbox.add(f"k{number}", event_type, age=age) for number in range(40)]


def test_a_batch_is_sent_again_if_the_broker_died_before_appending_it(kafka_outbox, kafka):
    """If a broker dies before it appends a batch, the batch is sent in order after the restart."""
    outbox = kafka_outbox
    insert_wave(outbox, FAILED)
    with watched_producer(kafka.bootstrap) as (producer, clients), a_loop(outbox, producer=producer):
        published(outbox, 40)
        kafka.pause()
        insert_wave(outbox, COMPLETED)
        until(lambda: in_flight(outbox) and clients.waiting)
        kafka.kill()
        assert min(in_flight(outbox), clients.waiting) > 0
        insert_wave(outbox, FAILED)
        kafka.restart()
        drained(outbox)
    assert states(outbox) == {("published", 0, None)}
    assert harm(outbox.verdict()) == NO_HARM
    assert sum(outbox.verdict().duplicates.values()) <= BATCH


def test_a_batch_is_sent_at_most_twice_if_the_broker_died_after_appending_it(kafka_outbox, kafka):
    """If a broker dies after it appends a batch, the batch is sent at most once more after the restart."""
    outbox = kafka_outbox
    with (
        Proxy(kafka.proxy_port, kafka.behind_proxy) as proxy,
        watched_producer(proxy.bootstrap) as (producer, clients),
    ):
        insert_wave(outbox, FAILED)
        with a_loop(outbox, producer=producer):
            published(outbox, 40)
            proxy.answers = False
            insert_wave(outbox, COMPLETED)
            until(lambda: len(outbox.messages()) > 40)
            assert min(in_flight(outbox), clients.waiting) > 0
            assert outbox.states().count("published") == 40
            kafka.kill()
            insert_wave(outbox, FAILED)
            proxy.answers = True
            kafka.restart()
            drained(outbox)
    assert states(outbox) == {("published", 0, None)}
    assert harm(outbox.verdict()) == NO_HARM
    assert sum(outbox.verdict().duplicates.values()) <= BATCH
