"""Test a publisher with a slow broker or a slow network connection."""

from __future__ import annotations

import pytest

from tests.jobs.publish_outbox.conftest import CANCELLED, COMPLETED, FAILED, GOOD
from tests.jobs.publish_outbox.outages import a_loop, drained, published, states, watched_producer
from tests.proxy import Proxy
from ticketbottle_payctl.jobs.publish_outbox import Observer


@pytest.fixture
def proxy(kafka):
    """Yield a proxy for the broker. The proxy is fast until a test changes its delay or rate."""
    with Proxy(kafka.proxy_port, kafka.behind_proxy) as proxy:
        yield proxy


def insert_of_each_type(outbox, types=(FAILED, CANCELLED, COMPLETED)):
    """Insert an event of each type for each payment. The publisher must send a payment's events one after another."""
    for event_type in types:
        for number in range(20):
            outbox.add(f"k{number}", event_type)


@pytest.mark.parametrize("how", [{"delay": 0.2}, {"rate": 20_000}], ids=["200 ms each way", "20 kB a second"])
def test_a_slow_broker_causes_no_timeout_and_no_copy(kafka_outbox, proxy, how):
    """If a broker is slow, the publisher keeps its connections and sends each event once and in order."""
    vars(proxy).update(how)
    insert_of_each_type(kafka_outbox)
    unhurried(kafka_outbox, proxy)


def test_a_publisher_waits_for_a_broker_that_becomes_slow(kafka_outbox, proxy):
    """If a broker becomes slow, the publisher waits without a timeout and sends each event once."""
    insert_of_each_type(kafka_outbox)

    def grow_slow():
        published(kafka_outbox, 60)
        proxy.delay = 1.0
        insert_of_each_type(kafka_outbox, (FAILED, COMPLETED))

    unhurried(kafka_outbox, proxy, meanwhile=grow_slow)


def unhurried(outbox, proxy, meanwhile=lambda: None):
    """Drain the outbox with a publisher loop. Assert that there was no outage, no second client and no copy."""
    heard = []
    with (
        watched_producer(proxy.bootstrap) as (producer, clients),
        a_loop(outbox, producer=producer, observer=Observer(on_wait=lambda *said: heard.append(said))),
    ):
        meanwhile()
        drained(outbox, within=30)
        assert (heard, len(clients)) == ([], 1)
    assert proxy.connections <= 2  # one connection for the metadata, and one to the leader
    assert states(outbox) == {("published", 0, None)}
    assert outbox.verdict() == GOOD
