"""Test the rows that each selector of a list finds, and the merge of pending and published events."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.store.conftest import NOON
from ticketbottle_payctl.store.outbox.list_events import list_events
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payments.list_payments import PaymentSelector, list_payments
from ticketbottle_payctl.store.payments.list_receipts import ReceiptSelector, list_receipts

pytestmark = pytest.mark.postgres
HOUR, MILLISECOND = timedelta(hours=1), timedelta(milliseconds=1)


def ids(rows):
    """Return the ids of a list's rows."""
    return [str(each.values[0]) for each in rows]


@pytest.mark.parametrize("apart", [timedelta(0), HOUR], ids=["of one instant", "of different instants"])
def test_a_page_has_the_newest_of_the_pending_and_the_published_events(engine, apart):
    """A page merges the pending and the published events, newest first.

    At the same time, the highest id comes first.
    """
    with engine.connect() as connection:
        for number, name in enumerate("abcd"):
            Orders(engine).event(id=name, state="published" if number % 2 else "pending")
            sql = 'UPDATE outbox SET "createdAt" = %s WHERE id = %s'
            connection.exec_driver_sql(sql, (NOON.replace(tzinfo=None) + number * apart, name))
        for limit in (1, 2, 3, 9):
            found = list_events(connection, limit, None, selector=Selector(), max_retries=5)
            assert ids(found) == ["d", "c", "b", "a"][:limit]


def test_a_listed_event_has_the_order_code_of_its_own_payment(engine):
    """Each listed event has the order code and the gateway of its own payment."""
    orders = [Orders(engine).pay(provider=provider).event() for provider in ("MOMO", "VNPAY")]
    with engine.connect() as connection:
        found = list_events(connection, 9, None, selector=Selector(), max_retries=5)
    assert {each.row["id"]: (each.row["order_code"], each.row["provider"]) for each in found} == {
        each.events[0]: (each.payment.order_code, gateway)
        for each, gateway in zip(orders, ("MOMO", "VNPAY"), strict=True)
    }


def test_payments_are_selected_by_code_gateway_and_status(engine):
    """A list of payments can be limited to order codes, a gateway, or statuses."""
    zalo, momo = Orders(engine).pay("FAILED", provider="ZALO_PAY"), Orders(engine).pay("COMPLETED")
    Orders(engine).pay(provider="VNPAY")
    with engine.connect() as connection:
        for selector, expected in (
            (PaymentSelector(order_codes=(zalo.payment.order_code,)), zalo),
            (
                PaymentSelector(order_codes=(zalo.payment.order_code, momo.payment.order_code), statuses=("FAILED",)),
                zalo,
            ),
            (PaymentSelector(provider="zalopay"), zalo),
            (PaymentSelector(statuses=("COMPLETED", "CANCELLED")), momo),
            (PaymentSelector(ids=(momo.payment.id,)), momo),
        ):
            assert ids(list_payments(connection, 9, None, selector=selector)) == [expected.payment.id]


def test_receipts_are_selected_by_payment_gateway_and_result(engine):
    """A list of receipts can be limited to payments, a gateway, or results."""
    zalo, momo = Orders(engine).pay(provider="ZALO_PAY"), Orders(engine).pay()
    zalo.callback(provider="zalopay")
    momo.callback(result="refused").callback(result="ignored")
    Orders(engine).callback(provider="vnpay", result="already_settled")
    with engine.connect() as connection:
        for selector, expected in (
            (ReceiptSelector(payments=(zalo.payment.id,)), zalo.receipts),
            (ReceiptSelector(provider="ZALO-PAY"), zalo.receipts),
            (ReceiptSelector(results=("refused", "ignored")), momo.receipts),
            (ReceiptSelector(payments=(momo.payment.id,), results=("refused", "settled")), momo.receipts[:1]),
        ):
            assert {*ids(list_receipts(connection, 9, None, selector=selector))} == {*expected}
        found = list_receipts(connection, 9, None, selector=ReceiptSelector(order_codes=(momo.payment.order_code,)))
        assert {*ids(found)} == {*momo.receipts}
        assert {each.row["order_code"] for each in found} == {momo.payment.order_code}


@pytest.mark.parametrize(("younger", "stuck"), [(-MILLISECOND, True), (0 * HOUR, True), (MILLISECOND, False)])
def test_a_payment_is_stuck_from_the_limit_on(engine, at_noon, younger, stuck):
    """A payment is stuck as soon as it has been PENDING for the given time."""
    payment = Orders(engine).pay().payment
    sql = 'UPDATE payments SET "createdAt" = %s WHERE id = %s'
    at_noon.exec_driver_sql(sql, (NOON.replace(tzinfo=None) - HOUR + younger, payment.id))
    found = list_payments(at_noon, 9, None, selector=PaymentSelector(stuck=HOUR))
    assert ids(found) == ([payment.id] if stuck else [])
