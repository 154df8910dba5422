"""Test `payctl close` with the id of a superseded dead event, which ends the warning of `payctl doctor`."""

from __future__ import annotations

import json
import re
import shlex
from datetime import timedelta

import pytest

from tests.cli.money import refused_money
from ticketbottle_payctl.sandbox.server import wait_until

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)
WHY = "the customer has the tickets"


@pytest.fixture
def dead(orders):
    """Insert a paid order with a dead failure event, and return the event's id."""
    orders.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR, error="MSG_SIZE_TOO_LARGE: no")
    orders.event(state="published")
    return orders.events[0]


@pytest.fixture
def doctor(ask):
    """Return a function that returns the first fact of `payctl doctor --only backlog`."""
    return lambda: ask("doctor", "--only", "backlog")["items"][0]


@pytest.fixture
def close(ask):
    """Return a function that runs `payctl close` and returns the document."""
    return lambda name, *options: ask("close", name, "-y", "--reason", WHY, *options, PAYCTL_ACTOR="Lan")


def test_a_closed_dead_event_ends_the_warning_and_stays_in_the_outbox(dead, orders, ask, close, doctor, execute):
    """After `payctl close EVENT`, doctor and stats do not warn, the event is still there, and the run is recorded."""
    assert (doctor()["status"], doctor()["command"]) == ("warn", f"payctl close {dead} --reason TEXT")
    document = close(dead)
    assert (document["counts"], [each["kind"] for each in document["items"]]) == ({"closed": 1}, ["superseded"])
    assert (doctor()["status"], doctor()["fact"]) == ("ok", "no event is pending; 1 dead event closed by a person")
    stats = ask("stats")["result"]
    assert (stats["dead"], stats["superseded"], stats["causes"]) == (1, 1, [])
    assert execute("SELECT id FROM outbox WHERE NOT published") == [dead]
    (run,) = ask("runs", "list")["items"]
    assert (run["id"], run["status"], run["reason"]) == (document["run_id"], "done", WHY)
    (row,) = ask("runs", "show", run["id"])["items"]
    assert (row["id"], row["before"]["state"], row["after"]) == (dead, "dead", {"state": "closed"})
    assert [each["facts"]["reason"] for each in ask("show", orders.name)["items"] if each["kind"] == "closed"] == [WHY]


def test_a_closed_dead_event_is_not_closed_twice(dead, close, content):
    """If the event is already closed, the command says that nothing is open, and records nothing."""
    close(dead)
    before = content()
    assert (close(dead)["counts"], close(dead[:8])["run_id"]) == ({"closed": 0}, None)
    assert content() == before


def test_closing_a_dead_event_leaves_the_orders_money_open(dead, orders, ask, close, engine):
    """The id of a dead event closes only this event, even if the order's money also needs manual review."""
    with engine.begin() as connection:
        refused_money(connection, orders.payment)
    assert close(dead)["counts"] == {"closed": 1}
    assert ask("show", orders.name)["exit_code"] == 5
    assert [each["kind"] for each in close(orders.name)["items"]] == ["wrong_amount"]


# how the order is, the exit code of `close` with the event's id, and what it closes
KEPT = {
    "an event waits behind it": (lambda o: o.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR).event(), 7),
    "not superseded": (lambda o: o.pay("FAILED").event("FAILED", "dead"), 0),
    "a dead success": (lambda o: o.pay("COMPLETED").event(state="dead"), 0),
    "pending": (lambda o: o.pay("COMPLETED").event("FAILED", age=2 * HOUR), 0),
    "published": (lambda o: o.pay("COMPLETED").event("FAILED", "published").event(state="published"), 0),
}


@pytest.mark.parametrize("name", KEPT)
def test_an_event_that_a_customer_may_wait_for_cannot_be_closed(name, orders, close, content):
    """An event is closed only if it is dead, superseded, and blocks no other event. Otherwise nothing is recorded."""
    write, code = KEPT[name]
    write(orders)
    before = content()
    document = close(orders.events[0])
    assert (document["exit_code"], document["counts"].get("closed", 0)) == (code, 0), document
    assert content() == before


@pytest.mark.parametrize("options", [["-n"], []], ids=["a dry run", "no reason"])
def test_a_dead_event_is_not_closed_without_a_reason(options, dead, ask, content):
    """A dry run counts the event, and without `--reason` the command exits with 2. Neither records anything."""
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
    (command,) = re.findall(r"^ +(payctl close .*)$", shown, re.MULTILINE)
    ran = invoke(*shlex.split(command.replace("TEXT", "'they have tickets'"))[1:], "-y")
    assert (ran.exit_code, "1 dead event  closed" in ran.stdout) == (0, True), ran.stderr + ran.stdout
    assert doctor()["status"] == "ok", dead


def waiting(execute, number):
    """Return whether exactly this many sessions wait for a lock."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return execute(sql) == [number]


@pytest.fixture
def together(dead, engine, execute, started, database_url):
    """Return a function that starts closings, makes each wait for the event's row, and returns their documents."""

    def run(number, change="SELECT 1"):
        words = ["close", dead, "-y", "--reason", WHY, "-o", "json"]
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT FROM outbox WHERE id = %s FOR UPDATE", (dead,))
            processes = [started(*words, DATABASE_URL=database_url) for _ in range(number)]
            wait_until(lambda: waiting(execute, number), what="each closing waits for the row", timeout=30)
            connection.exec_driver_sql(change)
            connection.commit()
        return [json.loads(process.communicate(timeout=30)[0]) for process in processes]

    return run


def test_of_two_closings_at_once_one_is_recorded(together, execute):
    """If two operators close an event at the same moment, one run is recorded, and the second operator is refused."""
    documents = together(2)
    assert sorted(each["exit_code"] for each in documents) == [0, 7]
    assert any("was closed by another run" in (each["error"] or {}).get("message", "") for each in documents)
    assert execute("SELECT status FROM payctl.runs") == ["done"]
    assert execute("SELECT outcome FROM payctl.run_items") == ["closed"]


def test_an_event_that_was_requeued_meanwhile_is_not_closed(together, execute):
    """If a replay requeues the event before the closing is recorded, the closing is refused and not recorded."""
    (document,) = together(1, 'UPDATE outbox SET "retryCount" = 0 WHERE "eventType" = \'PAYMENT_FAILED\'')
    assert (document["exit_code"], "not dead and superseded any more" in document["error"]["message"]) == (7, True)
    assert execute("SELECT * FROM payctl.runs") == []
