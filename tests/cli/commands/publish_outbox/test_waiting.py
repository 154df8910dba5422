"""Test that the first line, mark, exit code and document of ``payctl publish-outbox`` agree when events are waiting."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import contextmanager

import pytest
from confluent_kafka import KafkaError

from tests.cli.commands.publish_outbox.conftest import NOBODY, blocked
from tests.cli.documents import validate
from ticketbottle_payctl.cli.commands.publish_outbox.result import result_of
from ticketbottle_payctl.jobs.publish_outbox import Obstacles, PublishCounts, PublishReport, StoppedBecause
from ticketbottle_payctl.store.outbox import shard_lock


def publish(engine, name):
    """Mark an event as published."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            'UPDATE outbox SET published = true, "publishedAt" = "createdAt" WHERE id = %s', (name,)
        )


@contextmanager
def a_busy_publisher(engine):
    """Hold the shard's lock, as another publisher does while it sends a batch."""
    with engine.connect() as other:
        shard_lock.enter(other, 0, 1, 0, "elsewhere:77:abc")
        yield
        other.rollback()


@contextmanager
def nothing(_engine):
    """Leave the shard's lock free."""
    yield


def nothing_waits(add):
    """Insert one event that can be published."""
    add("k")


def dead_alone(add):
    """Insert a dead event with no event behind it, and an event that can be published."""
    add("k", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    add("other")


def dead_failure(add):
    """Insert a dead failure event with no event behind it, and an event that can be published."""
    add("k", event_type="PAYMENT_FAILED", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    add("other")


def blocked_by_a_failure(add):
    """Insert a dead failure event, and the success event that waits behind it."""
    add("k", event_type="PAYMENT_CANCELLED", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    add("k", age=50)


def a_failure_that_dies(add):
    """Insert a failure event that is too large for any broker."""
    add("k", event_type="PAYMENT_FAILED", payload_bytes=1_100_000)


def not_due(add):
    """Insert an event that waits for its retry."""
    add("k", retry_count=4, age=0, last_error="INVALID_REQUEST: no")


def unknown_type(add):
    """Insert an event of an unknown type, and an event that can be published."""
    add("k", event_type="PAYMENT_REFUNDED")
    add("other")


def many(add):
    """Insert two events, so that a batch size of one needs two batches."""
    add("a")
    add("b")


CUSTOMER = "1 paying customer waits for a dead event"
TABLE = [
    # how to insert the events, what another publisher does, options, environment, exit code, mark, first words, reasons
    (nothing_waits, nothing, [], {}, 0, "✔", "published 1", []),
    (blocked, nothing, [], {}, 6, "!", f"{CUSTOMER}, held back 1 event", ["dead"]),
    (blocked, nothing, ["--on-dead", "release"], {}, 0, "✔", "published 2", []),
    (dead_alone, nothing, [], {}, 6, "!", CUSTOMER, []),
    (dead_alone, nothing, ["--loop", "--deadline", "1s"], {}, 6, "!", CUSTOMER, []),
    (dead_failure, nothing, [], {}, 0, "✔", "published 1", []),
    (blocked_by_a_failure, nothing, [], {}, 6, "!", f"{CUSTOMER}, held back 1 event", ["dead"]),
    (blocked_by_a_failure, nothing, ["--type", "PAYMENT_FAILED"], {}, 6, "!", f"{CUSTOMER}  published 0", []),
    (blocked_by_a_failure, nothing, ["--on-dead", "release"], {}, 0, "✔", "published 1", []),
    (a_failure_that_dies, nothing, [], {}, 6, "!", "1 event died", []),
    (blocked, nothing, ["--max-batches", "1", "--batch-size", "1"], {}, 6, "!", "held back 1 event", ["dead"]),
    (blocked, nothing, ["--loop", "--deadline", "1s"], {}, 6, "!", "held back 1 event", ["dead"]),
    (not_due, nothing, [], {}, 6, "!", "held back 1 event", ["retry_later"]),
    (unknown_type, nothing, [], {}, 6, "!", "1 event died", []),
    (many, nothing, ["--max-batches", "1", "--batch-size", "1"], {}, 0, "✔", "more events are pending", []),
    (many, nothing, ["--loop", "--deadline", "1s"], {}, 0, "✔", "published 2", []),
    (many, nothing, ["--deadline", "1ms"], {}, 10, "!", "the time limit was reached; more events are pending", []),
    (nothing_waits, a_busy_publisher, [], {}, 9, "!", "another process holds the outbox", []),
    (nothing_waits, a_busy_publisher, ["--loop", "--deadline", "4s"], {}, 9, "!", "another process holds", []),
    (nothing_waits, a_busy_publisher, ["--deadline", "1s"], {}, 10, "!", "another process holds the outbox", []),
    (nothing_waits, nothing, ["--deadline", "1s"], {"KAFKA_BROKERS": NOBODY}, 4, None, "KAFKA_UNAVAILABLE", []),
    (nothing_waits, nothing, ["--loop", "--deadline", "2s"], {"KAFKA_BROKERS": NOBODY}, 4, None, "KAFKA_", []),
    (nothing_waits, nothing, [], {"PGOPTIONS": "-c default_transaction_read_only=on"}, 4, None, "read-only", []),
]
IDS = [
    "-".join([situation.__name__, *[place.__name__][: place is not nothing], *options, *changes])
    for situation, place, options, changes, *_ in TABLE
]


@pytest.mark.parametrize(
    ("situation", "place", "options", "changes", "code", "mark", "words"), [row[:-1] for row in TABLE], ids=IDS
)
def test_publish_outbox_shows_a_tick_only_with_exit_code_0(
    situation, place, options, changes, code, mark, words, invoke, places, add, engine
):
    """`publish-outbox` shows a tick only if it exits with 0. Otherwise, the first line says why events are waiting."""
    situation(add)
    with place(engine):
        ran = invoke("publish-outbox", *options, **{**places, **changes})
    assert ran.exit_code == code, ran.stderr
    first, *rest = (ran.stdout or ran.stderr.partition("\n")[2]).splitlines()
    assert words in first
    if mark:
        assert first.startswith(mark)
        assert ("✔" in first) is (code == 0)
    else:
        assert first.startswith("error[")
    assert ("payctl doctor --only publishers" in "".join(rest)) is (place is a_busy_publisher)


@pytest.mark.parametrize(
    ("situation", "place", "options", "changes", "code", "reasons"),
    [(*row[:5], row[7]) for row in TABLE if row[4] in {6, 9}],
    ids=[name for name, row in zip(IDS, TABLE, strict=True) if row[4] in {6, 9}],
)
def test_the_document_of_publish_outbox_names_each_block(
    situation, place, options, changes, code, reasons, invoke, places, add, engine
):
    """The document of `publish-outbox` lists each blocking event with its reason, and the holder of each lock."""
    situation(add)
    with place(engine):
        document = json.loads(invoke("publish-outbox", *options, "-o", "json", **{**places, **changes}).stdout)
    validate(document, "publish-outbox")
    result = document["result"]
    assert (document["exit_code"], document["ok"], document["error"]) == (code, False, None)
    assert [each["reason"] for each in result["blocked_by"]] == reasons
    assert document["counts"]["held"] == sum(each["events"] for each in result["blocked_by"])
    assert bool(result["locked_by"]) is (code == 9)
    assert all("database session" in each["holder"] for each in result["locked_by"])


@pytest.mark.parametrize(
    ("dead", "first"),
    [
        (False, "1 event is locked"),
        (True, "1 paying customer waits for a dead event, held back 2 events, 1 of them locked"),
    ],
)
def test_publish_outbox_names_locked_events_and_the_next_command(invoke, places, add, engine, dead, first):
    """If another session has locked an event, the first line says so, and the next command names the session."""
    locked = add("locked", age=200)
    if dead:
        blocked(add)
    with engine.connect() as other:
        other.exec_driver_sql("SET application_name = 'psql'")
        pid = other.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        other.exec_driver_sql("SELECT FROM outbox WHERE id = %s FOR UPDATE", (locked,))
        ran = invoke("publish-outbox", **places)
        commands = re.findall(r"next:\s+payctl (.*)", ran.stdout)
        found = [invoke(*command.split(), **places).stdout for command in commands if command.startswith("doctor")]
    assert (ran.exit_code, ran.stdout.startswith(f"!  {first} by another session")) == (6, True), ran.stdout
    assert commands[-1] == "doctor --only backlog"
    assert f"locked by pid {pid}, psql" in found[0]


def test_publish_outbox_suggests_each_command_once(invoke, places, add, engine):
    """A locked event and a harmless dead event lead to the same command, which is printed once."""
    locked = add("locked", age=200)
    add("k", event_type="PAYMENT_FAILED", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    with engine.connect() as other:
        other.exec_driver_sql("SELECT FROM outbox WHERE id = %s FOR UPDATE", (locked,))
        ran = invoke("publish-outbox", **places)
    assert "1 dead event is left; no paying customer is waiting for it" in ran.stdout
    assert re.findall(r"next:\s+payctl (.*)", ran.stdout) == ["doctor --only backlog"]


@pytest.mark.parametrize("payload", [{}, {"order_code": "TB-1"}])
def test_publish_outbox_names_the_blocking_event_and_the_next_command(invoke, places, add, payload):
    """`publish-outbox` names the blocking event, and suggests a `payctl show` command that finds this event.

    The event is identified by its order code and short id or, without an order code, by its complete id.
    """
    blocker = add("k", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large", **payload)
    add("k", age=50)
    text = invoke("publish-outbox", **places).stdout
    name = f"TB-1 ({blocker[:8]})" if payload else blocker
    assert f"1 event waits behind the dead event {name}: MSG_SIZE_TOO_LARGE: too large" in text
    (command,) = re.findall(r"next:\s+payctl (.*)", text)
    shown = invoke(*command.split(), **places)
    assert (shown.exit_code, blocker in shown.stdout) == (5, True)


def test_publish_outbox_shows_a_rate_only_of_many_events(invoke, places, add):
    """For a single event, `publish-outbox` shows the lag, but not a rate or percentiles."""
    add("k")
    text = invoke("publish-outbox", **places).stdout
    assert re.match(r"✔  published 1  in [\d.]+ m?s, 1 batch\n", text), text
    assert ("/s" in text, "p50" in text, "publish lag" in text) == (False, False, True)


@pytest.mark.parametrize(("seconds", "shown"), [(2.0, "in 2 s, 50/s, 0 batches"), (0.9, "in 900 ms, 0 batches")])
def test_a_rate_is_shown_after_a_second(seconds, shown):
    """For a hundred events, `publish-outbox` shows a rate only if the run took at least a second."""
    counts = PublishCounts(published_by_type=Counter({"PAYMENT_COMPLETED": 100}))
    first = result_of(PublishReport(counts, StoppedBecause.EMPTY, seconds, Obstacles()), loop=False).human[0]
    assert first.parts[-1].text == shown


def test_no_dead_event_is_said_to_be_left_if_there_is_none():
    """The result of a run does not say that dead events are left if the outbox has none."""
    ended = result_of(PublishReport(PublishCounts(), StoppedBecause.EMPTY, 1.0, Obstacles()), loop=False)
    assert "paying customer" not in repr(ended.human)


def test_publish_outbox_names_a_missing_topic(invoke, places, add, mock_kafka):
    """If a topic is missing, `publish-outbox` shows the topic, the broker's error and the count of waiting events."""
    mock_kafka.fail_topic("payment.completed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    try:
        add("k")
        ran = invoke("publish-outbox", **places)
    finally:
        mock_kafka.fail_topic("payment.completed", 0)
    assert ran.exit_code == 6
    assert "1 event waits for topic payment.completed, which cannot be written to: UNKNOWN_TOPIC_OR_PART" in ran.stdout
    assert ran.stdout.startswith("!  held back 1 event")
