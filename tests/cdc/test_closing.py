"""Test that `payctl close` and `payctl show` agree about a success event if Debezium is the publisher."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.cli.app.main import app

pytestmark = pytest.mark.postgres
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)

# whether a connector reads the slot (None without a slot), the event, and whether late money can be closed
CASES = {
    "payctl publishes: pending": (None, {}, False),
    "payctl publishes: published": (None, {"state": "published"}, True),
    "Debezium publishes: just written": (True, {"age": timedelta(0)}, True),
    "Debezium publishes: not marked for an hour": (True, {"age": HOUR}, True),
    "Debezium publishes: marked": (True, {"state": "published"}, True),
    "Debezium publishes: dead": (True, {"state": "dead"}, False),
    "Debezium publishes: failed before the cut-over": (True, {"retries": 2}, False),
    "no connector reads the slot: pending": (False, {}, False),
    "no connector reads the slot: marked": (False, {"state": "published"}, True),
}


@pytest.fixture
def run(database_url):
    """Return a function that runs payctl and returns the result."""
    return lambda *words: CliRunner().invoke(app, words, env={"DATABASE_URL": database_url})


@pytest.mark.parametrize("name", CASES)
def test_close_accepts_late_money_if_show_advises_it(name, request, engine, run):
    """`payctl close` closes a finding about late money if, and only if, `payctl show` suggests this.

    Debezium sends an inserted event at once, but the row is marked only by `payctl cdc mark`.
    """
    active, event, closable = CASES[name]
    if active is not None:
        request.getfixturevalue("slot")(active=active)
    order = Orders(engine).pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).event(**event).callback(age=HOUR).name
    shown = run("show", order)
    assert (shown.exit_code, "PAID TOO LATE" in shown.stdout) == (5, True)
    assert (f"payctl close {order}" in shown.stdout) is closable, shown.stdout
    closed = json.loads(run("close", order, "-y", "--reason", "they have their seats", "-o", "json").stdout)
    assert (closed["exit_code"], closed["counts"].get("closed")) == ((0, 1) if closable else (7, None)), closed
    unmarked = closable and event.get("state") != "published"
    assert [each.partition(":")[0] for each in closed["warnings"]] == [
        "the success event has not been marked as published yet"
    ] * unmarked


def test_show_says_that_debezium_sends_an_overdue_event(slot, engine, run):
    """While a connector reads the slot, `payctl show` says that the event waits to be marked, not to be sent."""
    slot(active=True)
    text = " ".join(run("show", Orders(engine).pay("COMPLETED").event(age=HOUR).name).stdout.split())
    assert "Debezium is publishing this outbox; 1 event has waited for 1 h to be marked" in text
    assert "no publisher has sent it" not in text
    assert "payctl cdc mark" in text


# whether a connector reads the slot, the success event, and the beginning of the hint of `payctl close`
TAKE_BACK = (
    "Debezium is publishing this outbox and does not send requeued events: take the outbox back first:"
    " `payctl cdc cut-back`, then check the order again: `payctl show {order}`"
)
SENT_BY_DEBEZIUM = (
    "wait until Debezium has sent the event (`payctl doctor` says what stops it), then ask whether the order has its"
    " tickets: `payctl show {order}`"
)
UNSENT = {
    "dead, a connector reads the slot": (True, {"state": "dead"}, TAKE_BACK),
    "dead, no connector reads the slot": (False, {"state": "dead"}, TAKE_BACK),
    "failed before the cut-over": (True, {"retries": 2}, TAKE_BACK),
    "pending, no connector reads the slot": (
        False, {}, SENT_BY_DEBEZIUM),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSENT)
def test_the_hint_of_close_names_debezium_only_if_debezium_sends_the_event(name, slot, engine, run):
    """If Debezium will not send the success event, `payctl close` and `payctl show` suggest taking the outbox back."""
    active, event, wanted = UNSENT[name]
    slot(active=active)
    order = Orders(engine).pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).event(**event).callback(age=HOUR).name
    hint = json.loads(run("close", order, "-y", "--reason", "x", "-o", "json").stdout)["error"]["hint"]
    assert hint == wanted.format(order=order)
    shown = json.loads(run("show", order, "-o", "json").stdout)["result"]["next"]
    assert wanted is not TAKE_BACK or [each["command"] for each in shown] == ["payctl cdc cut-back"]


def test_the_hint_of_close_says_what_must_be_fixed_before_debezium_is_stopped(slot, engine, run):
    """If the dead success event is too large for the topic, the hint starts with raising the topic's limit."""
    slot(active=True)
    order = Orders(engine).pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).callback(age=HOUR)
    order.event(state="dead", error="MSG_SIZE_TOO_LARGE: x")
    hint = json.loads(run("close", order.name, "-y", "--reason", "x", "-o", "json").stdout)["error"]["hint"]
    assert hint.startswith("raise max.message.bytes of payment.completed to ")
    assert hint.endswith(TAKE_BACK.format(order=order.name))
