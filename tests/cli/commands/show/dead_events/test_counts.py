"""Test that every command counts the same closed dead events."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.cli.commands.show.dead_events.conftest import HOUR
from ticketbottle_payctl.store.outbox import dead as dead_events
from ticketbottle_payctl.store.outbox.debezium_names import SLOT
from ticketbottle_payctl.store.outbox.error_groups import groups
from ticketbottle_payctl.store.outbox.selector import Selector

pytestmark = pytest.mark.postgres


def test_every_screen_says_that_a_dead_event_is_closed(dead, orders, close, invoke, ask, database_url):
    """After `payctl close EVENT`, the first lines of `errors` and `stats` start with ✔ and count the closed event."""

    def first(*command):
        return invoke(*command, DATABASE_URL=database_url).stdout.splitlines()[0]

    assert (first("errors")[0], first("stats")[0]) == ("!", "!")
    assert ask("errors")["items"][0]["closed"] == 0
    close(dead)
    assert first("errors") == "✔  1 event, closed by an operator"
    assert first("stats") == "✔  1 dead, closed by an operator"
    assert ask("errors")["items"][0]["closed"] == 1
    orders.event("COMPLETED", "dead", error="something else")
    assert (first("errors")[0], first("errors", "--limit", "1")[0]) == ("!", "!")
    assert first("errors") == "!  1 event  1 kind of error  1 closed by an operator"
    assert ask("errors")["counts"] == {"groups": 2, "events": 2, "closed": 1, "waiting": 0}


def test_a_wait_for_no_dead_event_leaves_out_closed_events(dead, close, ask):
    """`stats --wait dead=0` ends when a person has closed the last dead event. Nobody needs to look at it again."""

    def reached():
        wait = ("--wait", "dead=0", "--timeout", "300ms", "--interval", "200ms")
        return ask("stats", *wait)["result"]["reached"]

    assert reached() is False
    close(dead)
    assert reached() is True


@pytest.mark.parametrize(
    ("closed", "superseded", "open_ones", "first"),
    [
        (0, 0, 2, "!  2 dead"),
        (0, 2, 0, "!  2 dead, superseded: harmless"),
        (0, 1, 2, "!  3 dead"),
        (1, 0, 2, "!  2 dead  1 closed by an operator"),
        (1, 1, 2, "!  3 dead  1 closed by an operator"),
        (1, 2, 0, "!  2 dead, superseded: harmless  1 closed by an operator"),
        (2, 0, 0, "✔  2 dead, closed by an operator"),
    ],
)  # fmt: skip
def test_the_number_of_dead_events_is_the_sum_of_the_causes(
    orders, close, ask, invoke, database_url, closed, superseded, open_ones, first
):
    """The first line of `stats` counts closed events separately, so its causes cover all other dead events.

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
    counted = f" and {closed} closed by an operator" if closed else ""
    assert row.startswith(f"dead\t{superseded + open_ones}{counted}, the oldest is ")
    number = superseded + open_ones
    if open_ones:
        verdict, counts, *_ = invoke("stats", "--check", DATABASE_URL=database_url).stdout.splitlines()
        harmless = f" ({superseded} superseded: harmless)" if superseded else ""
        assert (verdict, counts) == (f"✘  {number} dead events{harmless}, more than 0", first[3:])
    if number:  # if all dead events are closed, the first lines say only this
        screens = [invoke(each, DATABASE_URL=database_url).stdout for each in ("report", "errors")]
        report, errors = (screen.splitlines()[0] for screen in screens)
        assert re.search(rf" {number} events? (is|are) dead", report), report
        assert errors.startswith(f"!  {number} event"), errors
        assert [f" {closed} closed by an operator" in line for line in (report, errors)] == [closed > 0] * 2


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
            dead_events.superseded(connection, 5).closed,
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
    counts = []
    for slot in ("another", SLOT):
        execute(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
        counts.append(closed_counts(engine, blocks))
        execute(f"SELECT pg_drop_replication_slot('{slot}')")
    assert counts == [(0, 0, 0, 0, 0), (1, 1, 1, 1, 1)]


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
        "stats": "closed by an operator" in shown("stats"),
        "errors": "closed by an operator" in shown("errors"),
        "list": "1 closed by an operator" in invoke("list", "outbox", **places).stderr,
        "report": "closed by an operator" in shown("report", "--since", "3h"),
        "doctor": "closed by an operator" in shown("doctor", "--only", "backlog"),
        "publish-outbox": not re.search(r"1 dead event is left|waits? for|behind", shown("publish-outbox")),
    } == dict.fromkeys(("stats", "errors", "list", "report", "doctor", "publish-outbox"), now == "superseded")
