"""Test the list of orders whose event waits or whose callback payctl refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.store.conftest import NOON
from ticketbottle_payctl.store.outbox.debezium_names import SLOT
from ticketbottle_payctl.store.payments.open_orders import WithoutTicket, refused, unpublished

pytestmark = pytest.mark.postgres
MINUTE, HOUR, MICROSECOND = timedelta(minutes=1), timedelta(hours=1), timedelta(microseconds=1)


@pytest.fixture
def pay(engine):
    """Return a function that inserts a payment and returns a writer of its rows."""
    return lambda status="COMPLETED": Orders(engine).pay(status)


@pytest.fixture
def waiting(engine):
    """Return a function that returns the orders with an unpublished event. An event is dead after five retries."""

    def run():
        with engine.connect() as connection:
            return unpublished(connection, 5)

    return run


def test_an_order_counts_once_with_its_oldest_unpublished_event(pay, waiting):
    """Each order with an unpublished PAYMENT_COMPLETED event is listed once, sorted by its oldest unpublished event."""
    late = pay().event(age=MINUTE).event(age=2 * MINUTE, retries=5, error="late")
    early = pay().event(age=3 * MINUTE, error="from before a replay").event("FAILED", age=HOUR)
    pay().event("CANCELLED", age=HOUR).event(state="published", age=HOUR)
    found = waiting()
    assert [(each.kind, each.id, each.order_code, each.amount, each.why) for each in found.oldest] == [
        (WithoutTicket.PENDING, early.events[0], early.payment.order_code, 320_000, None),
        (WithoutTicket.DEAD, late.events[1], late.payment.order_code, 320_000, "late"),
    ]
    assert (found.number, found.amount) == (2, 640_000)


def test_a_pending_event_behind_a_dead_event_of_its_payment_is_blocked(pay, waiting):
    """A pending event waits behind a dead event only if the dead event is an earlier one of the same payment."""
    behind = pay().event("NO_SUCH_TYPE", age=4 * HOUR, retries=5).event(age=3 * HOUR)
    behind.event("FAILED", age=2 * HOUR, retries=5)
    before = pay().event(age=2 * HOUR).event("FAILED", age=HOUR, retries=5)
    found = waiting()
    assert [(each.kind, each.id) for each in found.oldest] == [
        (WithoutTicket.BLOCKED, behind.events[1]),
        (WithoutTicket.PENDING, before.events[0]),
    ]


@pytest.mark.parametrize(("dead", "kind"), [("A", WithoutTicket.BLOCKED), ("z", WithoutTicket.PENDING)])
def test_of_two_events_of_the_same_instant_the_dead_one_blocks_only_a_greater_id(execute, pay, waiting, dead, kind):
    """Two events with the same time are sent in the order of their ids, so a dead event blocks only the higher id."""
    pay().event(id="a").event("FAILED", id=dead, retries=5)
    execute("""UPDATE outbox SET "createdAt" = '2026-11-29 12:00'""")
    assert [(each.kind, each.id) for each in waiting().oldest] == [(kind, "a")]


@pytest.mark.usefixtures("logical")
def test_no_event_is_blocked_while_debezium_publishes(execute, pay, waiting):
    """While Debezium's slot exists, an event does not wait for earlier events of its payment."""
    pay().event("FAILED", age=2 * HOUR, retries=5).event()
    execute(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    found = waiting()
    execute(f"SELECT pg_drop_replication_slot('{SLOT}')")
    assert [each.kind for each in found.oldest] == [WithoutTicket.PENDING]


def test_a_new_event_counts_only_if_it_is_dead(at_noon, execute, pay):
    """An event that was created in the last second does not count as waiting, unless it is dead."""
    new, old, dead = pay().event(), pay().event(), pay().event(retries=5)
    for orders, at in ((new, "11:59:59.001"), (old, "11:59:59"), (dead, "11:59:59.001")):
        execute(f"""UPDATE outbox SET "createdAt" = '2026-11-29 {at}' WHERE id = '{orders.events[0]}'""")  # noqa: S608
    found = unpublished(at_noon, 5)
    assert ([each.id for each in found.oldest], found.number) == ([*old.events, *dead.events], 2)


def test_an_event_without_a_payment_counts_without_an_amount(engine, waiting):
    """An unpublished event whose payment does not exist counts as an open order without an amount."""
    gone = Orders(engine).event(age=HOUR)
    found = waiting()
    assert [(each.id, each.order_code, each.amount) for each in found.oldest] == [(gone.events[0], None, None)]
    assert (found.number, found.amount) == (1, 0)


def test_the_error_of_a_retry_is_cut_to_500_characters(pay, waiting):
    """An order shows the first 500 characters of its event's error, even if the event has failed only once."""
    pay().event(retries=1, error="e" * 501)
    assert [each.why for each in waiting().oldest] == ["e" * 500]


def test_twenty_waiting_orders_are_named_and_all_are_counted(pay, waiting):
    """The twenty oldest orders with an unpublished event are listed, and all such orders are counted."""
    events = [pay().event(age=number * MINUTE).events[0] for number in range(1, 22)]
    found = waiting()
    assert ([each.id for each in found.oldest], found.number) == (events[:0:-1], 21)


@pytest.fixture
def denied(engine):
    """Return a function that returns the orders with a callback that was refused in the hour after noon."""

    def run():
        with engine.connect() as connection:
            return refused(connection, NOON, NOON + HOUR)

    return run


def test_a_window_has_the_callbacks_of_its_first_instant_and_not_of_its_last(pay, call, denied):
    """A window includes callbacks at its start but not at its end."""
    first = call(pay("FAILED"), 0 * HOUR)
    for outside in (-MICROSECOND, HOUR):
        call(pay("FAILED"), outside)
    assert [each.id for each in denied().oldest] == first.receipts


def test_only_a_refused_callback_that_reports_money_opens_an_order(pay, call, denied):
    """A callback opens an order if it was refused, may report money, and its payment is not COMPLETED."""
    call(pay("FAILED"), MINUTE, result="settled")
    call(pay("FAILED"), MINUTE, outcome="FAILED")
    call(pay("FAILED"), MINUTE, reason="refund")
    call(pay("COMPLETED"), MINUTE)
    assert denied().number == 0
    unclear = call(pay("CANCELLED"), 2 * MINUTE, outcome="UNCLEAR", reason=None, amount=None)
    found = denied()
    assert (found.number, found.amount) == (1, 0)
    held = call(pay("PENDING"), MINUTE, outcome="FAILED", reason="held")
    found = denied()
    assert [(each.id, each.amount) for each in found.oldest] == [
        (held.receipts[0], 320_000),
        (unclear.receipts[0], None),
    ]
    assert (found.number, found.amount) == (2, 320_000)


def test_refused_orders_are_sorted_by_their_latest_callback(engine, pay, call, denied):
    """Each order is listed once, with its latest refused callback. The orders are sorted by this callback."""
    later = call(call(pay("FAILED"), MINUTE, amount=1), 9 * MINUTE, amount=2)
    earlier = call(pay("FAILED"), 5 * MINUTE, order_ref="the gateway's number")
    stray = call(Orders(engine), 7 * MINUTE, amount=5)
    stray = call(stray, 8 * MINUTE, amount=6, reference="another reference")
    found = denied()
    assert [(each.kind, each.id, each.order_code, each.amount) for each in found.oldest] == [
        (WithoutTicket.REFUSED, earlier.receipts[0], earlier.payment.order_code, 320_000),
        (WithoutTicket.REFUSED, stray.receipts[1], "nobody's order", 6),
        (WithoutTicket.REFUSED, later.receipts[1], later.payment.order_code, 2),
    ]
    assert (found.number, found.amount, found.oldest[0].at) == (3, 320_008, NOON + 5 * MINUTE)


def test_twenty_refused_orders_are_named_and_all_are_counted(pay, call, denied):
    """The twenty oldest orders with a refused callback are listed, and all such orders are counted."""
    receipts = [call(pay("FAILED"), number * MINUTE).receipts[0] for number in range(21)]
    found = denied()
    assert ([each.id for each in found.oldest], found.number) == (receipts[:20], 21)


def test_callbacks_of_one_instant_are_sorted_by_their_id(pay, call, denied):
    """If refused callbacks of an order arrived at the same time, the one with the lowest id is listed."""
    orders = pay("FAILED")
    for name in ("b", "a", "c"):
        call(orders, MINUTE, id=f"{name * 8}-0000-4000-8000-000000000000")
    assert [each.id for each in denied().oldest] == [orders.receipts[1]]
