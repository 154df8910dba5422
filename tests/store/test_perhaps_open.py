"""Test the search for callbacks that show that an order may be open, or that a person must check its money."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.store.conftest import NOON
from ticketbottle_payctl.store.payments.open_money import perhaps_open
from ticketbottle_payctl.store.payments.refused_callbacks import refused_lately
from ticketbottle_payctl.store.payments.unsettled_callbacks import unsettled_callbacks

pytestmark = pytest.mark.postgres
MINUTE, HOUR, MICROSECOND = timedelta(minutes=1), timedelta(hours=1), timedelta(microseconds=1)
MILLISECOND = timedelta(milliseconds=1)
WINDOW = (NOON, NOON + HOUR)


@pytest.fixture
def judged(engine):
    """Return a function that returns the orders in the window that may be open, with the receipts that show this."""

    def run(reasons=("late",), most=9):
        with engine.connect() as connection:
            found = perhaps_open(connection, *WINDOW, list(reasons), most)
        return [(each.payment_id, list(each.receipt_ids)) for each in found]

    return run


@pytest.mark.parametrize(
    ("after", "counts"), [(-MICROSECOND, False), (0 * HOUR, True), (HOUR - MICROSECOND, True), (HOUR, False)]
)
@pytest.mark.parametrize("settled", [True, False])
def test_only_callbacks_of_the_window_make_an_order_perhaps_open(pay, call, judged, after, counts, settled):
    """A callback counts if it arrived in the window, which includes its start but not its end."""
    orders = pay("COMPLETED", ended={"FAILED": 2 * HOUR} if settled else {})
    call(orders, after, **({"result": "settled", "reason": None} if settled else {}))
    assert judged() == ([(orders.payment.id, orders.receipts)] if counts else [])


def test_perhaps_open_orders_are_sorted_by_their_first_callback(engine, pay, call, judged):
    """Orders that may be open are sorted by their first callback, each with its receipts in order, up to a limit."""
    late, early = pay("COMPLETED"), pay("COMPLETED")
    call(call(late, 9 * MINUTE), 3 * MINUTE)
    call(early, 2 * MINUTE)
    stray = call(Orders(engine), 5 * MINUTE, outcome="FAILED")
    call(pay("COMPLETED"), MINUTE, reason="another")
    expected = [
        (early.payment.id, early.receipts),
        (late.payment.id, late.receipts[::-1]),
        (None, stray.receipts),
    ]
    assert judged() == expected
    assert judged(most=1) == expected[:1]


@pytest.mark.parametrize(
    ("status", "changes", "counts"),
    [
        ("COMPLETED", {}, True),
        ("FAILED", {}, False),
        ("FAILED", {"reason": "refund"}, True),
        ("FAILED", {"result": "settled"}, True),
        ("FAILED", {"outcome": "FAILED"}, False),
        ("CANCELLED", {"outcome": "FAILED"}, False),
        ("PENDING", {"outcome": "FAILED"}, True),
    ],
)
def test_an_order_is_perhaps_open_unless_it_counts_elsewhere(pay, call, judged, status, changes, counts):
    """The search leaves out the refused transfers that `open_orders.refused` counts.

    It also leaves out callbacks without money if the payment failed or was cancelled.
    """
    orders = call(pay(status), MINUTE, **changes)
    assert judged(["late", "refund"]) == ([(orders.payment.id, orders.receipts)] if counts else [])


@pytest.mark.parametrize(
    ("earlier", "second"),
    [
        ({}, True),
        ({"result": "already_settled"}, True),
        ({"result": "refused"}, False),
        ({"outcome": "FAILED"}, False),
        ({"number": "2"}, False),
        ({"payment": None}, False),
    ],
)
def test_a_second_number_of_a_settled_payment_is_a_second_transfer(pay, call, judged, earlier, second):
    """A repeated success counts if another callback has settled the payment with a different number."""
    orders = pay("COMPLETED")
    call(orders, -HOUR, **{"result": "settled", "reason": None, "number": "1", **earlier})
    call(orders, MINUTE, result="already_settled", reason=None, number="2")
    assert judged() == ([(orders.payment.id, orders.receipts[1:])] if second else [])


@pytest.mark.parametrize(
    ("ended", "opens"),
    [({}, False), ({"FAILED": 2 * HOUR}, True), ({"CANCELLED": 2 * HOUR}, True), ({"FAILED": -HOUR}, False)],
)
def test_a_payment_that_was_settled_after_it_had_ended_is_perhaps_open(pay, call, close, judged, ended, opens):
    """A payment may be open if it failed or was cancelled before it was completed, until a person closes it."""
    orders = call(pay("COMPLETED", ended=ended), MINUTE, result="settled", reason=None)
    assert judged() == ([(orders.payment.id, orders.receipts)] if opens else [])
    close(orders.payment.id, -timedelta(days=99))
    assert bool(judged()) is opens
    close(orders.payment.order_code, timedelta(days=99), "skipped")
    assert bool(judged()) is opens
    close(orders.payment.order_code, timedelta(days=99))
    assert judged() == []


@pytest.fixture
def settle(engine, pay, call):
    """Return a function that inserts a payment that was completed at noon, and that failed ``after`` noon."""

    def run(failed):
        orders = call(pay("COMPLETED"), MINUTE, result="settled", reason=None)
        completed = NOON.replace(tzinfo=None)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                'UPDATE payments SET "completedAt" = %s, "failedAt" = %s', (completed, completed + failed)
            )
        return orders

    return run


@pytest.mark.parametrize(("failed", "opens"), [(-MILLISECOND, True), (0 * HOUR, False), (MILLISECOND, False)])
def test_only_a_payment_that_failed_before_its_completion_is_perhaps_open(settle, judged, failed, opens):
    """A payment that failed at the time of its completion or later is not open."""
    settle(failed)
    assert bool(judged()) is opens


def test_a_closing_covers_the_payment_that_was_completed_at_its_instant(settle, close, judged):
    """A closing record covers a completion at or before its time. Closing records of other orders do not count."""
    orders = settle(-HOUR)
    close("another", HOUR)
    close(orders.payment.id, -MICROSECOND)
    assert judged() == [(orders.payment.id, orders.receipts)]
    close(orders.payment.id, 0 * HOUR)
    assert judged() == []


def test_unsettled_callbacks_are_listed_with_their_order_oldest_first(engine, pay):
    """Refused callbacks, and ignored callbacks with a given reason, are listed once for each transfer, oldest first."""
    orders = pay()
    orders.callback("COMPLETED", "refused", "late", number="1", age=5 * MINUTE)
    orders.callback("COMPLETED", "refused", "late", number="1", age=9 * MINUTE)
    orders.callback("COMPLETED", "ignored", "held", number="2", age=7 * MINUTE)
    orders.callback("COMPLETED", "ignored", "pending", number="3").callback("FAILED", "refused", "late", number="4")
    orders.callback("COMPLETED", "refused", "late", number="5", age=2 * HOUR)
    stray = Orders(engine).callback("FAILED", "refused", None, age=8 * MINUTE, number=None)
    pay("COMPLETED").callback("COMPLETED", "refused", "late")
    with engine.connect() as connection:
        found = unsettled_callbacks(connection, HOUR, ["held"])
    assert [(each.receipt_id, each.reason, each.order_code, each.status, each.made_for) for each in found] == [
        (orders.receipts[1], "late", orders.payment.order_code, "FAILED", "MOMO"),
        (stray.receipts[0], "", "nobody's order", None, None),
        (orders.receipts[2], "held", orders.payment.order_code, "FAILED", "MOMO"),
    ]
    assert 540 <= found[0].age_s < 600


def test_the_newest_refused_callbacks_are_returned_latest_first(engine, pay, call, close):
    """Among the newest callbacks, the refused ones that no person has closed are returned, latest first."""
    orders = pay()
    for after in (9, 1, 5):
        call(orders, after * MINUTE)
    call(orders, 7 * MINUTE, result="settled", reason=None)
    call(orders, -HOUR)
    with engine.connect() as connection:
        found = refused_lately(connection, 4)
    first, second, third, *_ = orders.receipts
    assert ([each.id for each in found.refused], found.closed, found.looked_at) == ([first, third, second], 0, 4)
    close(orders.payment.id, 6 * MINUTE)
    with engine.connect() as connection:
        found = refused_lately(connection, 4)
        assert refused_lately(connection, 1).looked_at == 1
    assert ([each.id for each in found.refused], found.closed, found.looked_at) == ([first], 2, 4)


def test_without_callbacks_nothing_is_refused(engine):
    """If no callbacks exist, the counts of read and refused callbacks are zero."""
    with engine.connect() as connection:
        assert refused_lately(connection, 4) == (0, (), 0)
