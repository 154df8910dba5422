"""Test the overdue payments of a window, the callbacks about them, and the payments that are too old for a query."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.store.conftest import NOON as CLOCK
from ticketbottle_payctl.store.payctl.received_in_window import received
from ticketbottle_payctl.store.payments.created_in_window import (
    CreatedPayments,
    OverdueRules,
    SilentPayments,
    created,
    silent,
)
from ticketbottle_payctl.store.payments.overdue import Overdue, count_forgotten, named, overdue

pytestmark = pytest.mark.postgres
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
MILLISECOND, MICROSECOND = timedelta(milliseconds=1), timedelta(microseconds=1)
NOON = datetime(2026, 1, 29, 12, tzinfo=UTC)
WINDOW = (NOON, NOON + HOUR)
RULES = OverdueRules(20 * MINUTE, ["held"], {})
_CLOSING = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before)
    VALUES (gen_random_uuid(), 0, 0, %s, %s, jsonb_build_object('receipt', %s::text))"""


@pytest.fixture
def pay(engine):
    """Return a function that inserts a payment that was created ``after`` noon."""

    def run(after, status="PENDING", **more):
        orders = Orders(engine).pay(status, **more)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                'UPDATE payments SET "createdAt" = %(at)s WHERE id = %(id)s',
                {"at": NOON + after, "id": orders.payment.id},
            )
        return orders

    return run


@pytest.fixture
def call(engine):
    """Return a function that inserts a receipt of a callback. ``after`` is the time from noon to the callback."""

    def run(orders, after, reason="held", **more):
        orders.callback("FAILED", more.pop("result", "pending"), reason, **more)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE payctl.webhook_receipts SET received_at = %(at)s WHERE id = %(id)s::uuid",
                {"at": NOON + after, "id": orders.receipts[-1]},
            )

    return run


@pytest.fixture
def in_window(engine):
    """Return a function that counts the payments that were created in the hour after noon."""

    def run(**changes):
        with engine.connect() as connection:
            return created(connection, *WINDOW, RULES._replace(**changes))

    return run


def test_a_window_has_the_payments_of_its_first_instant_and_not_of_its_last(engine, pay, in_window):
    """A window includes payments that were created at its start but not at its end."""
    for after in (-MILLISECOND, 0 * HOUR, HOUR - MILLISECOND, HOUR):
        pay(after)
        pay(after, "COMPLETED")
    assert in_window() == CreatedPayments({"PENDING": 2, "COMPLETED": 2}, 2, 2)
    with engine.connect() as connection:
        assert silent(connection, *WINDOW, RULES, most=9) == SilentPayments(2, 0)
        assert silent(connection, *WINDOW, RULES, most=1) == SilentPayments(1, 0)


def test_an_empty_window_has_no_payments(in_window):
    """In a window without payments, no status is counted and no payment is overdue."""
    assert in_window() == CreatedPayments({}, 0, 0)


def test_a_pending_payment_is_overdue_only_after_the_limit(pay, in_window):
    """A PENDING payment that is younger than the limit is not overdue."""
    pay(MINUTE)
    assert in_window(after=timedelta(days=36_500)) == CreatedPayments({"PENDING": 1}, 0, 0)


def test_a_pending_payment_is_overdue_if_it_is_older_than_the_limit(pay, at_noon):
    """A PENDING payment that is exactly as old as the limit is not yet overdue."""
    for age in (-MILLISECOND, 0 * HOUR, MILLISECOND):
        pay(MINUTE - age)
    rules = RULES._replace(after=CLOCK - NOON - MINUTE)
    assert created(at_noon, *WINDOW, rules) == CreatedPayments({"PENDING": 3}, 1, 1)
    assert silent(at_noon, *WINDOW, rules, most=9) == SilentPayments(1, 0)


@pytest.mark.parametrize(
    ("changes", "explains"),
    [({}, True), ({"provider": "vnpay"}, False), ({"outcome": "skipped"}, False), ({"subject": "another"}, False)],
)
def test_the_closing_of_a_callback_explains_its_payment(engine, pay, call, in_window, changes, explains):
    """A closing record explains a payment if it names the payment and a receipt from the payment's own gateway."""
    orders = pay(MINUTE)
    call(orders, MINUTE, reason="pending", provider=changes.get("provider", "momo"))
    subject, outcome = changes.get("subject", orders.payment.id), changes.get("outcome", "closed")
    with engine.begin() as connection:
        connection.exec_driver_sql(_CLOSING, (subject, outcome, orders.receipts[0]))
    assert in_window().silent == (0 if explains else 1)


@pytest.mark.parametrize(
    ("callback", "named_by"),
    [
        ({"payment": None, "order_ref": "another"}, "reference"),
        ({"payment": None, "reference": "another"}, "order code"),
        ({"payment": "another", "order_ref": "another"}, None),
        ({"payment": "another", "reference": "another"}, None),
        ({"payment": None, "reference": "", "order_ref": "another"}, None),
        ({"payment": None, "provider": "vnpay"}, None),
    ],
)
@pytest.mark.parametrize("reference", ["", "a reference"])
def test_a_closed_callback_explains_the_payment_that_it_names(
    engine, execute, pay, call, in_window, reference, callback, named_by
):
    """A closed callback without a payment explains the payment with its reference or order code.

    A callback of another payment explains nothing. An empty reference does not name a payment.
    """
    orders = pay(MINUTE, reference="a reference")
    execute(f"""UPDATE payments SET "providerTransactionId" = '{reference}'""")  # noqa: S608 - a constant
    call(orders, MINUTE, "pending", **callback)
    with engine.begin() as connection:
        connection.exec_driver_sql(_CLOSING, (orders.receipts[0], "closed", orders.receipts[0]))
    explains = named_by == "order code" or (named_by == "reference" and reference)
    assert in_window().silent == (0 if explains else 1)


def test_a_later_unreadable_callback_reopens_only_the_order_that_it_names(engine, pay, call, in_window):
    """A closed callback without a payment explains its order until an unreadable callback has the same order code."""
    orders = pay(MINUTE)
    call(orders, MINUTE, "wrong_amount", payment=None, reference="another")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before, after) VALUES
            (gen_random_uuid(), 0, 0, %s, 'closed', jsonb_build_object('receipt', %s::text),
                '{"until": "2026-01-29T12:02:00Z"}')""",
            (orders.payment.order_code, orders.receipts[0]),
        )
    assert in_window().silent == 0
    for code, silent_payments in (("another order", 0), (orders.payment.order_code, 1)):
        call(orders, 3 * MINUTE, "unreadable", payment=None, reference="", order_ref=code)
        assert in_window().silent == silent_payments


@pytest.mark.parametrize(
    ("after", "explains"), [(-MICROSECOND, False), (0 * HOUR, True), (HOUR - MICROSECOND, True), (HOUR, False)]
)
def test_a_callback_of_the_window_explains_a_pending_payment(pay, call, in_window, after, explains):
    """A callback explains a payment if it arrived in the window, which includes its start but not its end."""
    call(pay(MINUTE), after)
    assert in_window() == CreatedPayments({"PENDING": 1}, 1, 0 if explains else 1)


@pytest.mark.parametrize(
    ("callback", "explains"),
    [
        ({}, True),
        ({"reason": "pending"}, False),
        ({"provider": "vnpay"}, False),
        ({"reference": "another", "order_ref": "another"}, True),
        ({"payment": None, "order_ref": "another"}, True),
        ({"payment": None, "reference": "another"}, True),
        ({"payment": "another", "reference": "another"}, False),
        ({"payment": None, "reference": "", "order_ref": "another"}, False),
        ({"payment": "another", "reference": "", "order_ref": "another"}, False),
    ],
)
def test_a_callback_explains_the_payment_that_it_names(pay, call, in_window, callback, explains):
    """A callback explains a payment if the gateway is the same, and the payment id, reference or order code matches."""
    orders = pay(MINUTE)
    call(orders, MINUTE, **callback)
    assert in_window().silent == (0 if explains else 1)


@pytest.mark.parametrize(("after", "forgotten"), [(MINUTE - MILLISECOND, 1), (MINUTE, 1), (MINUTE + MILLISECOND, 0)])
def test_a_gateway_has_forgotten_the_payments_up_to_an_instant(engine, pay, in_window, after, forgotten):
    """A payment is too old for a status query if it was created at or before its own gateway's limit."""
    pay(after)
    pay(after, provider="VNPAY")
    known = {"momo": NOON + MINUTE, "zalopay": NOON + HOUR}
    assert in_window(known_since=known) == CreatedPayments({"PENDING": 2}, 2, 2, forgotten)
    wanted = Overdue(NOON + HOUR, known)
    with engine.connect() as connection:
        assert count_forgotten(connection, wanted)[:2] == (forgotten, 0)
        assert len(overdue(connection, wanted, 9)) == 2 - forgotten


def test_overdue_payments_are_sorted_and_limited(engine, pay):
    """Overdue payments were created before a given time and are PENDING. The latest payment comes first."""
    ids = [pay(after).payment.id for after in (0 * HOUR, MINUTE, HOUR - MILLISECOND)]
    pay(HOUR)
    pay(MINUTE, "FAILED")
    other = pay(2 * MINUTE, provider="VNPAY").payment.id
    with engine.connect() as connection:
        wanted = Overdue(NOON + HOUR, {})
        assert [each.id for each in overdue(connection, wanted, 9)] == [ids[2], other, ids[1], ids[0]]
        assert [each.id for each in overdue(connection, wanted, 2)] == [ids[2], other]
        assert [each.id for each in overdue(connection, Overdue(NOON + HOUR, {}, "momo"), 9)] == ids[::-1]


def test_payments_are_named_by_their_id_or_their_order_code(engine, pay):
    """Payments in any status are found by their id or order code. The oldest payment comes first."""
    late, early, _ = pay(HOUR), pay(MINUTE, "COMPLETED"), pay(2 * MINUTE)
    with engine.connect() as connection:
        found = named(connection, [late.payment.id, early.payment.order_code, "another"])
    assert [(each.id, each.status) for each in found] == [(early.payment.id, "COMPLETED"), (late.payment.id, "PENDING")]


def test_the_callbacks_of_a_window_are_counted_by_result_reason_and_part(engine, pay, call):
    """A window includes callbacks at its start but not at its end. Status queries do not count."""
    orders = pay(MINUTE)
    for after in (-MICROSECOND, 0 * HOUR, 20 * MINUTE, HOUR - MICROSECOND, HOUR):
        call(orders, after, "late", result="refused")
    call(orders, 30 * MINUTE, None, result="refused")
    call(orders, 30 * MINUTE, None, result="settled")
    call(orders, 5 * MINUTE, "late", result="refused", method="RECONCILE")
    with engine.connect() as connection:
        found = received(connection, *WINDOW, 1200)
    assert (found.by_result, found.refused) == (
        {"refused": 4, "settled": 1},
        {"late": {0: 1, 1: 1, 2: 1}, "unknown": {1: 1}},
    )
    assert (found.first_refused.id, found.first_refused.reason) == (orders.receipts[1], "late")
    assert (found.last_refused.id, found.last_refused.at) == (orders.receipts[3], NOON + HOUR - MICROSECOND)


def test_a_window_without_refused_callbacks_names_none(engine, pay, call):
    """If no callback in a window was refused, there is no first or last refused callback."""
    call(pay(MINUTE), MINUTE, None, result="settled")
    with engine.connect() as connection:
        assert received(connection, *WINDOW, 1200) == ({"settled": 1}, {}, None, None)
