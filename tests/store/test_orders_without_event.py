"""Test which paid orders the report names because they have no event, and how it searches for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.plans import plans_of
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.store.payments.open_orders import no_event

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
    """Return a function that inserts a payment that was completed at an instant, and an event of another instant."""

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
    """A payment that was completed at the first instant of a window is in the window. One at the last is not."""
    first = paid(NOON, NOON - 9 * HOUR)
    for outside in (NOON - MILLISECOND, NOON + HOUR):
        paid(outside, NOON - 9 * HOUR)
    with engine.connect() as connection:
        found = no_event(connection, *WINDOW)
    assert ([order.order_code for order in found.oldest], found.number, found.amount) == ([first], 1, 320_000)


def test_twenty_paid_orders_are_named_and_all_are_counted(engine, paid):
    """The oldest twenty paid orders without an event are named, the oldest first, and all of them are counted."""
    codes = [paid(NOON + number * MILLISECOND, NOON - 9 * HOUR) for number in reversed(range(21))]
    with engine.connect() as connection:
        found = no_event(connection, *WINDOW)
    assert (found.number, found.amount) == (21, 21 * 320_000)
    assert [order.order_code for order in found.oldest] == codes[:0:-1]
