"""A broker that is there and slow: far away, or behind a narrow line."""

from __future__ import annotations

import pytest

from tests.jobs.publish_outbox.conftest import CANCELLED, COMPLETED, FAILED, GOOD
from tests.jobs.publish_outbox.outages import a_loop, drained, published, states, watched_producer
from tests.proxy import Proxy
from ticketbottle_payctl.jobs.publish_outbox import Observer


@pytest.fixture
def proxy(kafka):
    """What stands before the broker; quick until it is told otherwise."""
    with Proxy(kafka.proxy_port, kafka.behind_proxy) as proxy:
        yield proxy


def insert_of_each_type(outbox, types=(FAILED, CANCELLED, COMPLETED)):
    """An event of each type for each payment; they must go one after the other."""
    for event_type in types:
        for number in range(20):
            outbox.add(f"k{number}", event_type)


@pytest.mark.parametrize("how", [{"delay": 0.2}, {"rate": 20_000}], ids=["200 ms each way", "20 kB a second"])
def test_a_slow_broker(kafka_outbox, proxy, how):
    """It takes longer and nothing else happens: no time-out, no new connection, no copy, every payment in order."""
    vars(proxy).update(how)
    insert_of_each_type(kafka_outbox)
    unhurried(kafka_outbox, proxy)


def test_a_broker_that_becomes_slow(kafka_outbox, proxy):
    """Suddenly each answer takes two seconds. The publisher waits for this batch and for the next ones."""
    insert_of_each_type(kafka_outbox)

    def grow_slow():
        published(kafka_outbox, 60)
        proxy.delay = 1.0
        insert_of_each_type(kafka_outbox, (FAILED, COMPLETED))

    unhurried(kafka_outbox, proxy, meanwhile=grow_slow)


def unhurried(outbox, proxy, meanwhile=lambda: None):
    """A loop drains the outbox without ever giving up on its broker."""
    heard = []
    with (
        watched_producer(proxy.bootstrap) as (producer, clients),
        a_loop(outbox, producer=producer, observer=Observer(on_wait=lambda *said: heard.append(said))),
    ):
        meanwhile()
        drained(outbox, within=30)
        assert (heard, len(clients)) == ([], 1)
    assert proxy.connections <= 2  # one to ask who is there, one to the broker that leads
    assert states(outbox) == {("published", 0, None)}
    assert outbox.verdict() == GOOD
