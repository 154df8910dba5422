"""Test a publisher that takes over a shard after another publisher's claim was interrupted.

The messages of the interrupted claim may still be on their way to the broker. Therefore the next publisher waits before
it sends.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from secrets import token_hex

import pytest

from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED, GOOD, OLD, Clockwork
from tests.jobs.publish_outbox.outages import NO_HARM, harm, until, watched_producer
from tests.proxy import Proxy
from ticketbottle_payctl.domain.event import START
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.publish_outbox import Observer
from ticketbottle_payctl.jobs.publish_outbox.shard import SETTLE
from ticketbottle_payctl.store.outbox import claim
from ticketbottle_payctl.store.outbox.claim import Claim

SLOW = 8_000
"""The rate of a slow network, in bytes per second. A batch of 40 events takes two or three seconds."""

END_OTHER_SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
"""

pytestmark = pytest.mark.postgres


def interrupt_a_claim(outbox, *, limit=1):
    """Claim pending events in a session that ends without a commit."""
    wanted = Claim(after=START, limit=limit, max_retries=5)
    with outbox.engine.connect() as connection:
        assert claim.claim(connection, wanted).events
        connection.rollback()


def times_of_sends(outbox, clockwork, **options):
    """Run a publisher, and return the simulated seconds from its start to each batch, and its report."""
    began, times = clockwork.now, []
    observer = Observer(on_send=lambda *_: times.append(clockwork.now - began))
    return times, outbox.run(clockwork, observer=observer, **options)


@pytest.mark.parametrize("loop", [False, True])
def test_the_next_publisher_waits_before_it_sends(outbox, loop):
    """A publisher sends five seconds after it has first seen an interrupted claim. A run without a loop waits too."""
    outbox.insert(3)
    interrupt_a_claim(outbox)
    times, report = times_of_sends(outbox, Clockwork(waits=20), loop=loop)
    assert times == [SETTLE]
    assert report.counts.published == 3
    assert outbox.verdict() == GOOD


def test_events_without_an_interrupted_claim_are_sent_at_once(outbox):
    """A publisher that finds no interrupted claim does not wait."""
    outbox.insert(3)
    assert times_of_sends(outbox, Clockwork())[0] == [0.0]


def test_a_publisher_waits_once_for_the_two_claims_of_a_killed_publisher(outbox):
    """A publisher claims two batches at a time, so a kill interrupts two claims. The next publisher waits once."""
    outbox.insert(30, age=OLD)
    interrupt_a_claim(outbox, limit=10)
    interrupt_a_claim(outbox, limit=20)
    times, report = times_of_sends(outbox, Clockwork(), batch_size=10)
    assert times == [SETTLE] * 3
    assert report.counts.published == 30


def test_a_run_with_a_time_limit_waits_for_at_most_half_of_it(outbox):
    """A short run after an interrupted claim still sends the events."""
    outbox.insert(3)
    interrupt_a_claim(outbox)
    times, report = times_of_sends(outbox, Clockwork(), budget=timedelta(seconds=4))
    assert times == [2]
    assert report.counts.published == 3


def test_a_publisher_that_is_stopped_while_it_waits_leaves_the_wait_to_the_next(outbox):
    """If a publisher is stopped while it waits, the next publisher waits too."""
    outbox.insert(3)
    interrupt_a_claim(outbox)
    assert times_of_sends(outbox, Clockwork(waits=1))[0] == []
    assert times_of_sends(outbox, Clockwork())[0] == [SETTLE]


def test_a_publisher_waits_for_the_claim_of_its_own_ended_session(outbox):
    """If the database ends a publisher's session during a send, the publisher waits before it sends the batch again."""
    outbox.insert(3)
    clockwork, times = Clockwork(waits=9), []

    def on_send(*_):
        times.append(clockwork.now)
        if len(times) == 1:
            outbox.execute(END_OTHER_SESSIONS)

    report = outbox.run(clockwork, observer=Observer(on_send=on_send), loop=True)
    assert len(times) == 2
    assert times[1] - times[0] >= SETTLE
    assert report.counts.published == 3


@pytest.mark.parametrize("shards", [1, 3])
def test_a_run_that_is_stopped_leaves_no_interrupted_claim(outbox, shards):
    """A run that ends before it sends its last claims gives them back, so the next publisher does not wait."""
    outbox.insert(60, age=OLD)
    clockwork = Clockwork()
    observer = Observer(on_progress=lambda _: clockwork.set())
    outbox.run(clockwork, observer=observer, batch_size=5, shards=shards)
    assert outbox.states().count("pending") > 0
    assert outbox.execute("SELECT count(*) FROM outbox WHERE NOT published AND xmax <> 0") == [(0,)]
    assert {(row.retry_count, row.last_error) for row in outbox.rows()} == {(0, None)}
    assert times_of_sends(outbox, Clockwork(), shards=shards)[0][0] == 0
    assert outbox.verdict() == GOOD


def test_delayed_messages_of_an_ended_session_overtake_no_newer_event(kafka_outbox, kafka):
    """The messages of an ended session reach the broker late, but before a newer event of the same payments.

    The first publisher's messages are on a slow network when the database ends its session. The second publisher has a
    fast network.
    """
    outbox = kafka_outbox
    failed = [outbox.add(f"k{number}", FAILED, payload={"payment_id": token_hex(200)}) for number in range(40)]
    with (
        Proxy(kafka.proxy_port, kafka.behind_proxy) as proxy,
        watched_producer(proxy.bootstrap) as (slow, _),
        ThreadPoolExecutor(1) as pool,
    ):
        slow.probe(20)
        proxy.rate = SLOW
        killed = pool.submit(outbox.publish, producer=slow)
        until(outbox.messages)  # the first partition's messages have arrived, and the others' are on their way
        outbox.execute(END_OTHER_SESSIONS)
        for number in range(40):
            outbox.add(f"k{number}", COMPLETED)
        assert outbox.publish().counts.published == 80
        assert isinstance(killed.exception(20), DatabaseUnavailableError)
        until(lambda: outbox.sent().count(failed[0]) == 2 and len(outbox.sent()) == 120)
    assert harm(outbox.verdict()) == NO_HARM


@pytest.mark.parametrize("loop", [False, True])
def test_a_publisher_waits_once_even_if_a_partition_has_no_leader(outbox, mock_kafka, loop):
    """After the wait, the events of the other partitions are sent, although one partition has no leader."""
    outbox.insert(30)
    interrupt_a_claim(outbox, limit=30)
    mock_kafka.set_leader("payment.completed", 1, -1)
    times, report = times_of_sends(outbox, Clockwork(waits=30), loop=loop)
    assert SETTLE <= times[0] < 2 * SETTLE
    assert 0 < report.counts.published < 30
