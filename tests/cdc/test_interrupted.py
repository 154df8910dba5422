"""Test with a mock broker that an interrupted cut-over drops its slot, and that `cdc mark` skips earlier messages."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from functools import partial

import pytest
from sqlalchemy import event

from ticketbottle_payctl.broker.config import connection_config, producer_config
from ticketbottle_payctl.broker.follower import Follower
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.broker.sender import Sender
from ticketbottle_payctl.errors import DatabaseUnavailableError, GuardError
from ticketbottle_payctl.jobs.cdc import cut_over
from ticketbottle_payctl.jobs.cdc.cut_over import cdc_cut_over
from ticketbottle_payctl.jobs.cdc.mark import cdc_mark
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.outbox import cdc
from ticketbottle_payctl.store.outbox.debezium_names import ALL_TOPICS, MARKING_GROUP, PUBLICATION, SLOT, UNROUTABLE

SLOTS = "SELECT slot_name FROM pg_replication_slots"


@pytest.fixture
def clients(mock_kafka):
    """Yield a producer and a follower for the mock broker."""
    mock_kafka.create_topic(UNROUTABLE)
    settings = KafkaSettings(mock_kafka.bootstrap)
    producer = Producer(producer_config(settings))
    follower = Follower(connection_config(settings), MARKING_GROUP, ALL_TOPICS)
    yield producer, follower
    producer.close()
    follower.close()


@pytest.fixture
def hand_over(logical, engine, clients, execute):  # noqa: ARG001 - restarts the server that the database is in
    """Yield a function that runs the cut-over. Drop the slot after the test."""
    execute(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE outbox WITH (publish = 'insert')")
    yield partial(cdc_cut_over, engine, *clients, max_retries=5, shards=1)
    execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


@contextmanager
def before(engine, pattern, act):
    """Call ``act`` once, before the engine's first statement that matches the pattern."""
    acts = [act]

    def note(_connection, _cursor, statement, *_others):
        if acts and re.search(pattern, statement):
            acts.pop()()

    event.listen(engine, "before_cursor_execute", note)
    yield
    event.remove(engine, "before_cursor_execute", note)
    assert acts == [], "no statement matches"


def interrupt():
    """Raise KeyboardInterrupt, as Ctrl-C does."""
    raise KeyboardInterrupt


def test_ctrl_c_during_a_cut_over_removes_the_slot(hand_over, engine, insert, execute):
    """If an operator presses Ctrl-C while events are sent, the cut-over drops its replication slot."""
    insert(2)
    with before(engine, "UPDATE outbox", interrupt), pytest.raises(KeyboardInterrupt):
        hand_over()
    assert execute(SLOTS) == []


def test_a_lost_session_during_a_cut_over_removes_the_slot(hand_over, engine, insert, execute):
    """If the server ends a cut-over's session while it is sending events, the cut-over drops its replication slot."""
    insert(2)
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    others = partial(execute, f"{sql} AND pid <> pg_backend_pid()")
    with before(engine, "UPDATE outbox", others), pytest.raises(DatabaseUnavailableError):
        hand_over()
    assert execute(SLOTS) == []


def test_a_backlog_that_grows_during_the_checks_stops_the_cut_over(hand_over, engine, insert, execute, monkeypatch):
    """If the backlog grows too large after the check, the cut-over sends nothing and drops its replication slot."""
    monkeypatch.setattr(cut_over, "MOST_PENDING", 4)
    insert(4)
    with before(engine, "quote_ident", partial(insert, 1)), pytest.raises(GuardError, match="more than 4"):
        hand_over()
    assert (execute(SLOTS), execute("SELECT count(*) FROM outbox WHERE published")) == ([], [0])


def test_a_mark_reads_no_message_from_before_the_cut_over(hand_over, engine, clients, insert, execute):
    """`cdc mark` does not read messages from before the cut-over, because payctl has marked those events itself."""
    producer, follower = clients
    insert(3)
    assert publish_outbox(engine, producer, PublishOptions()).counts.published == 3
    insert(2)
    assert hand_over().sent == 2
    assert execute(SLOTS) == [SLOT]
    assert cdc_mark(engine, follower, 5).read == 2


def test_a_cut_over_waits_half_a_minute_for_writers_and_a_little_longer_for_messages(hand_over, insert, monkeypatch):
    """A cut-over waits 30 seconds for open transactions with writes. It waits 35 seconds for each wave of messages."""
    timer, send, waits = cdc.Timer, Sender.send, []

    def started(seconds, cancel):
        waits.append(seconds)
        return timer(seconds, cancel)

    def sent(self, events, deadline):
        waits.append(round(deadline - time.monotonic()))
        return send(self, events, deadline)

    monkeypatch.setattr(cdc, "Timer", started)
    monkeypatch.setattr(Sender, "send", sent)
    insert(1)
    assert (hand_over().sent, waits) == (1, [30, 35])
