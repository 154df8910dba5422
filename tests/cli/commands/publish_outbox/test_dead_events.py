"""Test that ``payctl publish-outbox`` counts dead events, and names those that paying customers wait for."""

from __future__ import annotations

import json
import re

import pytest

from tests.cli.commands.publish_outbox.test_waiting import blocked_by_a_failure, dead_failure, publish
from tests.cli.documents import validate
from ticketbottle_payctl.cli.commands.publish_outbox.result import result_of
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.jobs.publish_outbox import Obstacles, PublishCounts, PublishReport, StoppedBecause
from ticketbottle_payctl.sandbox.payment_service import insert_payment
from ticketbottle_payctl.store.outbox.unsent_successes import UnsentSuccesses

PAID, NOTE = "PAYMENT_COMPLETED", "PAYMENT_NOTE"
CUSTOMER, UNKNOWN = "1 paying customer waits for a dead event", "1 event of an unknown type is dead"


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

    `publish-outbox` also says that no paying customer is waiting.
    """
    dead_failure(add)
    text = invoke("publish-outbox", **places).stdout
    assert "1 dead event is left; no paying customer is waiting for it" in text
    (command,) = re.findall(r"next:\s+payctl (.*)", text)
    assert command == "doctor --only backlog"
    document = json.loads(invoke("publish-outbox", "-o", "json", **places).stdout)["result"]
    assert (document["dead_in_outbox"], document["dead_failures_in_outbox"]) == (1, 1)


@pytest.mark.parametrize(("success_dies", "commands"), [(False, ["doctor --only backlog"]), (True, ["errors"])])
def test_no_event_that_a_customer_waits_for_is_counted_as_harmless(invoke, places, add, success_dies, commands):
    """If a customer waits behind a dead failure event, the output never says that no customer is waiting."""
    blocked_by_a_failure(add)
    if success_dies:
        add("paid", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    text = invoke("publish-outbox", "--type", "PAYMENT_FAILED", **places).stdout
    assert ("paying customer" in text.splitlines()[0], "no paying customer" in text) == (True, False), text
    assert re.findall(r"next:\s+payctl (.*)", text) == commands


@pytest.mark.parametrize(("blocked", "keys", "says"), [
    (True, [], False), (True, ["paid"], False), (True, ["paid", "paid"], False), (True, ["paid"] * 3, False),
    (True, ["paid", "paid too"], False), (False, ["paid"], True), (False, ["paid", "paid"], True),
    (False, ["paid", "paid too"], True),
])  # fmt: skip
def test_a_customer_with_two_dead_success_events_counts_once(invoke, places, add, blocked, keys, says):
    """The output says that no customer waits for the dead failure only if no event is blocked by the dead failure.

    The number of dead success events makes no difference.
    """
    (blocked_by_a_failure if blocked else dead_failure)(add)
    for key in keys:
        add(key, retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    text = invoke("publish-outbox", "--type", "PAYMENT_FAILED", **places).stdout
    assert ("no paying customer is waiting" in text) is says, text


def test_publish_outbox_tells_a_customer_s_dead_event_from_a_dead_failure(invoke, places, add):
    """`publish-outbox` counts dead events with and without a waiting customer separately, and suggests one command."""
    dead_failure(add)
    add("paid", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    text = invoke("publish-outbox", **places).stdout
    assert text.startswith("!  1 paying customer waits for a dead event  published 1")
    assert "1 other dead event is left; no paying customer is waiting for it" in text
    assert re.findall(r"next:\s+payctl (.*)", text) == ["errors"]
    add("paid too", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    add("j", event_type="PAYMENT_CANCELLED", retry_count=5, last_error="MSG_SIZE_TOO_LARGE: too large")
    text = invoke("publish-outbox", **places).stdout
    assert text.startswith("!  2 paying customers wait for dead events  published 0")
    assert "2 other dead events are left; no paying customer is waiting for them" in text


def test_publish_outbox_names_the_dead_events_of_paying_customers(invoke, places, add):
    """`publish-outbox` names each paying customer's dead event once, even if another dead event blocks an event.

    `publish-outbox` names at most three of these dead events, and counts the others.
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
    """A customer waits for a dead success event. A dead event of an unknown type is counted separately.

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
    """Once `--on-dead release` has sent the success event behind a dead event, `publish-outbox` names no customer."""
    with engine.begin() as connection:
        key = insert_payment(connection, status="COMPLETED").id
    add(key, event_type=NOTE, retry_count=5, last_error="UNKNOWN_EVENT_TYPE: no")
    add(key, age=50)
    held = invoke("publish-outbox", **places).stdout
    assert " ".join(held.split()).startswith(f"! {CUSTOMER}, held back 1 event, {UNKNOWN} published 0")
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


@pytest.mark.parametrize("options", [[], ["--on-dead", "release"]], ids=["block", "release"])
def test_a_waiting_customer_comes_before_an_event_that_died(invoke, places, add, options):
    """If an event of a paying customer dies, the first line of `publish-outbox` first says that a customer waits."""
    add("k", payload_bytes=2_000_000)
    ran = invoke("publish-outbox", *options, **places)
    assert ran.stdout.startswith(f"!  {CUSTOMER}, 1 event died  published 0")


@pytest.mark.parametrize(
    ("reason", "obstacles", "words"),
    [
        ("signal", Obstacles(), "stopped by a signal"),
        ("signal", Obstacles(oldest_pending_age_s=3), "stopped by a signal; more events are pending"),
        ("signal", Obstacles(unsent=UnsentSuccesses(customers=1)), f"stopped by a signal, {CUSTOMER}"),
        ("empty", Obstacles(), "stopped by a signal"),
    ],
)
def test_a_signal_is_the_first_thing_that_the_first_line_names(reason, obstacles, words):
    """If the exit code is 130, the first line of `publish-outbox` says first that a signal stopped the run."""
    report = PublishReport(PublishCounts(), StoppedBecause(reason), 2.0, obstacles)
    result = result_of(report, loop=False, signalled=ExitCode.INTERRUPTED)
    assert (result.exit_code, result.human[0].parts[1].text) == (130, words)
