"""Test which overdue payments count as closed by a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.jobs.order import find_open
from ticketbottle_payctl.store.payments.closed_overdue import closed_among
from ticketbottle_payctl.store.payments.created_in_window import CreatedPayments, OverdueRules, created, silent
from ticketbottle_payctl.store.payments.overdue import Forgotten, Overdue, count_forgotten

pytestmark = pytest.mark.postgres
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RULES = OverdueRules(20 * MINUTE, ["held"], {})
_CLOSING = """
    WITH run AS (
        INSERT INTO payctl.runs (id, command, status, os_user, host, started_at)
        VALUES (gen_random_uuid(), 'close', 'done', 'me', 'here', clock_timestamp() - %(age)s) RETURNING id, started_at)
    INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, reason, after, at)
    SELECT id, 0, 0, %(item)s, %(outcome)s, %(reason)s, jsonb_build_object('until', started_at), started_at FROM run
"""


@pytest.fixture
def close(engine):
    """Return a function that writes a closing record, ten minutes ago."""

    def run(orders, reason="no_callback", outcome="closed", age=10 * MINUTE):
        with engine.begin() as connection:
            values = {"item": orders.payment.id, "outcome": outcome, "reason": reason, "age": age}
            connection.exec_driver_sql(_CLOSING, values)

    return run


@pytest.fixture
def is_closed(engine):
    """Return a function that says if an order's payment is closed, and checks that all readers agree."""

    def run(orders):
        now = datetime.now(UTC)
        with engine.connect() as connection:
            answer = closed_among(connection, [orders.payment.id]) == {orders.payment.id}
            counted = created(connection, now - 3 * HOUR, now, RULES)
            assert silent(connection, now - 3 * HOUR, now, RULES, most=9) == (counted.silent, 0, counted.closed)
        if orders.payment_status == "PENDING":
            found = find_open(engine, orders.payment.id, max_retries=5, now=now)
            assert found.has_overdue_payment is not answer
            assert (counted.silent, counted.closed) == ((0, 1) if answer else (1, 0))
        return answer

    return run


@pytest.fixture
def order(engine):
    """Return a function that inserts a payment that was created an hour ago."""

    def run(status="PENDING"):
        orders = Orders(engine).pay(status)
        orders.payment_status = status
        return orders

    return run


@pytest.mark.parametrize(
    ("closing", "expected"),
    [
        ({}, True),
        ({"reason": "in_progress"}, True),
        ({"reason": "wrong_amount"}, False),
        ({"reason": None}, False),
        ({"outcome": "skipped"}, False),
    ],
)
def test_only_the_closing_of_an_overdue_payment_closes_it(order, close, is_closed, closing, expected):
    """A closing record of another finding about the order does not close its overdue payment."""
    orders = order()
    close(orders, **closing)
    assert is_closed(orders) is expected


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "CANCELLED"])
def test_a_settled_payment_is_not_closed(order, close, is_closed, status):
    """The closing of an overdue payment has no effect after the payment was settled."""
    orders = order(status)
    close(orders)
    assert is_closed(orders) is False


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        ({"age": MINUTE}, False),
        ({"age": HOUR / 2}, True),
        ({"age": MINUTE, "provider": "vnpay", "reason": "test"}, True),
        ({"age": MINUTE, "reason": "agreement"}, True),
    ],
)
def test_a_later_callback_about_a_payment_in_progress_opens_it_again(order, close, is_closed, callback, expected):
    """If the gateway reports later that the payment is in progress, the gateway knows it, so it is open again."""
    orders = order()
    close(orders)
    orders.callback("IGNORED", "ignored", **{"reason": "pending", "amount": None, **callback})
    assert is_closed(orders) is expected
    close(orders, reason="in_progress", age=0 * HOUR)
    assert is_closed(orders) is True


def test_payments_too_old_for_a_query_are_counted_by_their_closing(engine, order, close):
    """The closed ones are counted apart. The newest open one is named."""
    first, second, third = (order() for _ in range(3))
    with engine.begin() as connection:
        for each, age in ((first, 3), (second, 2), (third, 1)):
            sql = 'UPDATE payments SET "createdAt" = "createdAt" - %(age)s WHERE id = %(id)s'
            connection.exec_driver_sql(sql, {"age": timedelta(days=age), "id": each.payment.id})
    close(third)
    now = datetime.now(UTC)
    with engine.connect() as connection:
        found = count_forgotten(connection, Overdue(now, {"momo": now}))
    assert found == Forgotten(2, 1, second.payment.order_code)


@pytest.mark.parametrize("missing", ["payctl.run_items", "payctl.webhook_receipts"])
def test_without_a_privilege_no_overdue_payment_counts_as_closed(engine, order, close, missing):
    """If the role is not allowed to read the closing records or the callbacks, every overdue payment counts as open."""
    orders = order()
    close(orders)
    now = datetime.now(UTC)
    readable = ", ".join({"payments", "payctl.run_items", "payctl.webhook_receipts"} - {missing})
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE ROLE reader; GRANT USAGE ON SCHEMA payctl, public TO reader")
        connection.exec_driver_sql(f"GRANT SELECT ON {readable} TO reader; SET LOCAL ROLE reader")
        assert closed_among(connection, [orders.payment.id]) == set()
        found = count_forgotten(connection, Overdue(now, {"momo": now}))
    assert found == Forgotten(1, 0, orders.payment.order_code)


def test_a_window_without_a_closing_has_no_closed_payment(engine, order):
    """The overdue payments of a window are open until a person closes them."""
    order()
    now = datetime.now(UTC)
    with engine.connect() as connection:
        assert created(connection, now - 3 * HOUR, now, RULES) == CreatedPayments({"PENDING": 1}, 1, 1)
