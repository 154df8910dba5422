"""Test which transfers of money a person has closed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.payments.closed_transfers import closed_among

pytestmark = pytest.mark.postgres
MINUTE, HOUR, MICROSECOND = timedelta(minutes=1), timedelta(hours=1), timedelta(microseconds=1)


@pytest.fixture
def closed(engine):
    """Return a function that returns which receipts of an order are closed, as a list of booleans."""

    def run(*orders):
        with engine.connect() as connection:
            ids = [name for each in orders for name in each.receipts]
            found = closed_among(connection, ids)
        return [name in found for name in ids]

    return run


@pytest.mark.parametrize("subject", ["payment", "order_code", "receipt"])
def test_a_closing_covers_the_transfers_up_to_its_instant(pay, call, close, closed, subject):
    """A closing covers a transfer that was first reported at its instant or before, but no later transfer."""
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
    """A callback that repeats a closed transfer is closed, but not another transfer that has the same reference."""
    orders = pay()
    for number in ("1", "1", "2"):
        call(orders, HOUR if orders.receipts else 0 * HOUR, number=number)
    close(orders.payment.id, MINUTE)
    assert closed(orders) == [True, True, False]


def test_a_new_reason_or_another_gateway_makes_another_transfer(pay, call, close, closed):
    """A callback with another reason or from another gateway does not repeat a closed transfer."""
    orders = call(pay(), 0 * HOUR, number="1")
    call(orders, HOUR, number="1", reason="wrong_amount")
    call(orders, HOUR, number="1", provider="vnpay")
    call(orders, HOUR, number="1", amount=1)
    close(orders.payment.id, MINUTE)
    assert closed(orders) == [True, False, False, False]


def test_unreadable_callbacks_are_compared_by_their_bytes(call, engine, close, closed):
    """A callback without a reference is closed with its copies, but not with another callback without a reference."""
    orders = Orders(engine)
    for body, order in ((b"x", "one"), (b"x", "one"), (b"y", "two")):
        call(orders, 0 * HOUR, outcome="UNCLEAR", reference="", order_ref=order, number=None, body=body)
    close("one", MINUTE)
    assert closed(orders) == [True, True, False]


def test_the_payment_of_a_later_copy_closes_an_unreadable_callback(pay, call, close, closed):
    """A closing of a payment covers an unreadable callback whose later copy belongs to the payment."""
    orders = pay()
    unreadable = {"outcome": "UNCLEAR", "reference": "", "order_ref": "", "number": None, "body": b"x"}
    call(orders, 0 * HOUR, **unreadable, payment=None)
    call(orders, HOUR, reference="another", number="9", body=b"x")
    call(orders, 0 * HOUR, **{**unreadable, "body": b"y"}, payment=None)
    close(orders.payment.id, MINUTE)
    assert closed(orders) == [True, False, False]


@pytest.mark.parametrize(
    ("changes", "known"), [({}, True), ({"provider": "vnpay"}, False), ({"reference": "another"}, False)]
)
def test_a_callback_has_the_payment_of_another_one_with_its_reference(pay, call, close, closed, changes, known):
    """A closing of a payment covers an early callback without a payment if the same gateway repeats its reference."""
    orders = pay()
    call(orders, 0 * HOUR, payment=None, reference="a reference", order_ref="another")
    call(orders, HOUR, **{"reference": "a reference", "order_ref": "another", **changes})
    close(orders.payment.id, MINUTE)
    assert closed(orders) == [known, False]


def test_a_callback_without_a_payment_has_the_payment_of_its_order_code(pay, call, close, closed):
    """A closing of a payment covers a callback that names only the order code."""
    orders = pay()
    call(orders, 0 * HOUR, payment=None, reference="a reference")
    call(orders, 0 * HOUR, payment=None, reference="another", order_ref="another")
    close(orders.payment.id, MINUTE)
    assert closed(orders) == [True, False]


def test_a_callback_with_a_payment_ignores_the_order_code_of_another_one(pay, call, close, closed):
    """A closing of an order does not cover a callback that belongs to another payment with a name of its own."""
    orders, other = pay(), pay()
    call(orders, 0 * HOUR, order_ref=other.payment.order_code)
    close(other.payment.id, MINUTE)
    assert closed(orders) == [False]
