"""Test the time limits that each job sets for its database transactions."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import event

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.jobs.cleanup import cleanup, preview_cleanup
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.jobs.replay import ReplayOptions, plan_replay, replay
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun

pytestmark = pytest.mark.postgres
NAMES = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture
def limits(engine):
    """Return a set that collects the limits of all further transactions: statement, lock and idle time, in seconds."""
    found = set()

    def note(_connection, _cursor, statement, *_others):
        given = dict(re.findall(r"set_config\('(\w+)', '(\d+)', true\)", statement))
        if given:
            found.add(tuple(int(given[name]) / 1000 for name in NAMES))

    with engine.begin() as connection:
        insert_events(connection, 1, state="dead")
        insert_events(connection, 1, state="published", age=timedelta(days=30))
    event.listen(engine, "before_cursor_execute", note)
    return found


def test_a_replay_waits_up_to_half_a_minute_for_a_statement(engine, limits):
    """In a replay, a statement can take up to 30 seconds, and the selection of the events up to 60 seconds."""
    plan = plan_replay(engine, Selector(failed=True), max_retries=5)
    assert limits == {(60, 5, 60)}
    limits.clear()
    run = NewRun(str(uuid4()), "replay", Actor("ops", "bastion", "Linh"), options=ReplayOptions().stored())
    assert replay(engine, plan, run, ReplayOptions(), max_retries=5).requeued == 1
    assert limits - {(30, 5, timedelta(days=24).total_seconds())} == {(30, 5, 60)}


def test_a_cleanup_waits_up_to_ten_seconds_for_a_batch(engine, limits):
    """In a cleanup, a batch can take ten seconds and waits up to one second for a lock. Counts can take longer."""
    report = cleanup(engine, retention=timedelta(days=7), max_retries=5)
    assert report.deleted == 1
    assert limits == {(10, 1, 60), (60, 5, 60), (300, 5, 60)}
    limits.clear()
    preview_cleanup(engine, retention=timedelta(days=7))
    assert limits == {(300, 5, 60)}


def test_a_publisher_waits_up_to_two_seconds_for_a_lock(engine, limits, mock_kafka):
    """A publisher waits up to two seconds for a lock. A statement that looks for obstacles can take five seconds."""
    producer = Producer(producer_config(KafkaSettings(mock_kafka.bootstrap)))
    publish_outbox(engine, producer, PublishOptions())
    producer.close()
    assert limits == {(30, 2, 60), (5, 2, 60)}
