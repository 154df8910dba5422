"""Test publishers, writers and an operator one step at a time. Hypothesis chooses how their steps interleave."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, closing
from itertools import count
from threading import Event
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.checker import Row, Verdict, judge, rows_of
from tests.conftest import engine_of
from tests.interleavings.stepping import Actor, Stage, SteppedProducer
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.sender import Sender
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog
from ticketbottle_payctl.jobs.publish_outbox.budget import Budget
from ticketbottle_payctl.jobs.publish_outbox.observer import Observer
from ticketbottle_payctl.jobs.publish_outbox.shard import DrainResult, Shard
from ticketbottle_payctl.jobs.replay import ReplayOptions, plan_replay, replay
from ticketbottle_payctl.sandbox.kafka_messages import read_all
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payctl.runs import Actor as Person
from ticketbottle_payctl.store.payctl.runs import NewRun

EXAMPLES = int(os.environ.get("PAYCTL_TEST_INTERLEAVINGS", "6"))
"""The number of interleavings to try. ``make orders`` sets a much higher number."""

BATCH = 2
TOPICS = ("payment.completed", "payment.failed", "payment.cancelled")
TYPES = ("PAYMENT_FAILED", "PAYMENT_COMPLETED")
STRANGE = "PAYMENT_STRANGE"
"""An event type without a topic. An event of this type is dead after its first try, and blocks later events."""

INSERT = """
    INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, "createdAt", "retryCount")
    VALUES (%(id)s, %(key)s, 'payment', %(type)s, %(payload)s,
        clock_timestamp() AT TIME ZONE 'UTC' - %(age)s * interval '1 second', %(retries)s)
"""
EMPTY = """
    TRUNCATE outbox, payctl.publishers, payctl.runs, payctl.event_context CASCADE
"""


class World:
    """The database for all of a test's interleavings, and the broker and producers for one interleaving."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = engine_of(url)
        self.ids = count()
        self.open = ExitStack()

    def renew(self) -> None:
        """Empty the tables, and start an empty broker and new producers, so that each sequence takes the same time."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(EMPTY)
        self.open.close()
        cluster = self.open.enter_context(MockKafka())
        for topic in TOPICS:
            cluster.create_topic(topic)
        self.bootstrap = cluster.bootstrap
        config = producer_config(KafkaSettings(self.bootstrap))
        self.producers = [self.open.enter_context(closing(SteppedProducer(config))) for _ in range(3)]

    def close(self) -> None:
        """Close all connections and producers, and stop the broker."""
        self.open.close()
        self.engine.dispose()

    def values(self, key: str, *, age: float = 0.0, retries: int = 0, type_: str | None = None) -> dict[str, object]:
        """Return the column values for a new event."""
        number = next(self.ids)
        return {
            "id": f"{number:09d}",
            "key": key,
            "type": type_ or TYPES[number % 2],
            "payload": json.dumps({"payment_id": key}),
            "age": age,
            "retries": retries,
        }

    def add(self, key: str, **given) -> None:
        """Insert an event and commit."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(INSERT, self.values(key, **given))


@pytest.fixture
def world(database_url):
    """Yield the world for one test."""
    with closing(World(database_url)) as made:
        yield made


def publisher(producer: SteppedProducer, shards: int):
    """Return a publisher's job, which drains its shards until the stepping has ended and no event is left."""

    def job(actor: Actor) -> None:
        producer.actor = actor
        options = PublishOptions(batch_size=BATCH, shards=shards)
        budget = Budget(options, Event())
        sender = Sender(producer)
        drained = [
            Shard(actor.engine, sender, Backlog(options, number), budget, f"{actor.name}:{uuid4()}", Observer())
            for number in range(shards)
        ]
        for shard in drained:
            shard.result = DrainResult.MORE
        while any(shard.result is DrainResult.MORE for shard in drained) or not actor.stage.free:
            for shard in drained:
                for _ in shard.drain():
                    pass
            actor.point("wait for events")
            if any(shard.result is DrainResult.LOCKED for shard in drained) and actor.stage.free:
                return  # the publisher that holds the shard drains it

    return job


def writer(world: World, key: str):
    """Return a writer's job, which commits each event of a payment a few steps after the event's timestamp."""

    def job(actor: Actor) -> None:
        for type_ in (None, STRANGE, None):
            with actor.engine.begin() as connection:
                connection.exec_driver_sql(INSERT, world.values(key, type_=type_))

    return job


def operator(actor: Actor) -> None:
    """Requeue all dead events, as ``payctl replay --failed`` does."""
    plan = plan_replay(actor.engine, Selector(failed=True), max_retries=5)
    run = NewRun(str(uuid4()), "replay", Person("ops", "bastion", "Linh"), reason="of a test", options={})
    replay(actor.engine, plan, run, ReplayOptions(), max_retries=5)


FINAL = {
    "a": ["published"] * 5 + ["dead", "pending"],
    "b": ["published"] * 2 + ["dead", "pending"],
    "c": ["published", "dead", "pending"],
    "dead": ["published"] * 2,
}
"""The final states of each payment's events, starting with the oldest event. No event behind a dead event is sent."""


def states_by_payment(rows: list[Row]) -> dict[str, list[str]]:
    """Return the states of each payment's events, starting with the oldest event."""
    found: dict[str, list[str]] = {key: [] for key in FINAL}
    for row in rows:
        found[row.key].append(row.state)
    return found


class Interleaving(RuleBasedStateMachine):
    """A sequence of steps. Hypothesis chooses each step, and simplifies any sequence that fails."""

    world: World

    @initialize(shards=st.sampled_from([1, 2]))
    def begin(self, shards: int) -> None:
        """Insert old events for three payments, including events that block others, and start all actors."""
        world = self.world
        world.renew()
        for age in range(4):
            for key in ("a", "b"):
                world.add(key, age=60 - age, type_=STRANGE if key == "b" and age == 2 else None)
        world.add("dead", age=50, retries=5)
        world.add("dead", age=40)
        self.shards, self.kills = shards, 0
        self.stage = Stage()
        self.actors: dict[str, Actor] = {}
        for number in (0, 1):
            self.start_publisher(number)
        for key in ("a", "c"):
            self.start(f"writer {key}", writer(world, key))
        self.start("operator", operator)
        self.stage.settle()

    def start(self, name: str, job) -> None:
        """Start an actor with its own connections."""
        self.actors[name] = Actor(self.stage, name, engine_of(self.world.url), job)

    def start_publisher(self, number: int) -> None:
        """Start a publisher, or restart it after a kill."""
        self.start(f"publisher {number}", publisher(self.world.producers[number], self.shards))

    @rule(choice=st.integers(0, 7), steps=st.integers(1, 6))
    def step(self, choice: int, steps: int) -> None:
        """Run one thread for a few steps."""
        for _ in range(steps):
            turns = self.stage.turns()
            if not turns:
                self.stage.settle()
                return
            self.stage.step(turns[choice % len(turns)])

    @precondition(lambda self: self.kills < 4)
    @rule(number=st.integers(0, 1))
    def kill_a_publisher(self, number: int) -> None:
        """Kill a publisher wherever it is, and start a new one."""
        self.kills += 1
        self.actors[f"publisher {number}"].kill()
        self.start_publisher(number)
        self.stage.settle()

    @rule()
    def kill_the_operator(self) -> None:
        """Kill the replay wherever it is, and start a new one."""
        self.actors["operator"].kill()
        self.start("operator", operator)
        self.stage.settle()

    def teardown(self) -> None:
        """Run all actors to their end, drain the remaining events, and check the result."""
        if not hasattr(self, "stage"):
            return
        self.stage.release()
        for actor in self.actors.values():
            actor.join()
        for name, job in (
            ("last operator", operator),
            ("last publisher", publisher(self.world.producers[2], self.shards)),
        ):
            last = Actor(self.stage, name, engine_of(self.world.url), job)
            last.join()
            assert last.failure is None
        rows = rows_of(self.world.engine)
        ids = {row.id for row in rows}
        messages = [m for m in read_all(self.world.bootstrap, TOPICS) if m.header["eventId"].decode() in ids]
        verdict = judge(rows, messages)
        copies = sum(verdict.duplicates.values())
        assert (
            Verdict(verdict.lost, verdict.phantom, verdict.altered, verdict.reordered, verdict.overtaken) == Verdict()
        ), self.stage.said
        assert states_by_payment(rows) == FINAL, self.stage.said
        assert copies <= self.kills * 2 * BATCH * self.shards, self.stage.said


def test_no_order_of_steps_loses_or_reorders_an_event(world):
    """However the steps of publishers, writers and an operator interleave, no event is lost or sent out of order."""
    machine = type("Interleaving", (Interleaving,), {"world": world})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
