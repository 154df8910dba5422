"""Helpers for tests with a real broker: a running publisher loop, and functions that wait for its effects."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

from confluent_kafka import Producer as Client

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.settings import KafkaSettings

BATCH = 50
DRAINED_WITHIN = 20.0
"""The maximum time in seconds until no event is pending, after an outage of a few seconds."""


@contextmanager
def a_loop(outbox, **options):
    """Run a publisher loop in another thread. When the block ends, stop the loop and wait for its report."""
    stop, reports = threading.Event(), []
    thread = threading.Thread(
        target=lambda: reports.append(outbox.publish(stop=stop, loop=True, batch_size=BATCH, **options))
    )
    thread.start()
    try:
        yield reports
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def until(condition, within=DRAINED_WITHIN):
    """Wait until ``condition`` returns a true value, and return this value."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


def drained(outbox, within=DRAINED_WITHIN):
    """Wait until no event is pending, and return how many seconds this took."""
    began = time.monotonic()
    until(lambda: "pending" not in outbox.states(), within)
    return time.monotonic() - began


def published(outbox, least):
    """Wait until at least ``least`` events are published."""
    until(lambda: outbox.states().count("published") >= least)


def harm(verdict):
    """Return the faults that must never occur. Duplicate messages do not count."""
    return verdict.lost, verdict.phantom, verdict.altered, verdict.reordered, verdict.overtaken


NO_HARM = ([], [], [], [], [])


def states(outbox):
    """Return each combination of state, retry count and error in the outbox."""
    return {(row.state, row.retry_count, row.last_error) for row in outbox.rows()}


def in_flight(outbox):
    """Return the number of events that an open transaction of another session has claimed."""
    sql = (
        "SELECT count(*) FROM outbox JOIN pg_stat_activity ON backend_xid = outbox.xmax"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return outbox.execute(sql)[0][0]


class Clients(list):
    """A list of a producer's clients, with a method that creates clients."""

    def make(self, *arguments, **named):
        """Create a client, keep it, and return it."""
        self.append(Client(*arguments, **named))
        return self[-1]

    @property
    def waiting(self):
        """The number of messages that are not acknowledged yet."""
        return sum(len(client) for client in self)


@contextmanager
def watched_producer(bootstrap):
    """Yield a producer with payctl's configuration, and the list of its clients.

    At the end, all clients are deleted, so that none connects to the next test's broker on the same port.
    """
    clients = Clients()
    producer = Producer(producer_config(KafkaSettings(bootstrap)), new_client=clients.make)
    try:
        yield producer, clients
    finally:
        producer.close()
        clients.clear()
        gc.collect()


def payctl(database_url, kafka_environment, *arguments):
    """Run a payctl command. Return its exit code, its document and its stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "ticketbottle_payctl", *arguments, "-o", "json"],
        env={**os.environ, "DATABASE_URL": database_url, **kafka_environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout), done.stderr
