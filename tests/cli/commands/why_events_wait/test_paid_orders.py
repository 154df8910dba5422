"""Test that ``stats``, ``doctor`` and ``report`` name the paid orders that wait because of a dead event."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.outbox.debezium_names import SLOT

pytestmark = pytest.mark.postgres
MINUTE = timedelta(minutes=1)


@pytest.fixture
def order(engine):
    """Return a function that inserts a paid order with this code and returns a writer of its rows."""
    return lambda code: Orders(engine).pay("COMPLETED", order_code=code)


def dead(orders, kind="COMPLETED", age=9 * MINUTE):
    """Insert a dead event of the order."""
    return orders.event(kind, age=age, retries=5, error="TIMED_OUT: no answer")


@pytest.fixture
def findings(ask, invoke, database_url):
    """Return a function that returns what `stats` and `doctor` report about paid orders.

    The function checks that the screens for people show the same sentence and the same command.
    """

    def read():
        causes = [each for each in ask("stats")["result"]["causes"] if each["cause"] == "no_ticket"]
        items = [each for each in ask("doctor", "--only", "backlog")["items"] if "for a ticket" in each["fact"]]
        assert [each["status"] for each in items] == ["fail"] * len(causes)
        for cause, item in zip(causes, items, strict=True):
            assert (cause["fact"], cause["command"]) == (item["fact"], item["command"])
            for line in (["stats"], ["stats", "--check"], ["doctor", "--only", "backlog"]):
                shown = invoke(*line, DATABASE_URL=database_url)
                assert [text in shown.stdout for text in (cause["fact"], cause["command"])] == [True, True]
                assert shown.exit_code == (0 if line == ["stats"] else 5)
        return [(each["events"], each["fact"], each["command"]) for each in causes]

    return read


def test_a_paid_order_with_a_dead_event_is_named(order, findings, ask):
    """If the success event of a paid order is dead, `stats` and `doctor` name the order, as `report` does."""
    dead(order("TB-1"))
    fact = "1 paid order waits for a ticket behind a dead event: TB-1"
    assert findings() == [(1, fact, "payctl show TB-1")]
    assert [each["order_code"] for each in ask("report")["result"]["orders"]] == ["TB-1"]


def test_at_most_three_orders_are_named_and_all_are_counted(order, findings, ask):
    """The three oldest of five paid orders are listed. A success event behind a dead failure counts too."""
    for number in range(1, 5):
        dead(order(f"TB-{number}"), age=(10 - number) * MINUTE)
    dead(order("TB-0"), "FAILED").event(age=10 * MINUTE - MINUTE / 2)
    blocked = dead(order("TB-BLOCKED"), "FAILED", age=60 * MINUTE).event(age=59 * MINUTE)
    fact = "5 paid orders wait for a ticket behind a dead event: TB-BLOCKED, TB-1, TB-2 and 2 more"
    assert findings() == [(5, fact, f"payctl show {blocked.payment.order_code}")]
    kinds = [each["kind"] for each in ask("report")["result"]["orders"]]
    assert (kinds.count("dead"), kinds.count("blocked")) == (4, 1)


def test_an_order_counts_once(order, findings):
    """An order with two dead success events and a pending one is one order."""
    dead(dead(order("TB-1")), age=8 * MINUTE).event(age=MINUTE)
    assert [(number, fact[-5:]) for number, fact, _ in findings()] == [(1, " TB-1")]


def test_no_ticket_waits_for_a_failure_event(order, findings):
    """If no success event is dead or behind a dead event, no paid order counts as waiting because of a dead event."""
    dead(order("TB-1"), "FAILED")
    order("TB-2").event(age=MINUTE)
    dead(order("TB-3").event(age=9 * MINUTE), "FAILED", age=MINUTE)
    assert findings() == []


def test_an_event_without_an_order_code_is_named_by_its_id(engine, order, findings):
    """If the payload contains no order code, the finding names the event."""
    made = dead(order("TB-1"))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE outbox SET payload = '{}'")
    ((_, fact, command),) = findings()
    assert (fact.endswith(made.events[0]), command) == (True, f"payctl show {made.events[0]}")


@pytest.mark.usefixtures("logical")
def test_no_success_waits_for_a_dead_event_while_debezium_publishes(order, execute, ask):
    """Debezium sends pending events in any case, so only the dead success event counts."""
    dead(order("TB-1"), "FAILED").event(age=MINUTE)
    dead(order("TB-2"))
    execute(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    causes = ask("stats")["result"]["causes"]
    execute(f"SELECT pg_drop_replication_slot('{SLOT}')")
    facts = [each["fact"] for each in causes if each["cause"] == "no_ticket"]
    assert facts == ["1 paid order waits for a ticket behind a dead event: TB-2"]
