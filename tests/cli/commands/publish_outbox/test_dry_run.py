"""Test that a dry run of ``payctl publish-outbox`` says which events would be sent, held back or dead."""

from __future__ import annotations

import json
import re

import pytest

from tests.cli.commands.publish_outbox.conftest import blocked
from tests.cli.commands.publish_outbox.test_waiting import blocked_by_a_failure
from tests.cli.documents import validate
from ticketbottle_payctl.domain.unknown_types import what_to_do


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
    assert shown[0] == "0 events  would be published, 1 would be held back"
    assert shown[-1] == "dry run:  nothing was changed"


def test_a_dry_run_of_publish_outbox_counts_the_blocked_events(invoke, places, add):
    """`publish-outbox -n` counts the blocked events, exits with 0 and does not show a mark."""
    blocked(add)
    ran = invoke("publish-outbox", "-n", **places)
    assert ran.exit_code == 0
    assert ran.stdout.startswith("1 event  would be published, 1 would be held back")
    assert "1 event waits behind the dead event" in ran.stdout
    document = json.loads(invoke("publish-outbox", "-n", "-o", "json", **places).stdout)
    validate(document, "publish-outbox")
    assert (document["counts"]["claimed"], document["counts"]["held"], document["counts"]["pending"]) == (1, 1, 2)


def test_a_dry_run_of_publish_outbox_says_which_events_would_die(invoke, places, add):
    """`publish-outbox -n` counts the events of unknown types as events that would die, as the real run does."""
    blocked(add)
    strange = add("strange", event_type="NO_SUCH_TYPE")
    ran = invoke("publish-outbox", "-n", **places)
    document = json.loads(invoke("publish-outbox", "-n", "-o", "json", **places).stdout)
    validate(document, "publish-outbox")
    assert ran.stdout.startswith("1 event  would be published, 1 would die: unknown type, 1 would be held back")
    rows = dict(line.split("\t", 1) for line in ran.stdout.splitlines() if "\t" in line)
    assert rows["event type"] == "topic\tpublish\twould die\theld back\toldest"
    assert rows["NO_SUCH_TYPE"].startswith("none\t0\t1\t0\t")
    assert rows["PAYMENT_COMPLETED"].startswith("payment.completed\t1\t0\t1\t")
    assert f"  {strange} would die: payctl does not know the event type NO_SUCH_TYPE" in ran.stdout.splitlines()
    assert {each["event_type"]: (each["events"], each["held"], each["would_die"]) for each in document["items"]} == {
        "NO_SUCH_TYPE": (1, 0, 1),
        "PAYMENT_COMPLETED": (2, 1, 0),
    }
    assert [document["counts"][name] for name in ("claimed", "dead", "held", "pending")] == [2, 1, 1, 3]
    assert "1 event died" in invoke("publish-outbox", **places).stdout


def test_a_dry_run_of_publish_outbox_counts_the_events_behind_a_dying_one(invoke, places, add):
    """`publish-outbox -n` counts the events behind an event that would die as held back.

    `publish-outbox -n` prints both the task about the unknown type and the command for the real run.
    """
    add("k", event_type="NO_SUCH_TYPE")
    add("k", age=50)
    add("k", age=40)
    add("other")
    ran = invoke("publish-outbox", "-n", **places)
    lines = ran.stdout.splitlines()
    assert lines[0] == "1 event  would be published, 1 would die: unknown type, 2 would be held back"
    (cause,) = [line for line in lines if "which would die" in line]
    assert re.fullmatch(
        r"  2 events would wait behind event \S+, which would die: payctl does not know its type NO_SUCH_TYPE", cause
    )
    assert lines[-3:] == [
        f"to do:  {what_to_do(['NO_SUCH_TYPE'])}",
        "dry run:  nothing was changed. To apply it:",
        "  payctl publish-outbox",
    ]
    document = json.loads(invoke("publish-outbox", "-n", "-o", "json", **places).stdout)
    validate(document, "publish-outbox")
    assert [document["counts"][name] for name in ("claimed", "dead", "held", "pending")] == [2, 1, 2, 4]
    assert [each["reason"] for each in document["result"]["blocked_by"]] == ["would_die"]
    ran = json.loads(invoke("publish-outbox", "-o", "json", **places).stdout)["counts"]
    assert [ran[name] for name in ("published", "dead", "held")] == [1, 1, 2]


STRANGE = {"event_type": "NO_SUCH_TYPE"}


@pytest.mark.parametrize(
    ("events", "options", "reason"),
    [
        ([{"retry_count": 5}, STRANGE, {}], [], "dead"),
        ([{"retry_count": 4}, STRANGE, {}], [], "retry_later"),
        ([{"retry_count": 4, **STRANGE}, {}], [], "retry_later"),
        ([STRANGE, {}], ["--type", "PAYMENT_COMPLETED"], "other_type"),
    ],
    ids=["behind a dead event", "behind a retry", "waits for its retry", "not selected"],
)
def test_a_dry_run_of_publish_outbox_names_no_death_that_does_not_happen(invoke, places, add, events, options, reason):
    """`publish-outbox -n` does not say that an event would die if the real run does not reach this event."""
    for number, event in enumerate(events):
        add("k", age=9 - number, last_error="x", **event)
    for dry_run in (["-n"], []):
        document = json.loads(invoke("publish-outbox", *dry_run, *options, "-o", "json", **places).stdout)
        assert document["counts"]["dead"] == 0
        assert [each["reason"] for each in document["result"]["blocked_by"]] == [reason]


def test_a_dry_run_of_publish_outbox_does_not_advise_a_run_that_only_kills_events(invoke, places, add):
    """If a run would only mark events as dead, `publish-outbox -n` prints what to do, and no command for the run."""
    add("k", event_type="NO_SUCH_TYPE")
    add("k", age=50)
    lines = invoke("publish-outbox", "-n", **places).stdout.splitlines()
    assert lines[0] == "0 events  would be published, 1 would die: unknown type, 1 would be held back"
    assert lines[-2:] == [f"to do:  {what_to_do(['NO_SUCH_TYPE'])}", "dry run:  nothing was changed"]


@pytest.mark.parametrize("options", [[], ["--on-dead", "release"]], ids=["block", "release"])
def test_a_dry_run_of_publish_outbox_counts_the_messages_that_are_too_large(invoke, places, add, options):
    """`publish-outbox -n` says that events whose messages are too large for payctl would die."""
    large = [add("k", payload_bytes=1_100_000, age=90), add("other", payload_bytes=1_100_000)]
    add("k", age=50)
    add("small", payload_bytes=990_000)
    released = "release" in options
    ran = invoke("publish-outbox", "-n", *options, **places)
    behind = "" if released else ", 1 would be held back"
    sent = "2 events" if released else "1 event"
    lines = ran.stdout.splitlines()
    assert lines[0] == f"{sent}  would be published, 2 would die: too large{behind}"
    assert f"  {large[0]}, {large[1]} would die: their messages are larger than 1,000,000 bytes" in lines
    assert ("1 event would wait behind event" in ran.stdout) is not released
    assert any(line.startswith("to do:  ask the payment service's team for smaller payloads") for line in lines)
    (row,) = [line for line in lines if line.startswith("PAYMENT_COMPLETED\t")]
    assert row.split("\t")[2:5] == ([*"220"] if released else [*"121"])
    document = json.loads(invoke("publish-outbox", "-n", *options, "-o", "json", **places).stdout)
    validate(document, "publish-outbox")
    foretold = [document["counts"][name] for name in ("dead", "held")]
    ran = json.loads(invoke("publish-outbox", *options, "-o", "json", **places).stdout)["counts"]
    assert [ran[name] for name in ("dead", "held")] == foretold
    assert sent.startswith(f"{ran['published']} ")


@pytest.mark.parametrize("event", [{"retry_count": 4}, {"age": 20}], ids=["waits for its retry", "behind a dead event"])
def test_a_dry_run_of_publish_outbox_knows_when_a_large_message_would_not_die_yet(invoke, places, add, event):
    """If an event with too large a message is not due yet, `publish-outbox -n` only counts the event as held back."""
    if "age" in event:
        add("k", retry_count=5, last_error="x")
    add("k", payload_bytes=1_100_000, **{"age": 5, **event})
    lines = invoke("publish-outbox", "-n", **places).stdout.splitlines()
    assert lines[0] == "0 events  would be published, 1 would be held back"


@pytest.mark.parametrize("event_type", ["PAYMENT_COMPLETED", "NO_SUCH_TYPE", "PAYMENT_FAILED"])
def test_a_dry_run_of_publish_outbox_names_the_dead_events_as_the_run_does(invoke, places, add, event_type):
    """With only a dead event left, `publish-outbox -n` prints the same lines about it as the real run."""
    add("k", retry_count=5, last_error="x", event_type=event_type)
    dry, real = invoke("publish-outbox", "-n", **places).stdout, invoke("publish-outbox", **places).stdout
    told = [line for line in real.splitlines()[1:] if line.startswith("  ")]
    assert told[0:1]
    assert [line for line in dry.splitlines() if line in told] == told
    assert ("1 event of an unknown type is dead" in dry) is (event_type == "NO_SUCH_TYPE")


def test_a_dry_run_of_publish_outbox_shows_no_column_for_deaths_if_no_event_would_die(invoke, places, add):
    """If no event would die, the table of `publish-outbox -n` has no column for deaths."""
    add("k")
    lines = invoke("publish-outbox", "-n", **places).stdout.splitlines()
    assert next(line for line in lines if "\t" in line) == "event type\ttopic\tpublish\theld back\toldest"


def test_a_dry_run_of_publish_outbox_names_the_orders_whose_events_would_die(invoke, places, add):
    """`publish-outbox -n` names three events of unknown types and three types, and counts the others."""
    events = [add(f"k{n}", event_type=f"STRANGE_{n}", age=90 - n, order_code=f"TB-{n}") for n in range(4)]
    held = add("k3", event_type="STRANGE_3", age=9)
    shown = invoke("publish-outbox", "-n", **places).stdout
    named = ", ".join(f"TB-{n} ({events[n][:8]})" for n in range(3))
    types = "the event types STRANGE_0, STRANGE_1, STRANGE_2 and 1 more"
    assert f"  {named} and 1 more would die: payctl does not know {types}\n" in shown
    assert f"{held} would die" not in shown
    assert "\nSTRANGE_3\tnone\t0\t1\t1\t" in shown
