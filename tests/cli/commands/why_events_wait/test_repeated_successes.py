"""Test that all screens agree on a dead success event if another success event of its payment was sent."""

from __future__ import annotations

import shlex
from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.formats import short_id
from ticketbottle_payctl.jobs.measure_outbox import count_harmless_dead
from ticketbottle_payctl.sandbox.payment_service import insert_events

pytestmark = pytest.mark.postgres
MINUTE = timedelta(minutes=1)


@pytest.fixture
def twice(engine, world, invoke):
    """Insert a paid order with a sent success event and a dead one."""
    orders = Orders(engine).pay("COMPLETED").event(age=9 * MINUTE)
    assert invoke("publish-outbox", **world).exit_code == 0
    return orders.event(state="dead", age=8 * MINUTE, error="INVALID_REQUEST: no")


def test_no_screen_says_that_a_customer_waits_for_a_repeated_success(twice, world, invoke, answer, engine):
    """`publish-outbox`, `stats`, `doctor`, `report`, `errors`, `show` and the metric call the dead event harmless."""
    published = invoke("publish-outbox", **world)
    assert (published.exit_code, "no paying customer is waiting for it" in published.stdout) == (0, True), published
    found = answer("stats", **world)["result"]
    assert (found["dead"], found["superseded"], [each["cause"] for each in found["causes"]]) == (1, 1, ["superseded"])
    event = twice.events[1]
    fact = f"1 dead event is harmless: {twice.name} ({short_id(event)}) repeats a success that was sent"
    assert found["causes"][0]["fact"] == fact
    checked = invoke("stats", "--check", **world)
    assert (checked.exit_code, "!  1 dead, harmless" in invoke("stats", **world).stdout) == (0, True), checked.stdout
    doctor = invoke("doctor", "--only", "backlog", **world)
    assert (doctor.exit_code, fact in doctor.stdout) == (0, True), doctor.stdout
    report = answer("report", **world)["result"]
    assert (report["customers_without_ticket"], "1 event is dead, harmless." in report["verdict"]) == (0, True)
    assert [each["repeated"] for each in report["dead_groups"]] == [1]
    assert [(each["repeated"], each["superseded"]) for each in answer("errors", **world)["items"]] == [(1, 0)]
    assert count_harmless_dead(engine, 5) == 1


def test_the_command_that_every_screen_names_closes_the_event(twice, world, invoke, answer):
    """`stats`, `doctor`, `errors` and `show` name the same `close` command, which ends the warning on all of them."""
    event = twice.events[1]
    shown = invoke("show", twice.name, **world)
    assert (shown.exit_code, shown.stdout[:12]) == (0, "✔  published"), shown.stdout
    said = f"the event {short_id(event)} (PAYMENT_COMPLETED) is dead after 5 tries; harmless, because the payment's"
    assert said in shown.stdout
    (fact,) = answer("show", twice.name, **world)["result"]["repeated"]
    assert (fact["id"], fact["repeats"], fact["closed"]) == (event, True, False)
    command = answer("stats", **world)["result"]["causes"][0]["command"]
    assert command.startswith(f"payctl close {event}")
    screens = [shown, invoke("show", event, **world), invoke("doctor", "--only", "backlog", **world)]
    assert [command in each.stdout for each in screens] == [True] * 3
    assert answer("errors", **world)["items"][0]["close"] == command
    closed = invoke(*shlex.split(command.replace("TEXT", "'has the ticket'"))[1:], "-y", **world)
    assert (closed.exit_code, "repeats a success that was sent" in closed.stdout) == (0, True), closed
    for screen in (["stats"], ["doctor", "--only", "backlog"], ["errors"]):
        assert invoke(*screen, **world).stdout.startswith("✔"), screen
    report = answer("report", **world)["result"]
    assert (report["customers_without_ticket"], "1 dead event was closed" in report["verdict"]) == (0, True)
    shown = answer("show", twice.name, **world)
    assert (shown["exit_code"], shown["result"]["repeated"]) == (0, [])
    assert invoke("publish-outbox", **world).exit_code == 0
    again = invoke("close", event, "--reason", "again", "-y", **world)
    assert (again.exit_code, "already closed" in again.stdout) == (0, True)
    listed = answer("list", "outbox", "--failed", **world)["items"]
    assert [each["closed"] for each in listed] == [True]


def test_a_closed_repeated_success_stays_closed_after_a_cleanup(twice, world, invoke, answer, execute):
    """After a cleanup has deleted the sent event, `show` still does not say that the customer waits."""
    assert invoke("close", twice.events[1], "--reason", "has the ticket", "-y", **world).exit_code == 0
    execute("DELETE FROM outbox WHERE published")
    shown = answer("show", twice.name, **world)
    assert (shown["exit_code"], shown["result"]["verdict"]["kind"]) == (0, "cleaned_up")
    assert answer("stats", **world)["result"]["closed"] == 1


def test_a_dead_success_cannot_be_closed_if_no_other_success_was_sent(engine, world, invoke):
    """If no success event of the payment was sent, the customer waits, and `close` refuses the dead event."""
    orders = Orders(engine).pay("COMPLETED").event(state="dead").event(state="dead")
    refused = invoke("close", orders.events[0], "--reason", "x", "-y", **world)
    assert (refused.exit_code, "a customer may be waiting for it" in refused.stderr) == (7, True), refused.stderr
    assert invoke("show", orders.name, **world).exit_code == 5


def test_show_names_the_close_command_if_the_sent_success_is_old(engine, world, invoke, answer):
    """If the search of `stats` does not reach the sent event, `show` names the command that closes the dead event.

    After `close`, the screens agree.
    """
    far = Orders(engine).pay("COMPLETED", age=3 * MINUTE * 60).event(state="published", age=2 * MINUTE * 60)
    with engine.begin() as connection:
        insert_events(connection, 1001, state="published", age=90 * MINUTE, payload_bytes=0)
    far.event(state="dead", age=MINUTE)
    assert answer("stats", **world)["result"]["superseded"] == 0
    shown = answer("show", far.name, **world)["result"]
    assert [each["id"] for each in shown["repeated"]] == [far.events[1]]
    assert invoke("close", far.events[1], "--reason", "has the ticket", "-y", **world).exit_code == 0
    found = answer("stats", **world)["result"]
    assert (found["superseded"], found["closed"], found["causes"]) == (1, 1, [])
    assert answer("report", **world)["result"]["customers_without_ticket"] == 0
