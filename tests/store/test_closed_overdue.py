"""Test which overdue payments count as closed by a person."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.plans import plans_of, rows_read
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.jobs.order import close_findings, find_open
from ticketbottle_payctl.jobs.process_webhook import process_webhook
from ticketbottle_payctl.providers import by_name
from ticketbottle_payctl.providers.samples import sample
from ticketbottle_payctl.sandbox import signing
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun
from ticketbottle_payctl.store.payments.closed_overdue import closed_among
from ticketbottle_payctl.store.payments.created_in_window import CreatedPayments, OverdueRules, created, silent
from ticketbottle_payctl.store.payments.overdue import Forgotten, Overdue, count_forgotten

pytestmark = pytest.mark.postgres
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RULES = OverdueRules(20 * MINUTE, ["held", "wrong_amount", "unreadable"], {})
MOMO = sample("momo")
RUN, AGAIN = "0b7a7f1e-35a5-4b5c-9d2e-4a3f1c2b5d6e", "1b7a7f1e-35a5-4b5c-9d2e-4a3f1c2b5d6e"
_CLOSING = """
    WITH run AS (
        INSERT INTO payctl.runs (id, command, status, os_user, host, started_at)
        VALUES (gen_random_uuid(), 'close', 'done', 'me', 'here', clock_timestamp() - %(age)s) RETURNING id, started_at)
    INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, reason, after, at)
    SELECT id, 0, 0, %(item)s, %(outcome)s, %(reason)s,
        jsonb_build_object('until', started_at, 'asked_at', started_at), clock_timestamp() FROM run
"""
_MANY = """
    INSERT INTO payments SELECT made.* FROM (SELECT to_jsonb(p) AS row FROM payments AS p LIMIT 1) AS one,
        generate_series(1, %(many)s) AS n,
        jsonb_populate_record(NULL::payments, row || jsonb_build_object('id', 'p' || n, 'orderCode', 'TB-' || n,
            'providerTransactionId', 'r' || n, 'idempotencyKey', 'k' || n)) AS made;
    INSERT INTO payctl.webhook_receipts
    SELECT made.* FROM (SELECT to_jsonb(r) AS row FROM payctl.webhook_receipts AS r LIMIT 1) AS one,
        generate_series(1, %(many)s) AS n,
        jsonb_populate_record(NULL::payctl.webhook_receipts, row || jsonb_build_object('id', md5(n::text)::uuid,
            'payment_id', 'q' || n, 'reference', 'z' || n, 'order_ref', 'y' || n)) AS made;
    INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome)
    SELECT gen_random_uuid(), 0, 0, 'e' || n, 'requeued' FROM generate_series(1, %(many)s) AS n;
    ANALYZE payments, payctl.webhook_receipts, payctl.run_items
"""


@pytest.fixture
def close(engine):
    """Return a function that writes a closing record, which says that payctl queried the gateway ``age`` ago."""

    def run(orders, reason="no_callback", outcome="closed", age=10 * MINUTE):
        with engine.begin() as connection:
            values = {"item": orders.payment.id, "outcome": outcome, "reason": reason, "age": age}
            connection.exec_driver_sql(_CLOSING, values)

    return run


@pytest.fixture
def close_findings_of(engine):
    """Return a function that closes the open findings about an order, as `payctl close` does."""

    def run(orders, run_id=RUN):
        found = find_open(engine, orders.payment.order_code, max_retries=5, now=datetime.now(UTC))
        assert found.findings
        close_findings(engine, found, NewRun(run_id, "close", Actor("me", "here")))

    return run


@pytest.fixture
def is_closed(engine):
    """Return a function that says whether an order's payment is closed, and checks that all readers agree."""

    def run(orders):
        now = datetime.now(UTC)
        with engine.connect() as connection:
            answer = closed_among(connection, [orders.payment.id]) == {orders.payment.id}
            counted = created(connection, now - 3 * HOUR, now, RULES)
            assert silent(connection, now - 3 * HOUR, now, RULES, most=9) == (counted.silent, 0, counted.closed)
            old = count_forgotten(connection, Overdue(now, {"momo": now}))
        pending = orders.payment_status == "PENDING"
        assert old[:2] == ((0, 1) if answer else (int(pending), 0))
        if pending:
            found = find_open(engine, orders.payment.id, max_retries=5, now=now)
            assert (found.findings == ()) is answer
            told = counted.silent == 0 and not found.has_overdue_payment
            assert told or (counted.silent, counted.closed) == ((0, 1) if answer else (1, 0))
        return answer

    return run


@pytest.fixture
def order(engine):
    """Return a function that inserts a payment that was created an hour ago."""

    def run(status="PENDING", **more):
        orders = Orders(engine).pay(status, **more)
        orders.payment_status = status
        return orders

    return run


@pytest.fixture
def call_back(engine):
    """Return a function that processes a MoMo callback about an order, with the given changes."""

    def run(orders, *, text=None, **changes):
        fields = json.loads(MOMO.request.body)
        fields |= {"orderId": orders.payment.reference, "amount": 320_000, **changes}
        keys = {name: each[0].reveal() for name, each in MOMO.credentials.items()}
        request = signing.momo(fields, keys["access_key"], keys["secret_key"])
        if text:
            request = Request("POST", request.path, body=request.body.replace(*text))
        return process_webhook(engine, request, by_name("momo"), MOMO.credentials).reason

    return run


CALLBACKS = {
    "authorized": ({"resultCode": 9000}, "pending"),
    "in progress": ({"resultCode": 7002}, "pending"),
    "an undocumented code": ({"resultCode": 98765}, "undocumented_code"),
    "a wrong amount": ({"amount": 5}, "wrong_amount"),
}


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


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_later_callback_of_the_gateway_opens_the_payment_again(order, close, is_closed, call_back, name):
    """A closed payment is open again if its own gateway calls back after the closing."""
    changes, reason = CALLBACKS[name]
    orders = order()
    close(orders)
    assert is_closed(orders) is True
    assert call_back(orders, **changes) == reason
    assert is_closed(orders) is False


@pytest.mark.parametrize("name", CALLBACKS)
def test_an_order_whose_gateway_has_called_back_can_be_closed(order, is_closed, call_back, close_findings_of, name):
    """After a person has closed the callback, every reader counts the payment as closed."""
    changes, reason = CALLBACKS[name]
    orders = order()
    assert call_back(orders, **changes) == reason
    assert is_closed(orders) is False
    close_findings_of(orders)
    assert is_closed(orders) is True


def test_an_unreadable_callback_opens_only_the_order_that_it_names(order, is_closed, call_back, close_findings_of):
    """A later callback without a reference opens a closed order only if it has the order's code."""
    orders = order()
    call_back(orders, amount=5)
    close_findings_of(orders)
    for code, expected in (("another", True), (orders.payment.order_code, False)):
        orders.unclear("unreadable", order_ref=code, age=timedelta(0))
        assert is_closed(orders) is expected


def test_unreadable_callbacks_of_two_orders_are_not_taken_for_each_other(engine, order, close_findings_of):
    """Unreadable callbacks have no reference, but the callbacks of two orders differ in their bytes."""
    first, second = order(), order()
    for each in (first, second):
        each.unclear("unreadable", age=HOUR)
    ids = [each.payment.id for each in (first, second)]

    def closed():
        with engine.connect() as connection:
            return [each in closed_among(connection, ids) for each in ids]

    close_findings_of(first)
    assert closed() == [True, False]
    for each in (second, first):  # repeats of known callbacks
        each.unclear("unreadable", age=timedelta(0))
        assert closed() == [True, False]
    first.unclear("unreadable", age=timedelta(0), body=b"another callback")
    assert closed() == [False, False]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"amount": 5, "transId": 2}, False),
        ({"amount": 6}, False),
        ({"resultCode": 98765}, False),
        ({"amount": 5}, True),
        ({"resultCode": 9000}, True),
    ],
)
def test_a_later_finding_opens_an_order_whose_callback_was_closed(
    order, is_closed, call_back, close_findings_of, changes, expected
):
    """If the gateway reports another transfer or a new problem later, the payment is open again.

    A repeat of the closed callback does not open the payment, and neither does a callback about a payment in progress.
    """
    orders = order()
    call_back(orders, amount=5)
    close_findings_of(orders)
    call_back(orders, **changes)
    assert is_closed(orders) is expected
    if not expected:
        close_findings_of(orders, AGAIN)
        assert is_closed(orders) is True


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        ({}, False),
        ({"reason": "agreement"}, False),
        ({"outcome": "UNCLEAR", "result": "refused", "reason": "unreadable"}, False),
        ({"outcome": "IGNORED", "result": "ignored", "reason": "held"}, False),
        ({"payment": None}, False),
        ({"payment": None, "order_ref": "another"}, False),
        ({"payment": None, "reference": "another"}, True),
        ({"payment": None, "reference": "", "amount": None}, False),
        ({"reference": "another", "order_ref": "another"}, False),
        ({"payment": None, "reference": "another", "order_ref": "another"}, True),
        ({"payment": "another"}, True),
        ({"age": HOUR / 2}, True),
        ({"provider": "vnpay", "reason": "test"}, True),
    ],
)
def test_a_callback_opens_the_payment_that_it_names(order, close, is_closed, callback, expected):
    """A callback opens a closed payment if its gateway sent it after payctl's query, and it names the payment."""
    orders = order()
    close(orders)
    values = {"outcome": "IGNORED", "result": "ignored", "reason": "pending", "amount": None, "age": MINUTE}
    orders.callback(**{**values, **callback})
    assert is_closed(orders) is expected


def test_a_callback_opens_the_payment_of_an_earlier_callback_with_its_reference(order, close, is_closed):
    """A callback without a payment belongs to the payment of an earlier callback with the same reference."""
    orders = order()
    named = {"reference": "another", "order_ref": "another", "reason": "pending", "amount": None}
    orders.callback("IGNORED", "ignored", **named, age=HOUR / 2)
    close(orders, reason="in_progress")
    assert is_closed(orders) is True
    orders.callback("IGNORED", "ignored", **named, age=MINUTE, payment=None)
    assert is_closed(orders) is False


@pytest.mark.parametrize("days", [-1, 0, 1, 2])
def test_a_callback_with_the_date_before_the_order_code_opens_the_payment(engine, order, close, is_closed, days):
    """A callback opens a payment if its reference is the date in Vietnam and the order code, as for ZaloPay."""
    orders = order()
    close(orders)
    with engine.connect() as connection:
        made = connection.exec_driver_sql('SELECT "createdAt" FROM payments').scalar_one()
    name = f"{made + 7 * HOUR + timedelta(days=days):%y%m%d}_{orders.payment.order_code}"
    orders.callback("IGNORED", "ignored", "pending", age=MINUTE, payment=None, reference=name, order_ref=name)
    assert is_closed(orders) is False


def test_a_callback_that_arrives_while_the_operator_is_asked_is_not_covered(engine, order, is_closed, call_back):
    """The closing does not cover a callback that arrived after payctl had read the payment."""
    orders = order()
    found = find_open(engine, orders.payment.id, max_retries=5, now=datetime.now(UTC))
    call_back(orders, resultCode=9000)
    close_findings(engine, found, NewRun(RUN, "close", Actor("me", "here")))
    assert is_closed(orders) is False


def test_payments_too_old_for_a_query_are_counted_by_their_closing(engine, order, close):
    """Open and closed payments that are too old for a query are counted separately.

    The newest open payment is named.
    """
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


@pytest.mark.parametrize(("most", "more"), [(1, True), (2, True), (3, False)])
def test_the_count_of_payments_too_old_for_a_query_stops_at_a_limit(engine, order, close, most, more):
    """The count stops at a limit, and says whether there are more payments."""
    first, _, _ = (order() for _ in range(3))
    close(first)
    now = datetime.now(UTC)
    with engine.connect() as connection:
        found = count_forgotten(connection, Overdue(now, {"momo": now}), most)
    assert (found.open + found.closed, found.more) == (most, more)


def test_few_payments_are_read_if_many_are_too_old_for_a_query(engine, order):
    """The statement reads no more payments than it counts, however many are too old."""
    order()
    with engine.begin() as connection:
        connection.exec_driver_sql(_MANY, {"many": 2_000})
    now = datetime.now(UTC)
    with plans_of(engine, "judged") as plans, engine.connect() as connection:
        assert count_forgotten(connection, Overdue(now, {"momo": now}), 100)[:2] == (100, 0)
    assert rows_read(plans[0], "payments") < 110


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


def test_the_callbacks_of_open_payments_are_not_read(engine, order, close):
    """The search for closed payments starts from the closing records, however many payments and callbacks exist.

    The records of replayed events are not read either.
    """
    orders = order()
    orders.callback("IGNORED", "ignored", "pending", age=HOUR)
    close(orders)
    now, many = datetime.now(UTC), 2_000
    with engine.begin() as connection:
        connection.exec_driver_sql(_MANY, {"many": many})
    with plans_of(engine, "closed_overdue") as plans, engine.connect() as connection:
        assert count_forgotten(connection, Overdue(now, {"momo": now}))[:2] == (many, 1)
        assert silent(connection, now - 3 * HOUR, now, RULES, most=2)[::2] == (2, 1)
        assert closed_among(connection, [orders.payment.id]) == {orders.payment.id}
    forgotten, window, named = plans
    assert rows_read(forgotten, "webhook_receipts") < 10
    assert [rows_read(plan, "run_items") < 10 for plan in plans] == [True] * 3
    assert [rows_read(plan, "payments") < 10 for plan in (window, named)] == [True] * 2
