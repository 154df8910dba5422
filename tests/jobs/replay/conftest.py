"""Fixtures for replays: an outbox in a real database, and a publisher that sends requeued events."""

from __future__ import annotations

from uuid import uuid4

import pytest

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.jobs.replay import ReplayOptions, plan_replay, replay
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun

WHO = Actor("ops", "bastion", "Linh")


class Outbox:
    """The outbox of a database, with methods that read and replay its events."""

    def __init__(self, engine) -> None:
        self.engine = engine

    def rows(self, columns="id", where="true"):
        """Return the rows in the order of their creation."""
        sql = f'SELECT {columns} FROM outbox WHERE {where} ORDER BY "createdAt", id COLLATE "C"'  # noqa: S608
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(sql)]

    def ids(self, where="true"):
        """Return the ids of the events in the order of their creation."""
        return [row[0] for row in self.rows(where=where)]

    def execute(self, sql, **parameters):
        """Run a statement in another session, and return how many rows it changed."""
        with self.engine.begin() as connection:
            return connection.exec_driver_sql(sql, parameters).rowcount

    def states(self):
        """Return how many events are pending, dead and published."""
        dead = '"retryCount" >= 5'
        return tuple(
            len(self.ids(where))
            for where in (f"NOT published AND NOT {dead}", f"NOT published AND {dead}", "published")
        )

    def plan(self, selector=None, **allowed):
        """Return the replay plan for a selector. The default selector selects all dead events."""
        return plan_replay(self.engine, selector or Selector(failed=True), max_retries=5, **allowed)

    def replay(self, plan=None, options=None, *, run_id=None, **more):
        """Apply a replay plan as a recorded run. The default plan is for all dead events."""
        run = NewRun(
            run_id or str(uuid4()), "replay", WHO, reason="of a test", options=(options or ReplayOptions()).stored()
        )
        return replay(self.engine, plan or self.plan(), run, options or ReplayOptions(), max_retries=5, **more)

    def run(self, run_id):
        """Return a recorded run."""
        with transaction(self.engine, Limits(), commit=False) as connection:
            return runs.find(connection, run_id)[0]

    def items(self, run_id):
        """Return the recorded items of a run."""
        with transaction(self.engine, Limits(), commit=False) as connection:
            return runs.items(connection, run_id, 10_000)


@pytest.fixture
def outbox(engine):
    """Return the outbox in the test's database."""
    return Outbox(engine)


@pytest.fixture
def publish(engine, mock_kafka):
    """Yield a function that publishes pending events and returns the report."""
    producer = Producer(producer_config(KafkaSettings(mock_kafka.bootstrap)))
    yield lambda **options: publish_outbox(engine, producer, PublishOptions(**options))
    producer.close()
