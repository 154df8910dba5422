"""Test that superseded dead events are harmless unless an event waits behind them."""

from __future__ import annotations

import shlex
from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.cli.commands.why_events_wait.conftest import DEAD, HALF_A_MINUTE, SEEN
from ticketbottle_payctl.jobs.measure_outbox import count_harmless_dead
from ticketbottle_payctl.sandbox.payment_service import insert_payments_of_events

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("command", ["stats", "doctor"])
def test_a_superseded_event_that_blocks_nothing_is_harmless(world, engine, given, invoke, answer, command):
    """If a superseded event blocks nothing, `stats` and `doctor` warn and exit with 0.

    The suggested command ends the warning, and keeps the event.
    """
    given({**DEAD, "event_type": "PAYMENT_FAILED"})
    with engine.begin() as connection:
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
        event, order = connection.exec_driver_sql("SELECT id, payload->>'order_code' FROM outbox").one()
    options = ["--only", "backlog"] if command == "doctor" else ["--check"]
    shown = invoke(command, *options, **world)
    assert (shown.exit_code, "payctl replay" in shown.stdout) == (0, False), shown.stdout
    assert f"1 dead event is harmless: {order} ({event[:8]}) is superseded" in shown.stdout
    assert "dead, superseded: harmless" in shown.stdout or shown.stdout.startswith("!  1 dead event is harmless")
    (found,) = answer("stats", **world)["result"]["causes"]
    (typed,) = [line.strip() for line in shown.stdout.splitlines() if line.strip() == found["command"]]
    assert found["sql"] is None
    closed = invoke(*shlex.split(typed.replace("TEXT", "'they have tickets'"))[1:], "-y", **world)
    assert closed.exit_code == 0, closed.stderr
    assert invoke(command, *options, **world).stdout.startswith("✔")
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT id FROM outbox").scalars().all() == [event]


@pytest.mark.parametrize("blocked", ["nothing", "another payment", "its own payment", "both"])
def test_a_blocked_payment_makes_no_dead_event_of_another_payment_harmful(world, engine, invoke, answer, blocked):
    """A superseded dead event is harmful only if an event of its own payment waits behind it.

    `stats`, `doctor`, `errors`, `report` and the metric agree on the number of harmless and of closed events.
    """
    closed, left = (Orders(engine).pay("COMPLETED").event("FAILED", retries=5, error="NO: x") for _ in range(2))
    (name,) = closed.events
    assert invoke("close", name, "--reason", "they have tickets", "-y", **world).exit_code == 0
    success = Orders(engine).pay("COMPLETED").event(retries=5, error="NO: y")
    if blocked in {"another payment", "both"}:
        success.event(age=timedelta())
    if blocked in {"its own payment", "both"}:
        closed.event(age=timedelta())
    harmless, still_closed = (1, 0) if blocked in {"its own payment", "both"} else (2, 1)
    found = answer("stats", **world)["result"]
    assert (found["dead"], found["superseded"], found["closed"]) == (3, harmless, still_closed)
    assert count_harmless_dead(engine, 5) == harmless
    for limit, code in ((2 - harmless, 5), (3 - harmless, 0)):
        checked = invoke("stats", "--check", "--max-age", "1h", "--max-failed", str(limit), **world)
        assert checked.exit_code == code, checked.stdout
    facts = [each["fact"] for each in found["causes"]]
    assert sum("1 dead event is harmless" in each for each in facts) == 1
    assert any(left.events[0][:8] in each for each in facts if "harmless" in each)
    harmful = [each for each in found["causes"] if each["cause"] == "dead"]
    in_the_way = blocked == "its own payment"  # then the cause of the blocked event covers the dead event
    assert sum(each["events"] for each in harmful) + harmless + in_the_way == 3
    shown = invoke("doctor", "--only", "backlog", **world).stdout
    assert [each for each in facts if each not in shown] == []
    groups = answer("errors", **world)["items"]
    report = answer("report", **world)["result"]
    assert (
        sum(each["closed"] for each in groups) == sum(each["closed"] for each in report["dead_groups"]) == still_closed
    )
    assert sum(each["blocking"] for each in groups) == 2 - harmless


def test_a_harmless_dead_event_does_not_hide_that_no_publisher_is_active(world, engine, given, invoke):
    """If a harmless dead event exists, `stats` still first reports that no publisher is active."""
    given({**DEAD, "event_type": "PAYMENT_FAILED"})
    with engine.begin() as connection:
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
    given({"age": HALF_A_MINUTE}, SEEN.format("1 h"))
    shown = invoke("stats", **world).stdout
    assert "no publisher is active" in shown.splitlines()[0]
    steps = [shown.index(words) for words in ("payctl publish-outbox", "1 dead event is harmless", "payctl close")]
    assert steps == sorted(steps)
