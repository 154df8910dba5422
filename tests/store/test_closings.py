"""Test the search for transfers of money that a person has closed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.payments.closed_transfers import closed_among

pytestmark = pytest.mark.postgres
MINUTE, HOUR, MICROSECOND = timedelta(minutes=1), timedelta(hours=1), timedelta(microseconds=1)


@pytest.fixture
def closed(engine):
    """Return a function that returns, for each receipt of an order, whether it is closed."""

    def run(*orders):
        with engine.connect() as connection:
            ids = [name for each in orders for name in each.receipts]
            found = closed_among(connection, ids)
        return [name in found for name in ids]

    return run


@pytest.mark.parametrize("subject", ["payment", "order_code", "receipt"])
def test_a_closing_covers_the_transfers_up_to_its_instant(pay, call, close, closed, subject):
    """A closing record covers a transfer that was first reported at or before its ``until``, but no later transfer."""
    orders = pay()
    for after in (0 * HOUR, MINUTE, MINUTE + MICROSECOND):
        call(orders, after, order_ref=orders.payment.order_code if subject == "order_code" else "")
    name = {"payment": orders.payment.id, "order_code": orders.payment.order_code, "receipt": orders.receipts[1]}
    other = call(pay(), 0 * HOUR)
    close(name[subject], MINUTE, "skipped")
    assert closed(orders, other) == [False] * 4
    close(name[subject], 0 * HOUR)
    close(name[subject], MINUTE)
    close(name[subject], -HOUR)
    assert closed(orders, other) == [True, True, False, False]


def test_a_repeat_of_a_closed_transfer_is_closed(pay, call, close, closed):
    """A callback that repeats a closed transfer is closed. Another transfer with the same reference is not closed."""
    orders = pay()
    for number in ("1", "1", "2"):
        call(orders, HOUR if orders.receipts else 0 * HOUR, number=number)
    close(orders.payment.id, MINUTE)
    assert closed(orders) == [True, True, False]


@pytest.mark.parametrize(
    "which", [{}, {"outcome": "UNCLEAR", "reference": "", "order_ref": "", "payment": None, "body": b"x"}]
)
def test_a_repeat_is_closed_even_if_it_alone_is_asked_for(engine, pay, call, close, which):
    """A search for one callback also reads earlier callbacks about the same transfer, with or without a reference."""
    orders = call(call(pay(), 0 * HOUR, **which, number=None), HOUR, **which, number=None)
    close(orders.receipts[0] if which else orders.payment.id, MINUTE)
    with engine.connect() as connection:
        assert closed_among(connection, orders.receipts[1:]) == {*orders.receipts[1:]}


def test_the_latest_closing_of_an_order_s_names_counts(engine, call, close, closed):
    """If callbacks with one reference name different orders, the closing record with the latest ``until`` counts."""
    orders = Orders(engine)
    for order_ref, after in (("one", 0 * HOUR), ("two", MINUTE)):
        call(orders, after, reference="a reference", order_ref=order_ref)
        close(order_ref, after)
    assert closed(orders) == [True, True]


def test_a_new_reason_or_another_gateway_makes_another_transfer(pay, call, close, closed):
    """A callback with another reason or another gateway does not repeat a closed transfer."""
    orders = call(pay(), 0 * HOUR, number="1")
    call(orders, HOUR, number="1", reason="wrong_amount")
    call(orders, HOUR, number="1", provider="vnpay")
    call(orders, HOUR, number="1", amount=1)
    close(orders.payment.id, MINUTE)
    assert closed(orders) == [True, False, False, False]


def test_unreadable_callbacks_are_compared_by_their_bytes(call, engine, close, closed):
    """If callbacks have no reference, only those with equal bytes are closed together."""
    orders = Orders(engine)
    for body, order in ((b"x", "one"), (b"x", "one"), (b"y", "two")):
        call(orders, 0 * HOUR, outcome="UNCLEAR", reference="", order_ref=order, number=None, body=body)
    close("one", MINUTE)
    assert closed(orders) == [True, True, False]


def test_the_payment_of_a_later_copy_closes_an_unreadable_callback(pay, call, close, closed):
    """The closing record of a payment covers an unreadable callback if its later copy belongs to the payment."""
    orders = pay()
    unreadable = {"outcome": "UNCLEAR", "reference": "", "order_ref": "", "number": None, "body": b"x"}
    call(orders, 0 * HOUR, **unreadable, payment=None)
    for _ in range(2):
        call(orders, HOUR, reference="another", number="9", body=b"x")
    call(orders, 0 * HOUR, **{**unreadable, "body": b"y"}, payment=None)
    close(orders.payment.id, MINUTE)
    assert closed(orders) == [True, False, False, False]


def test_a_copy_of_the_same_instant_is_no_later_copy(engine, pay, call, close):
    """An unreadable callback does not get the payment of a copy that arrived at the same time."""
    orders = pay()
    for more in ({"reference": "", "payment": None}, {"reference": "another"}):
        call(orders, 0 * HOUR, outcome="UNCLEAR", order_ref="", number=None, body=b"x", **more)
    close(orders.payment.id, MINUTE)
    with engine.connect() as connection:
        assert closed_among(connection, orders.receipts[:1]) == set()


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({}, True),
        ({"provider": "vnpay"}, False),
        ({"reference": "another"}, False),
        ({"reference": "another", "body": b"x"}, False),
    ],
)
def test_a_callback_has_the_payment_of_another_one_with_its_reference(pay, call, close, closed, changes, known):
    """A payment's closing record covers an early callback if the same gateway repeats its reference for the payment."""
    orders = pay()
    call(orders, 0 * HOUR, payment=None, reference="a reference", order_ref="another", body=b"x")
    call(orders, HOUR, **{"reference": "a reference", "order_ref": "another", **changes})
    close(orders.payment.id, MINUTE)
    assert closed(orders) == [known, False]


def test_of_two_payments_with_one_reference_the_greater_id_counts(engine, pay, call, close, closed):
    """If two payments share a reference, a callback without a payment belongs to the payment with the higher id."""
    less, greater = sorted((pay(), pay()), key=lambda each: each.payment.id)
    stray = Orders(engine)
    for number, orders in enumerate((less, greater, stray)):
        call(orders, 0 * HOUR, reference="a reference", order_ref="another", number=str(number))
    close(greater.payment.id, MINUTE)
    assert closed(less, greater, stray) == [False, True, True]


@pytest.mark.parametrize("missing", ["payments", "payctl.run_items"])
def test_without_a_privilege_no_transfer_counts_as_closed(engine, pay, call, close, missing):
    """If the role is not allowed to read the payments or the closing records, no transfer counts as closed."""
    orders = call(pay(), 0 * HOUR)
    close(orders.payment.id, MINUTE)
    readable = ", ".join({"payments", "payctl.run_items", "payctl.webhook_receipts"} - {missing})
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE ROLE reader; GRANT USAGE ON SCHEMA payctl, public TO reader")
        connection.exec_driver_sql(f"GRANT SELECT ON {readable} TO reader; SET LOCAL ROLE reader")
        assert closed_among(connection, orders.receipts) == set()


def test_a_callback_without_a_payment_has_the_payment_of_its_order_code(pay, call, close, closed):
    """The closing record of a payment covers a callback that is linked to it only by the order code."""
    orders = pay()
    call(orders, 0 * HOUR, payment=None, reference="a reference")
    call(orders, 0 * HOUR, payment=None, reference="another", order_ref="another")
    close(orders.payment.id, MINUTE)
    assert closed(orders) == [True, False]


def test_a_callback_with_a_payment_ignores_the_order_code_of_another_one(pay, call, close, closed):
    """An order's closing record does not cover a callback that belongs to a payment with another order code."""
    orders, other = pay(), pay()
    call(orders, 0 * HOUR, order_ref=other.payment.order_code)
    close(other.payment.id, MINUTE)
    assert closed(orders) == [False]
