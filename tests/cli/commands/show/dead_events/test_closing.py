"""Test that `payctl close` with a superseded dead event's id ends the warning of `payctl doctor`."""

from __future__ import annotations

import json
import re
import shlex
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.cli.commands.show.dead_events.conftest import HOUR, WHY
from tests.cli.money import refused_money

pytestmark = pytest.mark.postgres


def test_a_closed_dead_event_ends_the_warning_and_stays_in_the_outbox(dead, orders, ask, close, doctor, execute):
    """After `payctl close EVENT`, doctor and stats do not warn, the event is still there, and the run is recorded."""
    assert (doctor()["status"], doctor()["command"]) == ("warn", f"payctl close {dead} --reason TEXT")
    document = close(dead)
    assert (document["counts"], [each["kind"] for each in document["items"]]) == ({"closed": 1}, ["superseded"])
    assert (doctor()["status"], doctor()["fact"]) == ("ok", "no event is pending; 1 dead event closed by an operator")
    stats = ask("stats")["result"]
    assert (stats["dead"], stats["superseded"], stats["causes"]) == (1, 1, [])
    assert execute("SELECT id FROM outbox WHERE NOT published") == [dead]
    (run,) = ask("runs", "list")["items"]
    assert (run["id"], run["status"], run["reason"]) == (document["run_id"], "done", WHY)
    (row,) = ask("runs", "show", run["id"])["items"]
    assert (row["id"], row["before"]["state"], row["after"]) == (dead, "dead", {"state": "closed"})
    assert [each["facts"]["reason"] for each in ask("show", orders.name)["items"] if each["kind"] == "closed"] == [WHY]


def test_the_history_says_what_each_closing_closed(dead, orders, close, invoke, database_url):
    """For each `payctl close` run, `payctl show` says whether it closed a dead event or findings about the money."""
    orders.callback("COMPLETED", "refused", "wrong_amount", amount=5, number="9")
    close(dead)
    close(orders.name)
    lines = invoke("show", orders.name, DATABASE_URL=database_url).stdout.splitlines()
    said = [line for line in lines if "  closed  " in line]
    assert f"dead event {dead[:8]} (PAYMENT_FAILED), by Lan, reason: {WHY}" in said[0]
    assert f"the findings about the money, by Lan, reason: {WHY}" in said[1]


def test_a_closed_dead_event_is_not_closed_twice(dead, orders, close, content, engine, invoke, database_url):
    """If a dead event is already closed, `payctl close EVENT` says only this, even if other findings are open."""
    with engine.begin() as connection:
        refused_money(connection, orders.payment)
    close(dead)
    before = content()
    assert (close(dead)["counts"], close(dead[:8])["run_id"]) == ({"closed": 0}, None)
    assert content() == before
    shown = invoke("close", dead, "-y", "--reason", WHY, DATABASE_URL=database_url).stdout
    assert f"payctl show {orders.name}" in shown
    assert ("is already closed" in shown, "nothing is open" in shown) == (True, False)


def test_closing_a_dead_event_leaves_the_orders_money_open(dead, orders, ask, close, engine):
    """Given a dead event's id, `close` closes only this event, even if the order's money also needs manual review."""
    with engine.begin() as connection:
        refused_money(connection, orders.payment)
    assert close(dead)["counts"] == {"closed": 1}
    assert ask("show", orders.name)["exit_code"] == 5
    assert [each["kind"] for each in close(orders.name)["items"]] == ["wrong_amount"]


# how to insert the order, and the command's settings
KEPT = {
    "an event waits behind it": (lambda o: o.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR).event(), {}),
    "not superseded": (lambda o: o.pay("FAILED").event("FAILED", "dead"), {}),
    "a dead success": (lambda o: o.pay("COMPLETED").event(state="dead"), {}),
    "pending": (lambda o: o.pay("COMPLETED").event("FAILED", age=2 * HOUR), {}),
    "published": (lambda o: o.pay("COMPLETED").event("FAILED", "published").event(state="published"), {}),
    "a published success": (lambda o: o.pay("COMPLETED").event(state="published"), {}),
    "not dead with more retries": (
        lambda o: o.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR).event(state="published"),
        {"OUTBOX_MAX_RETRIES": "9"}),
}  # fmt: skip


@pytest.mark.parametrize("length", [8, 36])
@pytest.mark.parametrize("name", KEPT)
def test_the_id_of_an_event_never_closes_anything_else(name, length, orders, ask, content, engine):
    """`payctl close EVENT` refuses an event that is not harmless, and does not close the order's money instead.

    A harmless event is dead and superseded, and does not block another event. The refusal names the order.
    """
    write, settings = KEPT[name]
    write(orders)
    with engine.begin() as connection:
        refused_money(connection, orders.payment)
    before = content()
    words = ["close", orders.events[0][:length], "-y", "--reason", WHY]
    for options in ([], ["-n"]):
        document = ask(*words, *options, **settings)
        assert (document["exit_code"], document["error"]["code"], document["run_id"]) == (7, "GUARD", None), document
        assert orders.name in document["error"]["message"]
    assert content() == before
    assert ask("show", orders.name)["exit_code"] == 5


@pytest.mark.parametrize("of", ["payment", "callback", "event"])
def test_a_short_id_that_also_names_something_else_closes_nothing(of, dead, orders, ask, content):
    """`payctl close` refuses the short id of a dead event if it also matches a payment, a callback or another event."""
    other = dead[:8] + str(uuid4())[8:]
    if of == "payment":
        orders.pay("COMPLETED", id=other)
    elif of == "callback":
        orders.callback(id=other)
    else:
        orders.event(id=other, state="published")
    before = content()
    document = ask("close", dead[:8], "-y", "--reason", WHY)
    assert (document["exit_code"], "is ambiguous" in document["error"]["message"]) == (2, True)
    assert (ask("show", dead[:8])["exit_code"], content()) == (2, before)


def test_a_reference_is_not_taken_for_the_short_id_of_an_event(dead, orders, close):
    """If a reference equals an event's short id, `payctl close` finds the order with this reference."""
    orders.callback("COMPLETED", "refused", "unknown_order", amount=5, reference=dead[:8], payment=None, order_ref="x")
    assert [each["kind"] for each in close(dead[:8])["items"]] == ["unknown_order"]
    assert [each["kind"] for each in close(dead)["items"]] == ["superseded"]


def test_a_closed_event_that_blocks_a_later_one_is_not_called_closed_already(dead, orders, close, ask):
    """If an event waits behind a closed event, `payctl close EVENT` refuses and says how to unblock it.

    The hint names a dry run, because a publisher would also send the failure events of other orders.
    """
    close(dead)
    orders.event(age=timedelta(minutes=1))
    document = ask("close", dead, "-y", "--reason", WHY)
    assert (document["exit_code"], document["error"]["code"]) == (7, "GUARD")
    assert "waits behind" in document["error"]["message"]
    assert document["error"]["hint"] == (
        "see what a publisher would send, then publish the other event: `payctl publish-outbox --on-dead release -n`"
    )


@pytest.mark.parametrize("options", [["-n"], []], ids=["a dry run", "no reason"])
def test_a_dead_event_is_not_closed_without_a_reason(options, dead, ask, content):
    """`payctl close -n` counts a dead event.

    If neither -n nor --reason is given, the command exits with 2. In both cases, no run is recorded.
    """
    before = content()
    document = ask("close", dead, *options)
    assert (document["exit_code"], document["counts"]) == ((0, {"closed": 1}) if options else (2, {}))
    assert content() == before


def test_the_advised_command_closes_the_event_on_every_profile(dead, invoke, database_url, tmp_path, doctor):
    """The command that the doctor shows fits on one line, and works once a person has filled in the reason."""
    (tmp_path / "config.toml").write_text(
        f"[profiles.prod]\nDATABASE_URL = {json.dumps(database_url)}\n[profiles.prod.guard]\nprotected = true\n"
    )
    named = ["-p", "prod", "--config", str(tmp_path / "config.toml")]
    shown = invoke("doctor", "--only", "backlog", *named).stdout
    (command,) = re.findall(r"^ *(payctl close .*)$", shown, re.MULTILINE)
    ran = invoke(*shlex.split(command.replace("TEXT", "'they have tickets'"))[1:], "-y")
    assert (ran.exit_code, "1 dead event  closed" in ran.stdout) == (0, True), ran.stderr + ran.stdout
    assert doctor()["status"] == "ok", dead


def test_a_dead_event_stays_harmless_after_a_cleanup(orders, ask, close):
    """A cleanup keeps the sent success. So the dead event stays harmless, and a person can close it."""
    old = 9 * 24 * HOUR
    orders.pay("COMPLETED", age=old).event(state="published", age=old).event(
        state="dead", age=old, error="TIMED_OUT: no"
    )
    assert ask("cleanup")["counts"]["deleted"] == 0
    assert ask("stats")["result"]["superseded"] == 1
    assert ask("show", orders.name)["exit_code"] == 0
    assert close(orders.events[1])["counts"] == {"closed": 1}
