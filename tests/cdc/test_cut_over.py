"""Test that a cut-over and a cut-back under load lose no event and send no event twice."""

import random
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from threading import Event, Thread
from uuid import uuid4

import pytest

from ticketbottle_payctl.errors import GuardError
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, StoppedBecause, publish_outbox

INSERT = """
INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, "createdAt")
VALUES (%s, %s, 'payment', %s, '{"n": 1}', clock_timestamp() AT TIME ZONE 'UTC')
"""
LIVES = (
    ("PAYMENT_COMPLETED",),
    ("PAYMENT_CANCELLED",),
    ("PAYMENT_FAILED", "PAYMENT_COMPLETED"),
    ("PAYMENT_COMPLETED",) * 3,
)


class Writers:
    """Threads that insert one to three events for each payment. Each transaction stays open for up to 0.2 seconds."""

    def __init__(self, engine, count=4):
        self._engine, self._stop = engine, Event()
        self.committed = defaultdict(list)
        self._threads = [Thread(target=self._write, args=(number,)) for number in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number):
        chance = random.Random(number)  # noqa: S311 - not for secrets
        while not self._stop.is_set():
            key = str(uuid4())
            for event_type in chance.choice(LIVES):
                time.sleep(0.002)  # createdAt has milliseconds, and events with equal instants would have no order
                event_id = str(uuid4())
                with self._engine.begin() as connection:
                    connection.exec_driver_sql(INSERT, (event_id, key, event_type))
                    self._stop.wait(chance.choice((0, 0.002, 0.02, 0.2)))
                self.committed[key].append(event_id)


@contextmanager
def publisher(scene):
    """Run payctl's own publisher as a service during the ``with`` block."""
    stop, reports = Event(), []
    arguments = (scene.engine, scene.producer, PublishOptions(loop=True))
    thread = Thread(target=lambda: reports.append(publish_outbox(*arguments, stop=stop)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert [report.stopped_because for report in reports] == [StoppedBecause.SIGNAL]


@pytest.mark.parametrize("end", ["stop", "close"])
def test_cut_over_and_cut_back_lose_and_duplicate_no_event(end, scene):
    """Under load, each event arrives once, and a payment's events in one topic are in order.

    In the ``close`` case, the test kills the worker, so that the slot's position lags behind the sent events.
    """
    with Writers(scene.engine) as writers:
        with publisher(scene):
            scene.wait_for(100)
        assert scene.cut_over().failed == 0
        with pytest.raises(GuardError, match="Debezium is publishing"):
            publish_outbox(scene.engine, scene.producer, PublishOptions())
        before = len(scene.messages())
        with scene.connect() as worker:
            scene.wait_for(before + 200)
            assert scene.mark().marked >= 200
            scene.wait_for(len(scene.messages()) + 100)
            getattr(worker, end)()
        scene.wait_until_the_connector_is_gone()
        assert scene.cut_back().marked >= 100
        with publisher(scene):
            scene.wait_for(len(scene.messages()) + 100)
    assert publish_outbox(scene.engine, scene.producer, PublishOptions()).partial is False

    written = {event_id for ids in writers.committed.values() for event_id in ids}
    messages = scene.messages()
    times = Counter(message.header["id"].decode() for message in messages)
    assert written - times.keys() == set(), "lost"
    assert {event_id for event_id, number in times.items() if number > 1} == set(), "doubled"
    assert times.keys() == written
    assert scene.query('SELECT id FROM outbox WHERE NOT published OR "publishedAt" IS NULL') == []
    assert in_order(messages, writers.committed)
    assert scene.slots() == []


def in_order(messages, committed):
    """Return whether a payment's messages in one topic are in the order of its transactions."""
    lying = defaultdict(list)
    for message in messages:  # read_all sorts by topic, partition and offset
        lying[message.topic, message.key.decode()].append(message.header["id"].decode())
    return all(ids == [one for one in committed[key] if one in ids] for (_, key), ids in lying.items())
