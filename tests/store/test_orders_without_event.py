"""Test the report's list of paid orders without an event, and the search for these orders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.plans import plans_of
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.store.payments.open_orders import WithoutTicket, no_event

pytestmark = pytest.mark.postgres
HOUR, MILLISECOND = timedelta(hours=1), timedelta(milliseconds=1)
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
WINDOW = (NOON, NOON + HOUR)
_MOVED = """
    UPDATE payments SET "completedAt" = %(completed)s WHERE id = %(id)s;
    UPDATE outbox SET "createdAt" = %(created)s WHERE "aggregateId" = %(id)s
"""


def test_the_planner_knows_how_many_paid_orders_the_search_reads(engine):
    """The planner expects about as many COMPLETED payments as there are, so it can choose the smaller hash table."""
    with engine.begin() as connection:
        insert_events(connection, 2_000, state="published", age=timedelta(minutes=5))
        insert_payments_of_events(connection)
        connection.exec_driver_sql("ANALYZE; DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox)")
    until = datetime.now(UTC)
    with engine.begin() as connection, plans_of(engine, "no_event") as plans:
        assert no_event(connection, until - timedelta(hours=1), until).number == 1
    (nodes,) = plans
    (scan,) = (node for node in nodes if node.get("Relation Name") == "payments")
    assert (scan["Actual Rows"], scan["Plan Rows"]) == (2_000, pytest.approx(2_000, rel=0.5))


@pytest.fixture
def paid(engine):
    """Return a function that inserts a payment and its event.

    The payment's completion and the event have separate times.
    """

    def run(completed, created):
        orders = Orders(engine).pay("COMPLETED").event("COMPLETED", "published")
        values = {"completed": completed, "created": created, "id": orders.payment.id}
        with engine.begin() as connection:
            connection.exec_driver_sql(_MOVED, values)
        return orders.payment.order_code

    return run


def test_an_event_may_be_an_hour_older_than_the_window(engine, paid):
    """A payment has an event if the event was created at most an hour before the window begins."""
    paid(NOON, NOON - HOUR)
    missing = paid(NOON, NOON - HOUR - MILLISECOND)
    with engine.connect() as connection:
        found = no_event(connection, *WINDOW)
    assert [order.order_code for order in found.oldest] == [missing]


def test_a_window_has_the_payments_of_its_first_instant_and_not_of_its_last(engine, paid):
    """A window includes payments that were completed at its start but not at its end."""
    first = paid(NOON, NOON - 9 * HOUR)
    for outside in (NOON - MILLISECOND, NOON + HOUR):
        paid(outside, NOON - 9 * HOUR)
    with engine.connect() as connection:
        found = no_event(connection, *WINDOW)
    assert ([order.order_code for order in found.oldest], found.number, found.amount) == ([first], 1, 320_000)


def test_twenty_paid_orders_are_named_and_all_are_counted(engine, paid):
    """All paid orders without an event are counted. The twenty oldest of these orders are listed, oldest first."""
    codes = [paid(NOON + number * MILLISECOND, NOON - 9 * HOUR) for number in reversed(range(21))]
    with engine.connect() as connection:
        found = no_event(connection, *WINDOW)
    assert (found.number, found.amount) == (21, 21 * 320_000)
    assert [order.order_code for order in found.oldest] == codes[:0:-1]


@pytest.fixture
def missing(engine):
    """Return a function that returns the orders without an event that were paid in the last day."""

    def run():
        with engine.connect() as connection:
            return no_event(connection, datetime.now(UTC) - 24 * HOUR, datetime.now(UTC)).oldest

    return run


def test_the_oldest_unpublished_event_of_an_unknown_type_is_named(engine, missing):
    """An order shows its oldest unpublished event of an unknown type, pending or dead. Other events do not count."""
    orders = [Orders(engine).pay("COMPLETED", age=number * HOUR) for number in range(4, 0, -1)]
    orders[0].event("?B", age=2 * HOUR).event("?A", age=HOUR).event("CANCELLED", age=3 * HOUR)
    orders[1].event("?C", "dead")
    orders[2].event("?D", "published")
    orders[3].event("FAILED")
    assert [(each.kind, each.id, each.why) for each in missing()] == [
        (WithoutTicket.UNKNOWN_TYPE, orders[0].payment.id, "?B"),
        (WithoutTicket.UNKNOWN_TYPE, orders[1].payment.id, "?C"),
        (WithoutTicket.NO_EVENT, orders[2].payment.id, None),
        (WithoutTicket.NO_EVENT, orders[3].payment.id, None),
    ]


def test_a_receipt_with_a_success_event_proves_that_the_event_existed(engine, missing):
    """A payment had an event if one of its receipts names a success event. Other receipts do not count."""
    orders = [Orders(engine).pay("COMPLETED", age=number * HOUR) for number in range(4, 0, -1)]
    orders[0].callback("COMPLETED", event="an event")
    orders[1].callback("COMPLETED", event=None)
    orders[2].callback("FAILED", event="another event")
    assert [each.id for each in missing()] == [each.payment.id for each in orders[1:]]
