"""Test that `payctl close` with a superseded dead event's id ends the warning of `payctl doctor`."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.cli.money import refused_money
from ticketbottle_payctl.jobs.report import collect_report
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.store.outbox import dead as dead_events
from ticketbottle_payctl.store.outbox.debezium_names import SLOT
from ticketbottle_payctl.store.outbox.error_groups import groups
from ticketbottle_payctl.store.outbox.selector import Selector

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


def test_the_history_says_what_each_closing_closed(dead, orders, close, invoke, database_url):
    """For each `payctl close` run, `payctl show` says whether it closed a dead event or findings about the money."""
    orders.callback("COMPLETED", "refused", "wrong_amount", amount=5, number="9")
    close(dead)
    close(orders.name)
    lines = invoke("show", orders.name, DATABASE_URL=database_url).stdout.splitlines()
    said = [line for line in lines if "  closed  " in line]
    assert f"dead event {dead[:8]} (PAYMENT_FAILED), by Lan, reason: {WHY}" in said[0]
    assert f"the findings about the money, by Lan, reason: {WHY}" in said[1]


def test_every_screen_says_that_a_dead_event_is_closed(dead, orders, close, invoke, ask, database_url):
    """After `payctl close EVENT`, the first lines of `errors` and `stats` start with ✔ and count the closed event."""

    def first(*command):
        return invoke(*command, DATABASE_URL=database_url).stdout.splitlines()[0]

    assert (first("errors")[0], first("stats")[0]) == ("!", "!")
    assert ask("errors")["items"][0]["closed"] == 0
    close(dead)
    assert first("errors") == "✔  1 event, closed by a person  1 kind of error"
    assert first("stats") == "✔  1 dead, closed by a person"
    assert ask("errors")["items"][0]["closed"] == 1
    orders.event("COMPLETED", "dead", error="something else")
    assert (first("errors")[0], first("errors", "--limit", "1")[0]) == ("!", "!")
    assert first("errors") == "!  1 event  1 kind of error  1 closed by a person"
    assert ask("errors")["counts"] == {"groups": 2, "events": 2, "closed": 1, "waiting": 0}


@pytest.mark.parametrize(
    ("closed", "superseded", "open_ones", "first"),
    [
        (0, 0, 2, "!  2 dead"),
        (0, 2, 0, "!  2 dead, superseded: harmless"),
        (0, 1, 2, "!  3 dead"),
        (1, 0, 2, "!  2 dead  1 closed by a person"),
        (1, 1, 2, "!  3 dead  1 closed by a person"),
        (1, 2, 0, "!  2 dead, superseded: harmless  1 closed by a person"),
        (2, 0, 0, "✔  2 dead, closed by a person"),
    ],
)  # fmt: skip
def test_the_number_of_dead_events_is_the_sum_of_the_causes(
    orders, close, ask, invoke, database_url, closed, superseded, open_ones, first
):
    """The first line of `stats` counts the closed events apart, because no cause below it counts them.

    The first lines of `report` and `errors` and the verdict of `stats --check` show the same numbers.
    """
    for _ in range(closed + superseded):
        orders.pay("COMPLETED", age=2 * HOUR).event("FAILED", "dead", age=2 * HOUR, error="MSG_SIZE_TOO_LARGE: no")
        orders.event(state="published", age=HOUR)
    harmless = orders.events[::2][:closed]
    for number in range(open_ones):
        orders.pay("COMPLETED", age=2 * HOUR).event(state="dead", age=HOUR, error=("A", "B")[number] + ": no")
    for event in harmless:
        close(event)
    result = ask("stats")["result"]
    of_events = [cause["events"] for cause in result["causes"] if cause["cause"] != "no_ticket"]  # it counts orders
    assert sum(of_events) == result["dead"] - result["closed"]
    assert (result["closed"], result["dead"]) == (closed, closed + superseded + open_ones)
    shown = invoke("stats", DATABASE_URL=database_url).stdout
    assert shown.splitlines()[0] == first
    row = next(line for line in shown.splitlines() if line.startswith("dead\t"))
    counted = f" and {closed} closed by a person" if closed else ""
    assert row.startswith(f"dead\t{superseded + open_ones}{counted}, the oldest is ")
    number = superseded + open_ones
    if open_ones:
        verdict, counts, *_ = invoke("stats", "--check", DATABASE_URL=database_url).stdout.splitlines()
        harmless = f" ({superseded} superseded: harmless)" if superseded else ""
        assert (verdict, counts) == (f"✘  {number} dead events{harmless}, more than 0", first[3:])
    if number:  # otherwise the first lines say only that all of them are closed
        screens = [invoke(each, DATABASE_URL=database_url).stdout for each in ("report", "errors")]
        report, errors = (screen.splitlines()[0] for screen in screens)
        assert re.search(rf" {number} events? (is|are) dead", report), report
        assert errors.startswith(f"!  {number} event"), errors
        assert [f" {closed} closed by a person" in line for line in (report, errors)] == [closed > 0] * 2


def test_the_list_says_that_a_dead_event_is_closed(dead, orders, close, ask, invoke, terminal, database_url):
    """After `payctl close EVENT`, `payctl list outbox` shows the event as closed. Any other dead event stays open."""

    def listed(*options):
        return {item["id"]: (item["state"], item["closed"]) for item in ask("list", "outbox", *options)["items"]}

    def screen():
        with terminal("list", "outbox", "--failed", DATABASE_URL=database_url) as it:
            assert it.finish() == 0
            return it.text()

    orders.event("COMPLETED", "dead", error="something else")
    sent, other = orders.events[1:]
    assert set(listed().values()) == {("dead", False), ("published", False)}
    assert "closed" not in screen()
    close(dead)
    assert listed() == {dead: ("dead", True), sent: ("published", False), other: ("dead", False)}
    assert set(listed("--failed")) == {dead, other}
    shown = screen()
    assert shown.splitlines()[0] == "2 events: 1 dead, 1 closed by a person"
    assert re.search(rf"  closed +FAILED .*{dead[:8]}", shown), shown
    assert re.search(rf"  dead +COMPLETED .*{other[:8]}", shown), shown
    assert max(map(len, shown.splitlines())) <= 80
    table = invoke("list", "outbox", dead, "--fields", "state,closed", "-o", "csv", DATABASE_URL=database_url).stdout
    assert table == "state,closed\ndead,true\n"
    row = invoke("list", "outbox", dead, DATABASE_URL=database_url).stdout.splitlines()[1].split("\t")
    assert (row[3], row[-1]) == ("dead", "true")


def test_a_closed_event_is_listed_as_dead_while_an_event_waits_behind_it(
    dead, orders, close, ask, terminal, database_url
):
    """`payctl list outbox` counts a closed event as dead while it blocks an event of its payment.

    A closed event that blocks nothing counts as closed, even if its payment has an older pending event.
    """
    close(dead)
    orders.event(age=timedelta(minutes=1))
    orders.pay("COMPLETED").event("FAILED", "dead", age=3 * HOUR).event(age=4 * HOUR)
    close(orders.events[3])
    with terminal("list", "outbox", "--failed", DATABASE_URL=database_url) as it:
        assert it.finish() == 0
        assert it.text().splitlines()[0] == "2 events: 1 dead, 1 closed by a person"
    listed = {item["id"]: item["closed"] for item in ask("list", "outbox", "--failed")["items"]}
    assert listed == {dead: False, orders.events[3]: True}


@pytest.mark.parametrize("change", ['UPDATE outbox SET "retryCount" = 0', "UPDATE payments SET status = 'FAILED'"])
def test_an_event_is_listed_as_closed_only_while_it_is_dead_and_superseded(dead, close, ask, execute, change):
    """If a closed event is pending again, or its payment is not completed, the list does not show it as closed."""
    close(dead)
    assert ask("list", "outbox", dead)["items"][0]["closed"]
    execute(change)
    assert not ask("list", "outbox", dead)["items"][0]["closed"]


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
    assert ("is closed already" in shown, "nothing is open" in shown) == (True, False)


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


def test_the_report_is_quiet_once_the_dead_event_is_closed(dead, close, ask, invoke, database_url):
    """After `payctl close EVENT`, the report says who dealt with the dead event, and no longer lists it as open."""
    report = ask("report", "--since", "3h")["result"]
    assert (report["quiet"], "1 event is dead, superseded: harmless." in report["verdict"]) == (False, True)
    close(dead)
    report = ask("report", "--since", "3h")
    assert (report["result"]["quiet"], report["result"]["dead_groups"][0]["closed"]) == (True, 1)
    assert {each["name"]: each["value"] for each in report["items"]}["dead"] == 1
    text = invoke("report", "--since", "3h", DATABASE_URL=database_url).stdout
    assert text.startswith("# ✔ Nothing is open: each paid order has its event, no event is waiting, and 1 dead event ")
    assert "was closed by a person.\n" in text
    assert "## Open now\n\nNothing is open.\n" in text


def test_the_report_names_the_dead_events_that_are_not_closed(dead, orders, close, ask, invoke, database_url):
    """If one of two dead events is closed, the report counts the closed event apart."""
    orders.pay("COMPLETED").event("FAILED", "dead", age=2 * HOUR, error="MSG_SIZE_TOO_LARGE: no")
    orders.event(state="published")
    close(dead)
    report = ask("report", "--since", "3h")["result"]
    assert (report["quiet"], "1 event is dead, superseded: harmless, 1 closed by a person." in report["verdict"]) == (
        False, True)  # fmt: skip
    text = invoke("report", "--since", "3h", DATABASE_URL=database_url).stdout
    assert "* 1 dead event, superseded: harmless, 1 closed by a person, group" in text


def test_a_closed_event_that_blocks_a_later_one_counts_as_dead(dead, orders, close, ask):
    """If an event is created behind a closed event, the report and `payctl stats` do not call the closed one harmless.

    A customer might be waiting for the event behind it.
    """
    close(dead)
    orders.event(age=timedelta(minutes=1))
    verdict = ask("report", "--since", "3h")["result"]["verdict"]
    assert ("1 event is dead." in verdict, "closed by a person" in verdict) == (True, False)


def test_a_report_without_the_error_groups_is_not_quiet_about_closed_events(dead, close, engine):
    """If the report fails to read the closed events, the report counts the dead event as open."""
    close(dead)
    until = datetime.now(UTC)
    report = collect_report(engine, until - 3 * HOUR, until, max_retries=5, retention=timedelta(days=7))
    assert report.is_quiet
    assert not replace(report, closed=0).is_quiet


def test_a_closed_event_that_blocks_a_later_one_is_not_called_closed_already(dead, orders, close, ask):
    """If an event waits behind a closed event, `payctl close EVENT` refuses and says how to unblock it."""
    close(dead)
    orders.event(age=timedelta(minutes=1))
    document = ask("close", dead, "-y", "--reason", WHY)
    assert (document["exit_code"], document["error"]["code"]) == (7, "GUARD")
    assert "waits behind" in document["error"]["message"]


@pytest.fixture
def blocks(dead, orders, close):
    """Close a dead event, then insert an event behind it. Return the id of the dead event."""
    close(dead)
    orders.event(age=timedelta(minutes=1))
    return dead


def closed_counts(engine, name):
    """Return each function's count of closed events. Only the event ``name`` may be closed."""
    with engine.connect() as connection:
        return (
            dead_events.count(connection, 5).closed,
            dead_events.superseded(connection, 5, with_closings=True).closed,
            len(dead_events.closed_among(connection, [name], 5)),
            sum(each.closed for each in groups(connection, Selector(), 5, 9, with_closings=True)),
            int(dead_events.find(connection, name, 5).closed),
        )


def test_no_function_counts_a_closed_event_that_blocks_another_one(blocks, engine, execute):
    """Every function that counts closed events leaves out an event while a pending event waits behind it."""
    assert closed_counts(engine, blocks) == (0, 0, 0, 0, 0)
    execute("UPDATE outbox SET published = true WHERE \"eventType\" = 'PAYMENT_COMPLETED'")
    assert closed_counts(engine, blocks) == (1, 1, 1, 1, 1)


@pytest.mark.usefixtures("logical")
def test_no_event_waits_behind_a_closed_one_while_debezium_publishes(blocks, engine, execute):
    """While Debezium's slot exists, a closed event does not block other events, so it stays closed."""
    execute(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    counts = closed_counts(engine, blocks)
    execute(f"SELECT pg_drop_replication_slot('{SLOT}')")
    assert counts == (1, 1, 1, 1, 1)


@pytest.mark.parametrize("options", [["-n"], []], ids=["a dry run", "no reason"])
def test_a_dead_event_is_not_closed_without_a_reason(options, dead, ask, content):
    """`payctl close -n` counts a dead event.

    Without both -n and `--reason`, the command exits with 2. Neither command records a run.
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
    """If two operators close an event at the same moment, one closing is recorded and the other is refused."""
    documents = together(2)
    assert sorted(each["exit_code"] for each in documents) == [0, 7]
    assert any("was closed by another run" in (each["error"] or {}).get("message", "") for each in documents)
    assert execute("SELECT status FROM payctl.runs") == ["done"]
    assert execute("SELECT outcome FROM payctl.run_items") == ["closed"]


def test_an_event_that_was_requeued_meanwhile_is_not_closed(together, execute):
    """If a replay requeues the event before the closing is recorded, the closing is refused and not recorded."""
    (document,) = together(1, 'UPDATE outbox SET "retryCount" = 0 WHERE "eventType" = \'PAYMENT_FAILED\'')
    assert (document["exit_code"], "is pending" in document["error"]["message"]) == (7, True)
    assert execute("SELECT * FROM payctl.runs") == []


@pytest.mark.parametrize("now", ["superseded", "not superseded", "blocks an event"])
def test_every_command_counts_the_same_closed_dead_events(
    now, dead, orders, close, invoke, mock_kafka, execute, database_url
):
    """A closed dead event counts as closed only while its payment is COMPLETED and no event waits behind it.

    This holds for the publisher and each command.
    """
    close(dead)
    if now == "not superseded":
        execute("UPDATE payments SET status = 'FAILED'")
    elif now == "blocks an event":
        orders.event(age=timedelta(minutes=1))
    places = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}

    def shown(*command):
        return invoke(*command, **places).stdout

    assert {
        "stats": "closed by a person" in shown("stats"),
        "errors": "closed by a person" in shown("errors"),
        "list": "1 closed by a person" in invoke("list", "outbox", **places).stderr,
        "report": "closed by a person" in shown("report", "--since", "3h"),
        "doctor": "closed by a person" in shown("doctor", "--only", "backlog"),
        "publish-outbox": not re.search(r"1 dead event is left|waits? for|behind", shown("publish-outbox")),
    } == dict.fromkeys(("stats", "errors", "list", "report", "doctor", "publish-outbox"), now == "superseded")
