"""Test the payments and receipts that are read to check the money of orders."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.payments.money import money_of, stray
from ticketbottle_payctl.store.payments.unsettled_callbacks import unsettled_callbacks

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)


def test_each_payment_has_its_own_receipts(engine, pay):
    """Each requested payment is returned with its receipts. Deleted payments are left out."""
    one, other = pay("COMPLETED").callback().callback(number="2"), pay().callback()
    pay("COMPLETED").callback()
    with engine.connect() as connection:
        found = money_of(connection, {one.payment.id: one.receipts, other.payment.id: [], "gone": []})
    read = {name: (each.payment.id, {receipt.id for receipt in each.receipts}) for name, each in found.items()}
    assert read == {each.payment.id: (each.payment.id, {*each.receipts}) for each in (one, other)}


def test_an_order_without_a_payment_has_the_receipts_that_name_it(engine):
    """The receipts of an order without a payment are found by one of them, unless it has been deleted."""
    strays = Orders(engine).callback().callback(number="2")
    Orders(engine).callback(reference="another", order_ref="another")
    with engine.connect() as connection:
        found = stray(connection, strays.receipts[0])
        assert stray(connection, "00000000-0000-4000-8000-000000000001") is None
    assert (found.payment, {each.id for each in found.receipts}) == (None, {*strays.receipts})


def test_an_unsettled_callback_is_named_by_its_payment_s_order_code(engine, pay):
    """An unsettled callback has its payment's order code, even if the gateway has a different name for the order."""
    orders = pay("FAILED").callback("COMPLETED", "refused", "late", order_ref="4711")
    with engine.connect() as connection:
        assert [each.order_code for each in unsettled_callbacks(connection, HOUR, [])] == [orders.payment.order_code]
