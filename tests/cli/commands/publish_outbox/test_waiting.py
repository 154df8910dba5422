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
from ticketbottle_payctl.sandbox.payment_service import insert_payment
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


TABLE = [
    # situation, held elsewhere?, options, environment, exit code, mark, first words, reasons
    (nothing_waits, nothing, [], {}, 0, "✔", "published 1", []),
    (blocked, nothing, [], {}, 6, "!", "held back 1 event", ["dead"]),
    (blocked, nothing, ["--on-dead", "release"], {}, 6, "!", "1 paying customer waits for a dead event", []),
    (dead_alone, nothing, [], {}, 6, "!", "1 paying customer waits for a dead event", []),
    (dead_alone, nothing, ["--loop", "--deadline", "1s"], {}, 6, "!", "1 paying customer waits for a dead event", []),
    (dead_failure, nothing, [], {}, 0, "✔", "published 1", []),
    (blocked_by_a_failure, nothing, [], {}, 6, "!", "held back 1 event", ["dead"]),
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


def test_publish_outbox_names_each_dead_event_once(invoke, places, add):
    """`publish-outbox` counts the events that died in this run, lists each of them once, and suggests one command."""
    add("j", event_type="PAYMENT_FAILED", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    died = add("k", event_type="PAYMENT_REFUNDED")
    ran = invoke("publish-outbox", **places)
    first, *rest = ran.stdout.splitlines()
    assert first.startswith("!  1 event died  published 0")
    assert (ran.stdout.count("payctl errors"), ran.stdout.count(died), ran.stderr.count("dead")) == (1, 1, 0)
    assert [line.split() for line in rest if "dead in total" in line] == [["dead", "in", "total", "2"]]


def test_publish_outbox_names_a_dead_failure_that_nobody_waits_for(invoke, places, add):
    """If only a failure event is dead, `publish-outbox` suggests `doctor`.

    It also says that no paying customer is waiting.
    """
    dead_failure(add)
    text = invoke("publish-outbox", **places).stdout
    assert "1 dead event is left; no paying customer is waiting for it" in text
    (command,) = re.findall(r"next:\s+payctl (.*)", text)
    assert command == "doctor --only backlog"
    document = json.loads(invoke("publish-outbox", "-o", "json", **places).stdout)["result"]
    assert (document["dead_in_outbox"], document["dead_failures_in_outbox"]) == (1, 1)


def test_publish_outbox_tells_a_customer_s_dead_event_from_a_dead_failure(invoke, places, add):
    """`publish-outbox` counts dead events with and without a waiting customer separately, and suggests one command."""
    dead_failure(add)
    add("paid", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    text = invoke("publish-outbox", **places).stdout
    assert text.startswith("!  1 paying customer waits for a dead event  published 1")
    assert "1 other dead event reports a failed payment; no paying customer is waiting for it" in text
    assert re.findall(r"next:\s+payctl (.*)", text) == ["errors"]
    add("paid too", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    add("j", event_type="PAYMENT_CANCELLED", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    text = invoke("publish-outbox", **places).stdout
    assert text.startswith("!  2 paying customers wait for dead events  published 0")
    assert "2 other dead events report failed payments; no paying customer is waiting for them" in text


def test_publish_outbox_names_the_dead_events_of_paying_customers(invoke, places, add):
    """`publish-outbox` names each paying customer's dead event once, even if another dead event blocks an event.

    It names at most three of these dead events, and counts the others.
    """
    add("k", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large", order_code="TB-BLOCKER")
    add("k", age=50)
    dead = add("paid", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large", age=90, order_code="TB-DEAD")
    text = invoke("publish-outbox", **places).stdout
    assert f"  TB-DEAD ({dead[:8]}) is dead, and a paying customer waits for it\n" in text
    assert (text.count("TB-DEAD"), text.count("TB-BLOCKER")) == (1, 1)
    assert [command.split()[0] for command in re.findall(r"next:\s+payctl (.*)", text)] == ["show", "errors"]
    unnamed = [add(f"p{age}", retry_count=5, last_error="x", age=age) for age in (80, 70, 60)]
    text = invoke("publish-outbox", **places).stdout
    named = f"TB-DEAD ({dead[:8]}), {unnamed[0]}, {unnamed[1]} and 1 more are dead, and paying customers wait for them"
    assert named in text
    result = json.loads(invoke("publish-outbox", "-o", "json", **places).stdout)["result"]
    oldest = [{"id": dead, "order_code": "TB-DEAD"}, *({"id": each, "order_code": None} for each in unnamed[:2])]
    assert (result["unsent_successes"], result["dead_closed_in_outbox"]) == ({"events": 4, "oldest": oldest}, 0)


PAID, NOTE = "PAYMENT_COMPLETED", "PAYMENT_NOTE"
CUSTOMER, UNKNOWN = "1 paying customer waits for a dead event", "1 event of an unknown type is dead"


@pytest.mark.parametrize(
    ("status", "events", "words", "unsent", "unknown"),
    [
        ("FAILED", [(NOTE, "dead")], UNKNOWN, 0, 1),
        ("PENDING", [(NOTE, "dead")], UNKNOWN, 0, 1),
        (None, [(NOTE, "dead")], UNKNOWN, 0, 1),
        ("COMPLETED", [(NOTE, "dead")], UNKNOWN, 0, 1),
        ("COMPLETED", [(PAID, "published"), (NOTE, "dead")], UNKNOWN, 0, 1),
        ("COMPLETED", [(NOTE, "dead"), (PAID, "published")], UNKNOWN, 0, 1),
        ("COMPLETED", [(PAID, "dead"), (NOTE, "dead")], f"{CUSTOMER}, {UNKNOWN}", 1, 1),
        ("FAILED", [(NOTE, "dead"), ("PAYMENT_NOTICE", "dead")], "2 events of an unknown type are dead", 0, 2),
        (None, [(PAID, "dead")], CUSTOMER, 1, 0),
        ("FAILED", [("PAYMENT_FAILED", "dead")], "published 0", 0, 0),
    ],
)
def test_dead_events_of_unknown_types_are_counted_apart_from_waiting_customers(
    invoke, places, add, engine, status, events, words, unsent, unknown
):
    """A customer waits for a dead success event, and not for a dead event of an unknown type, which is counted apart.

    The exit code is 6 in each case, unless all dead events report failed payments.
    """
    with engine.begin() as connection:
        key = insert_payment(connection, status=status).id if status else "no payment"
    for age, (event_type, state) in enumerate(events):
        name = add(key, event_type=event_type, retry_count=5 if state == "dead" else 0, age=90 - age)
        if state == "published":
            publish(engine, name)
    ran = invoke("publish-outbox", **places)
    assert (ran.exit_code, ran.stdout.splitlines()[0].split("  ")[1]) == (6 if unsent or unknown else 0, words)
    assert ("next:  payctl errors" in ran.stdout) is bool(unsent or unknown)
    document = json.loads(invoke("publish-outbox", "-o", "json", **places).stdout)
    validate(document, "publish-outbox")
    result = document["result"]
    assert (result["unsent_successes"]["events"], result["dead_unknown_in_outbox"]) == (unsent, unknown)


def test_a_released_success_has_no_waiting_customer(invoke, places, add, engine):
    """After `--on-dead release` has sent the success behind an event of an unknown type, no customer waits."""
    with engine.begin() as connection:
        key = insert_payment(connection, status="COMPLETED").id
    add(key, event_type=NOTE, retry_count=5, last_error="UNKNOWN_EVENT_TYPE: no")
    add(key, age=50)
    held = invoke("publish-outbox", **places).stdout
    assert held.startswith(f"!  held back 1 event, {UNKNOWN}  published 0")
    released = invoke("publish-outbox", "--on-dead", "release", **places)
    assert (released.exit_code, released.stdout.startswith(f"!  {UNKNOWN}  published 1")) == (6, True)
    assert "customer" not in released.stdout


def test_customers_and_unknown_types_are_counted_separately(invoke, places, add):
    """`publish-outbox` says how many customers wait, and how many other dead events have an unknown type."""
    add("paid", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    add("not paid", event_type=NOTE, retry_count=5)
    assert invoke("publish-outbox", **places).stdout.startswith(f"!  {CUSTOMER}, {UNKNOWN}  published 0")


@pytest.mark.parametrize("event_type", ["PAYMENT_FAILED", "PAYMENT_COMPLETED"])
def test_an_event_that_dies_hides_no_older_dead_event(invoke, places, add, event_type):
    """`publish-outbox` names an older dead event of a paying customer, even if another event died in this run."""
    new = add("new", event_type=event_type, payload_bytes=2_000_000)
    assert f"{new[:8]}) is dead, and a paying customer" not in invoke("publish-outbox", **places).stdout
    old = add("paid", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large", age=90, order_code="TB-OLD")
    add("newer", event_type=event_type, payload_bytes=2_000_000)
    text = invoke("publish-outbox", **places).stdout
    assert f"TB-OLD ({old[:8]})" in text
    assert text.count("errors") == 1


def test_an_event_that_dies_and_blocks_hides_no_older_dead_event(invoke, places, add):
    """`publish-outbox` names an older dead event of a paying customer, even if a newly dead event blocks others."""
    old = add("paid", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large", age=90, order_code="TB-OLD")
    add("newer", payload_bytes=2_000_000, age=30)
    add("newer", age=20)
    assert f"TB-OLD ({old[:8]})" in invoke("publish-outbox", **places).stdout


@pytest.mark.parametrize("option", ["-n", "--dry-run"])
def test_a_dry_run_of_publish_outbox_names_the_command_that_applies_it(invoke, places, add, option):
    """After a dry run, `publish-outbox` suggests the same command without -n."""
    blocked(add)
    shown = invoke("publish-outbox", option, "--on-dead", "release", **places).stdout.splitlines()
    assert shown[-2:] == ["dry run:  nothing was changed. To apply it:", "  payctl publish-outbox --on-dead release"]
    assert "published 2" in invoke(*shown[-1].split()[1:], **places).stdout


def test_a_dry_run_of_publish_outbox_names_no_command_if_nothing_can_be_sent(invoke, places, add):
    """If every pending event is blocked, a dry run of `publish-outbox` does not suggest a command for the real run."""
    blocked_by_a_failure(add)
    shown = invoke("publish-outbox", "-n", **places).stdout.splitlines()
    assert shown[0] == "0 events  would be claimed, 1 would be held back"
    assert shown[-1] == "dry run:  nothing was changed"


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


def test_a_dry_run_of_publish_outbox_counts_the_blocked_events(invoke, places, add):
    """`publish-outbox -n` counts the blocked events, exits with 0 and does not show a mark."""
    blocked(add)
    ran = invoke("publish-outbox", "-n", **places)
    assert ran.exit_code == 0
    assert ran.stdout.startswith("1 event  would be claimed, 1 would be held back")
    assert "1 event waits behind the dead event" in ran.stdout
    document = json.loads(invoke("publish-outbox", "-n", "-o", "json", **places).stdout)
    validate(document, "publish-outbox")
    assert (document["counts"]["claimed"], document["counts"]["held"], document["counts"]["pending"]) == (1, 1, 2)


def test_a_dry_run_of_publish_outbox_says_which_events_would_die(invoke, places, add):
    """`publish-outbox -n` counts the events of unknown types as events that would die, as the real run does."""
    blocked(add)
    add("strange", event_type="NO_SUCH_TYPE")
    ran = invoke("publish-outbox", "-n", **places)
    document = json.loads(invoke("publish-outbox", "-n", "-o", "json", **places).stdout)
    validate(document, "publish-outbox")
    assert ran.stdout.startswith("1 event  would be claimed, 1 would die: unknown type, 1 would be held back")
    rows = dict(line.split("\t", 1) for line in ran.stdout.splitlines() if "\t" in line)
    assert rows["NO_SUCH_TYPE"].startswith("none: would die\t1\t0\t")
    assert rows["PAYMENT_COMPLETED"].startswith("payment.completed\t1\t1\t")
    assert {each["event_type"]: (each["events"], each["held"]) for each in document["items"]} == {
        "NO_SUCH_TYPE": (1, 0),
        "PAYMENT_COMPLETED": (2, 1),
    }
    assert [document["counts"][name] for name in ("claimed", "dead", "held", "pending")] == [2, 1, 1, 3]
    assert "1 event died" in invoke("publish-outbox", **places).stdout
