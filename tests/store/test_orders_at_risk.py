"""Test the search for paid orders whose only event has an unknown type."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.late_failure import insert_late_failure
from tests.plans import plans_of, rows_read
from ticketbottle_payctl.domain.causes import PaidOrders
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.store.outbox import dead
from ticketbottle_payctl.store.outbox.orders_at_risk import (
    MOST_FAILURES,
    MOST_UNKNOWN,
    known_late_failures,
    orders_at_risk,
)

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)
ODD = "?NOTED"
CLOSED = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, reason)
    SELECT gen_random_uuid(), 0, 0, id, 'closed', 'unknown_type_completed' FROM outbox"""


@pytest.fixture
def found(engine):
    """Return a function that returns the orders at risk for a role with the given rights."""

    def run(**rights):
        with engine.connect() as connection:
            return orders_at_risk(connection, 5, dead.ALL_RIGHTS._replace(**rights))

    return run


# how to insert the order: whether its customer waits
ORDERS = {
    "only an event of an unknown type": (lambda o: o.pay("COMPLETED").event(ODD, "dead"), True),
    "two events of unknown types": (lambda o: o.pay("COMPLETED").event(ODD, "dead").event("?B", "dead"), True),
    "a failure was sent": (lambda o: o.pay("COMPLETED").event("FAILED", "published").event(ODD, "dead"), True),
    "a receipt names the dead event": (
        lambda o: o.pay("COMPLETED").event(ODD, "dead").callback(event=o.events[0]), True),
    "the success was sent": (lambda o: o.pay("COMPLETED").event(ODD, "dead").event(state="published"), False),
    "the success was cleaned up": (lambda o: o.pay("COMPLETED").event(ODD, "dead").callback(event="gone"), False),
    "the success is pending": (lambda o: o.pay("COMPLETED").event(age=2 * HOUR).event(ODD, "dead"), False),
    "the success is dead": (lambda o: o.pay("COMPLETED").event(state="dead").event(ODD, "dead"), False),
    "the event is pending": (lambda o: o.pay("COMPLETED").event(ODD), False),
    "the payment failed": (lambda o: o.pay("FAILED").event(ODD, "dead"), False),
    "the payment is pending": (lambda o: o.pay().event(ODD, "dead"), False),
    "no payment": (lambda o: o.event(ODD, "dead"), False),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_whose_only_event_has_an_unknown_type_waits(name, engine, found):
    """A paid order waits if its dead event has an unknown type, and no success event exists or was sent."""
    insert, waits = ORDERS[name]
    orders = insert(Orders(engine))
    named = (orders.payment.order_code,) if waits else ()
    assert found().unknown == PaidOrders(int(waits), named, int(waits))


def test_a_success_that_the_old_service_sent_counts_as_sent(engine, found, execute):
    """If the success event is half-marked, the order does not wait, because the old service has sent the event."""
    Orders(engine).pay("COMPLETED").event(ODD, "dead").event(state="published")
    execute("UPDATE outbox SET published = false WHERE published")
    assert found().unknown.number == 0


def test_a_closed_event_counts_until_the_role_cannot_read_the_closings(engine, found, execute):
    """A closed event is left out. Without one of the rights, no event of an unknown type is judged."""
    Orders(engine).pay("COMPLETED").event(ODD, "dead")
    assert [found(**{right: False}).unknown.number for right in ("closings", "receipts")] == [0, 0]
    assert found().unknown.number == 1
    execute(CLOSED)
    assert found().unknown.number == 0


def test_the_three_oldest_orders_are_named(engine, found):
    """All orders are counted, and the three oldest are named, oldest first."""
    paid = [Orders(engine).pay("COMPLETED").event(ODD, "dead", age=age * HOUR) for age in range(4, 0, -1)]
    codes = [each.payment.order_code for each in paid]
    assert found().unknown == PaidOrders(4, tuple(codes[:3]), 4)


def test_the_search_reads_a_limited_number_of_events(engine, found):
    """The search judges at most 50 events of unknown types and 5,000 pending failures, whatever the outbox has."""
    with engine.begin() as connection:
        insert_events(connection, 20_000, state="published", age=HOUR, payload_bytes=0)
        insert_events(connection, 60, state="dead", age=HOUR, payload_bytes=0)
        insert_events(connection, MOST_FAILURES + 50, event_type="PAYMENT_FAILED", age=HOUR, payload_bytes=0)
        insert_payments_of_events(connection)
        connection.exec_driver_sql('UPDATE payments SET status = \'COMPLETED\', "completedAt" = "createdAt"')
        connection.exec_driver_sql('UPDATE outbox SET "eventType" = \'?NOTED\' WHERE "retryCount" = 5')
        connection.exec_driver_sql("ANALYZE")
    with plans_of(engine, "odd AS MATERIALIZED") as plans:
        risk = found()
    assert (risk.unknown.number, risk.late_failures.number) == (MOST_UNKNOWN, MOST_FAILURES)
    (nodes,) = plans
    assert rows_read(nodes, "outbox") < 60 * 4 + MOST_FAILURES * 4 + MOST_UNKNOWN * 400
    assert rows_read(nodes, "payments") < MOST_FAILURES * 2


def test_late_failures_are_unknown_while_the_payments_are_locked(engine):
    """If the payments cannot be read within the limit, the result is None, and not that there is no late failure."""
    with engine.begin() as connection:
        insert_late_failure(connection)
    limit = timedelta(milliseconds=100)
    with engine.connect() as other:
        other.exec_driver_sql("LOCK TABLE payments IN ACCESS EXCLUSIVE MODE")
        assert known_late_failures(engine, 5, limit) is None
        other.rollback()
    assert known_late_failures(engine, 5, limit).number == 1
