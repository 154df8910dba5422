"""Test the searches for receipts, transfers and closing records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.payctl.transfers import transfer
from ticketbottle_payctl.store.payments.closed_transfers import closed_among
from ticketbottle_payctl.store.payments.history import orders_ending_in
from ticketbottle_payctl.store.payments.list_receipts import ReceiptSelector, list_receipts
from ticketbottle_payctl.store.payments.open_money import perhaps_open
from ticketbottle_payctl.store.payments.open_orders import refused
from ticketbottle_payctl.store.payments.receipt_rows import receipts_of_payments

pytestmark = pytest.mark.postgres
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RUN = "00000000-0000-4000-8000-000000000001"
_CLOSING = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, after)
    VALUES (%s, 0, 0, %s, 'closed', jsonb_build_object('until', clock_timestamp()))"""


def window():
    """Return a window from two hours ago to one hour ahead."""
    return datetime.now(UTC) - 2 * HOUR, datetime.now(UTC) + HOUR


def test_a_listed_receipt_says_whether_it_came_from_a_status_query(engine):
    """The source of a receipt is `reconcile` if payctl asked the gateway, and `callback` if the gateway called."""
    Orders(engine).pay().callback(method="RECONCILE", age=2 * MINUTE).callback(method="POST", age=MINUTE)
    with engine.connect() as connection:
        found = list_receipts(connection, 9, None, selector=ReceiptSelector())
    assert [dict(zip(each.names, each.values, strict=True))["source"] for each in found] == ["callback", "reconcile"]


def test_only_a_receipt_that_reports_money_is_named_by_the_number_of_its_transfer(engine, execute):
    """Receipts that report money with the same transfer number count as one transfer.

    Other receipts are compared by their bytes.
    """
    orders = Orders(engine).pay()
    for outcome in ("COMPLETED", "FAILED"):
        orders.callback(outcome, body=b"a").callback(outcome, body=b"b")
    sql = "SELECT count(DISTINCT {}) FROM payctl.webhook_receipts AS r WHERE outcome = '{}'"
    assert execute(sql.format(transfer("r."), "COMPLETED")) == [1]
    assert execute(sql.format(transfer("r."), "FAILED")) == [2]


def test_a_zalopay_receipt_is_found_by_the_date_and_the_order_code(engine, execute):
    """ZaloPay's reference begins with a date, which can be up to one day before the payment or two days after it."""
    orders = Orders(engine).pay(provider="ZALOPAY")
    for days in (-2, -1, 0, 1, 2, 3):
        sql = """SELECT to_char("createdAt" + interval '7 hours' + %s * interval '1 day', 'YYMMDD_') FROM payments"""
        (date,) = execute(sql % days)
        orders.callback(payment=None, provider="zalopay", order_ref="", reference=date + orders.payment.order_code)
    with engine.connect() as connection:
        found = receipts_of_payments(connection, {orders.payment.id: []})[orders.payment.id]
    assert {each.id for each in found} == set(orders.receipts[1:5])


@pytest.mark.parametrize(("created", "first"), [("2026-11-29 16:59:59", "261128"), ("2026-11-29 17:00", "261129")])
def test_the_date_of_a_zalopay_reference_is_the_one_in_vietnam(engine, execute, created, first):
    """In Vietnam, a day begins at 17:00 UTC. The reference of a receipt begins with this date."""
    orders = Orders(engine).pay(provider="ZALOPAY")
    execute(f"UPDATE payments SET \"createdAt\" = '{created}'")  # noqa: S608
    for date in ("261127", "261128", "261129"):
        reference = f"{date}_{orders.payment.order_code}"
        orders.callback(payment=None, provider="zalopay", order_ref="", reference=reference)
    with engine.connect() as connection:
        found = receipts_of_payments(connection, {orders.payment.id: []})[orders.payment.id]
    expected = orders.receipts[["261127", "261128", "261129"].index(first) :]
    assert {each.id for each in found} == set(expected)


def test_at_most_ten_orders_are_named_for_an_ending(engine):
    """If many order codes end with the given characters, only the ten latest orders are listed, latest first."""
    for number in range(11):
        Orders(engine).pay(order_code=f"TB-{number}-WXYZ", age=number * MINUTE)
    with engine.connect() as connection:
        found = orders_ending_in(connection, "wxyz")
    assert [each.order_code for each in found] == [f"TB-{number}-WXYZ" for number in range(10)]


def test_only_the_receipts_that_a_closing_names_are_closed(engine):
    """The closing record of an order covers only the receipts of this order."""
    closed, other = (Orders(engine).pay("FAILED").callback("COMPLETED", "refused", "late") for _ in range(2))
    with engine.begin() as connection:
        connection.exec_driver_sql(_CLOSING, (RUN, closed.payment.order_code))
    with engine.connect() as connection:
        assert closed_among(connection, [*closed.receipts, *other.receipts]) == {*closed.receipts}


def test_a_second_transfer_makes_an_order_perhaps_open(engine):
    """An order might be open if two callbacks have different transfer numbers, but not if they have the same number."""
    twice, once = Orders(engine).pay("COMPLETED"), Orders(engine).pay("COMPLETED")
    for orders, second in ((twice, "8"), (once, "7")):
        orders.callback(number="7", age=3 * MINUTE).callback(result="already_settled", number=second, age=MINUTE)
    with engine.connect() as connection:
        found = perhaps_open(connection, *window(), [], 9)
    assert [(each.payment_id, each.receipt_ids) for each in found] == [(twice.payment.id, twice.receipts[1:])]


def test_only_a_callback_of_the_window_makes_a_payment_that_had_ended_perhaps_open(engine):
    """A payment that was paid after it had ended might be open, but only if its callback arrived in the window."""
    orders = Orders(engine).pay("COMPLETED", ended={"CANCELLED": 5 * HOUR}).callback(age=HOUR)
    Orders(engine).pay("COMPLETED", ended={"CANCELLED": 5 * HOUR}).callback(age=4 * HOUR)
    with engine.connect() as connection:
        assert [each.payment_id for each in perhaps_open(connection, *window(), [], 9)] == [orders.payment.id]


def test_the_latest_refused_callback_of_an_order_is_shown(engine):
    """If payctl has refused several transfers for an order, the report shows the amount of the latest one."""
    orders = Orders(engine).pay("FAILED")
    orders.callback("COMPLETED", "refused", "late", amount=1, number="1", age=3 * MINUTE)
    orders.callback("COMPLETED", "refused", "late", amount=2, number="2", age=MINUTE)
    with engine.connect() as connection:
        found = refused(connection, *window())
    assert (found.number, found.amount, [each.id for each in found.oldest]) == (1, 2, orders.receipts[1:])
