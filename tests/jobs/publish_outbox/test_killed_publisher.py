"""Test that no event is lost if publisher processes are killed or frozen at any point."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.jobs.publish_outbox import killed_publisher
from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED, GOOD, OLD, Clockwork

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.jobs.publish_outbox.killed_publisher"])


@pytest.fixture
def start(outbox, database_url):
    """Yield a function that starts a publisher in a separate process. Running publishers are killed after the test."""
    processes = []

    def start_one(**arguments):
        options = arguments.pop("options")
        process = PROCESSES.Process(
            target=killed_publisher.run, args=(database_url, outbox.bootstrap, options), kwargs=arguments, daemon=True
        )
        process.start()
        processes.append(process)
        return process

    yield start_one
    for process in processes:
        process.kill()
        process.join()
        process.close()


def unharmed(verdict, most):
    """Return whether no event is lost, made up, changed or out of order.

    Assert that there are at most ``most`` copies.
    """
    assert sum(verdict.duplicates.values()) <= most
    return (verdict.lost, verdict.phantom, verdict.altered, verdict.reordered, verdict.overtaken) == (
        [],
        [],
        [],
        [],
        [],
    )


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("point", killed_publisher.POINTS)
def test_the_next_publisher_continues_after_a_kill_at_any_point(outbox, start, point, number):
    """If a publisher is killed at any point, the next publisher resends at most the open batch, in order."""
    for index in range(12):
        outbox.add(f"k{index}", FAILED, age=60 - index)
        outbox.add(f"k{index}", COMPLETED, age=59.5 - index)
    process = start(options={"batch_size": 6}, point=point, number=number)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert {row.retry_count for row in outbox.rows()} == {0}
    report = outbox.publish(batch_size=6)
    assert report.stopped_because == "empty"
    assert set(outbox.states()) == {"published"}
    assert unharmed(outbox.verdict(), most=6)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("shards", [1, 4])
def test_random_kills_of_publishers_lose_no_event(outbox, start, seed, shards):
    """No event is lost if publishers are killed at random while events are created and another publisher runs."""
    chance, batch_size, kills = random.Random(seed), 10, 4  # noqa: S311 - not for secrets
    options = {"batch_size": batch_size, "shards": shards, "loop": True}
    outbox.insert(500, aggregates=200, age=OLD)
    survivor = start(options=options)
    for _ in range(kills):
        for _ in range(60):
            outbox.add(f"k{chance.randrange(40)}", chance.choice((FAILED, COMPLETED)))
        heard, told = PROCESSES.Pipe(duplex=False)
        victim = start(options=options, ready=told)
        assert heard.poll(30)
        with suppress(TimeoutError):
            victim.join(chance.uniform(0, 0.15))
        victim.kill()
        heard.close()
        told.close()
    survivor.kill()
    survivor.join(10)
    outbox.publish(shards=shards)
    assert set(outbox.states()) == {"published"}
    assert {row.retry_count for row in outbox.rows()} == {0}
    assert unharmed(outbox.verdict(), most=(kills + 1) * batch_size)


def test_a_run_without_a_fault_sends_nothing_twice(outbox, start):
    """Without faults, four publishers in four processes send each event once."""
    outbox.insert(300, aggregates=120, age=OLD)
    processes = [start(options={"batch_size": 20, "shards": 4}) for _ in range(4)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    outbox.publish(shards=4)
    assert outbox.verdict() == GOOD


def is_frozen(process):
    """Return whether the process is suspended, for example by SIGSTOP."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc whether a process is stopped")
def test_a_publisher_that_was_frozen_does_not_send_a_lost_claim(outbox, start):
    """A publisher that loses its claim while it is frozen does not send the claimed events when it resumes."""
    first, second = outbox.add("k", FAILED, age=9), outbox.add("k", COMPLETED, age=8)
    process = start(options={}, point="fetched", freeze=True)
    deadline = time.monotonic() + 30
    while not is_frozen(process):
        process.join(0.01)
        assert time.monotonic() < deadline
    assert outbox.run(Clockwork()).stopped_because == "locked"
    outbox.execute(  # the server does this to a transaction that is idle for a minute
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle in transaction'"
    )
    while (report := outbox.publish()).stopped_because == "locked":
        assert time.monotonic() < deadline
    assert report.counts.published == 2
    process.join(0.5)
    os.kill(process.pid, signal.SIGCONT)
    process.join(30)
    assert process.exitcode is not None
    assert (outbox.sent(), outbox.verdict()) == ([first, second], GOOD)
