"""Test that `show`, `report`, `doctor` and `stats` agree on an order's money, even if callbacks are repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)
SOON = timedelta(minutes=1)
NOW = timedelta(0)
YOUNG = timedelta(minutes=10)
"""The age of a PENDING payment that is not overdue, so only its callbacks can make it open."""

AGES = {"in the window": "0", "before the window": "8 days"}

_OLDER = """
    UPDATE payctl.webhook_receipts SET received_at = received_at - interval '{0}';
    UPDATE payments SET "createdAt" = "createdAt" - interval '{0}', "completedAt" = "completedAt" - interval '{0}',
        "failedAt" = "failedAt" - interval '{0}', "cancelledAt" = "cancelledAt" - interval '{0}';
    UPDATE outbox SET "createdAt" = "createdAt" - interval '{0}', "publishedAt" = "publishedAt" - interval '{0}'
"""


def done(order, body=None, **more):
    """Insert a COMPLETED payment with its callback and its published event."""
    return order.pay("COMPLETED", **more).event(state="published").callback(age=HOUR, body=body or b"settled")


def cancelled(order):
    """Insert a CANCELLED payment with its published event."""
    return order.pay("CANCELLED").event("CANCELLED", "published")


def wrong(order, number="1", amount=321_000, *, age=HOUR / 2, **more):
    """Insert a receipt of a successful payment that was refused for a wrong amount."""
    return order.callback("COMPLETED", "refused", "wrong_amount", amount=amount, number=number, age=age, **more)


def stray(order, number="1", amount=5, *, age=HOUR / 2, **more):
    """Insert a receipt of a successful payment for an order that is not in the database."""
    return order.callback("COMPLETED", "refused", "unknown_order", amount=amount, number=number, age=age, **more)


def nameless(order, number="1", *, age=HOUR / 2, **more):
    """Insert a receipt of a successful payment without an order code."""
    return stray(order, number, age=age, order_ref="", reference="", **more)


def unreadable(order, *, age=HOUR / 2, **more):
    """Insert a receipt of a callback that payctl could not read."""
    return order.unclear("unreadable", age=age, **more)


def second(order, number="4712", *, age=HOUR / 2):
    """Insert a receipt of a further transfer for a payment that is already COMPLETED."""
    return order.callback(result="already_settled", number=number, age=age)


def failure(order, reason="contradicts_completed", *, age=HOUR / 2, **more):
    """Insert a receipt of a failed payment that payctl refused."""
    return order.callback("FAILED", "refused", reason, age=age, **more)


def ignored(order, reason, *, age=HOUR / 2, **more):
    """Insert a receipt of a callback that changes nothing."""
    return order.callback("IGNORED", "ignored", reason, age=age, **more)


def elsewhere(order):
    """Return the fields of a callback from the gateway that the customer chose first.

    payctl finds no payment for this callback, because the payment now has the reference of the later gateway. As with
    VNPay and MoMo, the callback's reference is the order code.
    """
    return {"provider": "vnpay", "payment": None, "reference": order.payment.order_code}


def early(order, number="1", amount=5, *, age=HOUR / 2):
    """Insert a receipt of a transfer through the first PayOS link.

    The receipt has PayOS's number for the order instead of the order code.
    """
    return stray(order, number, amount, payment=None, order_ref="20261123", reference="link-old", age=age)


def linked(order, number="2", amount=6, *, age=HOUR / 3):
    """Insert a receipt of a transfer through the same link. payctl was able to assign this transfer to the payment."""
    return wrong(order, number, amount, reference="link-old", age=age)


# name: how to insert the order, what happens after the closing, and whether the order is then open
CASES = {
    "the same callback again": (lambda o: wrong(o.pay()), lambda o: wrong(o, age=NOW), False),
    "the same transfer in another callback": (
        lambda o: wrong(o.pay()), lambda o: wrong(o, age=NOW, body=b"later"), False),
    "another transfer": (lambda o: wrong(o.pay()), lambda o: wrong(o, "2", age=NOW), True),
    "another transfer, and then the same callback again": (
        lambda o: wrong(o.pay()), lambda o: wrong(wrong(o, "2", age=SOON), age=NOW), True),
    "another transfer of a cancelled order, and then the same callback again": (
        lambda o: wrong(cancelled(o)), lambda o: wrong(wrong(o, "2", age=SOON), age=NOW), True),
    "another transfer of a settled order, and then the same callback again": (
        lambda o: wrong(done(o)), lambda o: wrong(wrong(o, "2", age=SOON), age=NOW), True),
    "the same callback again, without a number": (
        lambda o: wrong(o.pay(), None), lambda o: wrong(o, None, age=NOW), False),
    "another callback without a number, and then the same callback again": (
        lambda o: wrong(o.pay(), None),
        lambda o: wrong(wrong(o, None, age=SOON, body=b"other"), None, age=NOW), True),
    "the same amount in a failure": (
        lambda o: wrong(o.pay()), lambda o: failure(o, "wrong_amount", amount=321_000, number="1", age=NOW), True),
    "an unreadable callback again": (lambda o: unreadable(o.pay()), lambda o: unreadable(o, age=NOW), False),
    "another unreadable callback": (
        lambda o: unreadable(o.pay()), lambda o: unreadable(o, age=NOW, body=b"other"), True),
    "another unreadable callback, and then the same again": (
        lambda o: unreadable(o.pay()), lambda o: unreadable(unreadable(o, age=SOON, body=b"other"), age=NOW), True),
    "another unreadable callback of a settled order, and then the same again": (
        lambda o: unreadable(done(o)), lambda o: unreadable(unreadable(o, age=SOON, body=b"other"), age=NOW), True),
    "a nameless unreadable callback again": (
        lambda o: unreadable(o, order_ref=""), lambda o: unreadable(o, order_ref="", age=NOW), False),
    "another nameless unreadable callback": (
        lambda o: unreadable(o, order_ref=""), lambda o: unreadable(o, order_ref="", age=NOW, body=b"other"), True),
    "another nameless unreadable callback, and then the same again": (
        lambda o: unreadable(o, order_ref=""),
        lambda o: unreadable(unreadable(o, order_ref="", age=SOON, body=b"other"), order_ref="", age=NOW), True),
    "a nameless transfer in another callback": (nameless, lambda o: nameless(o, age=NOW, body=b"later"), False),
    "another nameless transfer": (nameless, lambda o: nameless(o, "2", age=NOW), True),
    "a nameless transfer of another amount": (nameless, lambda o: nameless(o, amount=6, age=NOW), True),
    "a transfer without a payment again": (stray, lambda o: stray(o, age=NOW, body=b"later"), False),
    "another transfer without a payment, and then the same again": (
        stray, lambda o: stray(stray(o, "2", age=SOON), age=NOW), True),
    "a failure without a payment again": (
        lambda o: failure(o, "unknown_order"), lambda o: failure(o, "unknown_order", age=NOW), False),
    "a refund without a payment again": (
        lambda o: ignored(o, "refund"), lambda o: ignored(o, "refund", age=NOW), False),
    "held money without a payment again": (lambda o: ignored(o, "held"), lambda o: ignored(o, "held", age=NOW), False),
    "the second payment again": (lambda o: second(done(o)), lambda o: second(o, age=NOW), False),
    "the first payment again after the second one": (
        lambda o: second(done(o)), lambda o: second(o, "4711", age=NOW), False),
    "a third payment": (lambda o: second(done(o)), lambda o: second(o, "4713", age=NOW), True),
    "a third payment, and then the second again": (
        lambda o: second(done(o)), lambda o: second(second(o, "4713", age=SOON), age=NOW), True),
    "late money again": (
        lambda o: done(o, ended={"CANCELLED": 2 * HOUR}), lambda o: second(o, "4711", age=NOW), False),
    "a second payment after late money": (
        lambda o: done(o, ended={"CANCELLED": 2 * HOUR}), lambda o: second(o, age=NOW), True),
    "held money again": (
        lambda o: ignored(o.pay(), "held", payment=None), lambda o: ignored(o, "held", payment=None, age=NOW), False),
    "other held money, and then the same again": (
        lambda o: ignored(o.pay(), "held"),
        lambda o: ignored(ignored(o, "held", number="2", age=SOON), "held", age=NOW), True),
    "a contradiction again": (lambda o: failure(done(o)), lambda o: failure(o, age=NOW), False),
    "another contradiction, and then the same again": (
        lambda o: failure(done(o)), lambda o: failure(failure(o, age=SOON, body=b"other"), age=NOW), True),
    "another refund, and then the same again": (
        lambda o: ignored(done(o), "refund"),
        lambda o: ignored(ignored(o, "refund", age=SOON, body=b"other"), "refund", age=NOW), True),
    "a failure with a wrong amount again": (
        lambda o: failure(o.pay(), "wrong_amount", amount=1),
        lambda o: failure(o, "wrong_amount", amount=1, age=NOW), False),
    "an undocumented code again": (
        lambda o: ignored(o.pay(), "undocumented_code", payment=None),
        lambda o: ignored(o, "undocumented_code", payment=None, age=NOW), False),
    "another undocumented code, and then the same failure again": (
        lambda o: failure(o.pay(), "wrong_amount", amount=1),
        lambda o: failure(ignored(o, "undocumented_code", age=SOON), "wrong_amount", amount=1, age=NOW), True),
    "a callback that came before its payment again": (
        lambda o: stray(o.pay(), amount=320_000, payment=None, order_ref="20261123"),
        lambda o: stray(o, amount=320_000, payment=None, order_ref="20261123", age=NOW), False),
    "an undocumented code of a cancelled order again": (
        lambda o: ignored(cancelled(o), "undocumented_code"),
        lambda o: ignored(o, "undocumented_code", age=NOW), False),
    "an undocumented code of a failed order, and then another": (
        lambda o: ignored(o.pay("FAILED").event("FAILED", "published"), "undocumented_code"),
        lambda o: ignored(o, "undocumented_code", age=NOW, body=b"other"), True),
    "an undocumented code of another transfer before the order was settled": (
        lambda o: ignored(done(o), "undocumented_code", number="1", age=2 * HOUR),
        lambda o: ignored(o, "undocumented_code", number="1", age=NOW), False),
    "an undocumented code, and then a failure, without a payment": (
        lambda o: failure(ignored(o, "undocumented_code"), "unknown_order", age=HOUR / 3),
        lambda o: ignored(o, "undocumented_code", age=NOW), False),
    "money held by another gateway": (
        lambda o: ignored(cancelled(o), "held", **elsewhere(o)),
        lambda o: ignored(o, "held", age=NOW, **elsewhere(o)), False),
    "money held by another gateway before the order was settled": (
        lambda o: ignored(done(o), "held", age=2 * HOUR, number="1", **elsewhere(o)),
        lambda o: ignored(o, "held", age=NOW, number="1", **elsewhere(o)), False),
    "an ambiguous callback of another gateway before the order was settled": (
        lambda o: o.callback("UNCLEAR", "refused", "ambiguous", amount=None, number=None, age=2 * HOUR,
            **elsewhere(done(o))),
        lambda o: o.callback("UNCLEAR", "refused", "ambiguous", amount=None, number=None, age=NOW, **elsewhere(o)),
        False),
    "money through another gateway": (
        lambda o: stray(cancelled(o), **elsewhere(o)), lambda o: stray(o, age=NOW, **elsewhere(o)), False),
    "more money through another gateway of a cancelled order": (
        lambda o: stray(cancelled(o), **elsewhere(o)), lambda o: stray(o, "2", age=NOW, **elsewhere(o)), True),
    "money through another gateway before the order was settled": (
        lambda o: stray(done(o), age=2 * HOUR, **elsewhere(o)),
        lambda o: stray(o, age=NOW, **elsewhere(o)), False),
    "another transfer with the first link after the order was settled": (
        lambda o: linked(early(done(o))), lambda o: early(o, age=NOW), False),
    "another transfer with the first link": (lambda o: linked(early(o.pay())), lambda o: early(o, age=NOW), False),
    "a third transfer with the first link": (
        lambda o: linked(early(o.pay())), lambda o: early(o, "3", age=NOW), True),
}  # fmt: skip

# name: how to insert an order whose money needs no action
HARMLESS = {
    "settled": done,
    "settled, and the callback came again": lambda o: second(done(o), "4711"),
    "cancelled": cancelled,
    "cancelled, and a failure with a wrong amount": lambda o: failure(cancelled(o), "wrong_amount", amount=1),
    "cancelled, and a refund": lambda o: ignored(cancelled(o), "refund"),
    "settled, and the same transfer was refused before": lambda o: wrong(done(o), "4711", age=2 * HOUR),
    "settled, and held before": lambda o: ignored(done(o), "held", age=2 * HOUR),
    "settled, and an undocumented code of the same transfer before": lambda o: ignored(
        done(o), "undocumented_code", age=2 * HOUR),
    "settled, and unreadable before": lambda o: unreadable(done(o), age=2 * HOUR),
    "settled, and the callback was unreadable and nameless before": lambda o: unreadable(
        done(o, body=b"same"), order_ref="", body=b"same", age=2 * HOUR),
    "settled, and the first callback came before the payment": lambda o: stray(
        done(o), "4711", 320_000, payment=None, order_ref="20261123", age=2 * HOUR),
}  # fmt: skip


@pytest.fixture
def seen(ask, orders):
    """Yield a function that runs every command on the test's order, and returns which commands report it as open.

    After the test, `payctl stats` must count no pending and no dead event.
    """

    def look():
        names = [*([orders.name] if orders.payment else []), *orders.receipts]
        report = ask("report", "--since", "3h")
        figures = {each["name"]: each["value"] for each in report["items"]}
        return {
            "show": any(ask("show", each)["exit_code"] == 5 for each in names),
            "report": not report["result"]["quiet"],
            "orders": figures["refused_orders"] + figures["money_orders"] > 0,
            "doctor": {each["status"] for each in ask("doctor", "--only", "callbacks", "--only", "payments")["items"]}
            != {"ok"},
        }

    yield look
    stats = ask("stats")  # one check at the end is enough: an event that waited earlier still waits
    assert (stats["exit_code"], stats["result"]["pending"], stats["result"]["dead"]) == (0, 0, 0)


def overdue_in_doctor(ask):
    """Return what `payctl doctor` says about overdue payments."""
    (finding,) = ask("doctor", "--only", "payments")["items"]
    return finding["fact"]


def everywhere(value):
    """Return a dict that gives the same answer for every command."""
    return dict.fromkeys(("show", "report", "orders", "doctor"), value)


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("name", CASES)
def test_the_commands_agree_on_what_is_open_after_a_closing(name, age, orders, seen, ask, engine):
    """`show`, `report` and `doctor` report an order as open until it is closed.

    A repeated callback does not reopen the order, but another transfer does. The time window makes no difference.
    If the order is closed at the end, only `show` is run before the repeated callback, because a repeated callback
    closes nothing. `report` and `doctor` are slow.
    """
    write, go_on, is_open = CASES[name]
    write(orders)
    if AGES[age] == "0":
        assert seen() == everywhere(value=True)
    with engine.begin() as connection:
        connection.exec_driver_sql(_OLDER.format(AGES[age]))
    closed = ask("close", orders.name, "-y", "--reason", "refunded in the portal")
    assert closed["counts"]["closed"] > 0
    if is_open:
        assert seen() == everywhere(value=False)
    else:
        assert ask("show", orders.name)["exit_code"] == 0
    go_on(orders)
    assert seen() == everywhere(value=is_open)


@pytest.mark.parametrize("name", HARMLESS)
def test_the_commands_agree_that_nothing_is_open(name, orders, seen):
    """If an order's money needs no action, no command reports the order."""
    HARMLESS[name](orders)
    assert seen() == everywhere(value=False)


@pytest.mark.parametrize("reason", ["agreement", "pending", "ping"])
def test_a_callback_that_no_finding_covers_does_not_explain_an_overdue_payment(reason, orders, ask):
    """In the report, a PENDING payment stays overdue after a callback that says nothing about the payment's money."""
    ignored(orders.pay(age=2 * HOUR), reason, age=HOUR)
    assert ask("show", orders.name)["exit_code"] == 5
    assert not ask("report", "--since", "3h")["result"]["quiet"]
    assert overdue_in_doctor(ask) == "1 payment from the last 7 days is PENDING for over 20 min"


@pytest.mark.parametrize("outcome", ["COMPLETED", "FAILED"])
def test_another_gateway_does_not_say_whether_an_overdue_payment_is_paid(outcome, orders, ask):
    """A callback from another gateway does not hide that the payment's own gateway sent no callback.

    `payctl close` does not hide this fact either.
    """
    orders.pay(age=2 * HOUR)
    orders.callback(outcome, "refused", "unknown_order", amount=5, number="1", age=HOUR, **elsewhere(orders))
    for step in ("open", "closed"):
        shown = ask("show", orders.name)
        found = [each["kind"] for each in (shown["result"]["verdict"], *shown["result"]["also"])]
        assert (shown["exit_code"], "no_callback" in found) == (5, True), step
        report = ask("report", "--since", "3h")
        assert "may have been paid" in report["result"]["verdict"], step
        assert overdue_in_doctor(ask) == "1 payment from the last 7 days is PENDING for over 20 min", step
        ask("close", orders.name, "-y", "--reason", "refunded in the portal")


def test_show_and_close_cover_every_transfer_with_a_reference(orders, ask):
    """Given a callback's id, `payctl show` and `payctl close` cover every transfer with the callback's reference."""
    linked(early(orders.pay()))
    shown = ask("show", orders.receipts[0])["result"]
    assert sorted(each["paid"] for each in (shown["verdict"], *shown["also"])) == [5, 6]
    closed = ask("close", orders.receipts[0], "-y", "--reason", "refunded in the portal")
    assert closed["counts"] == {"closed": 2}
    assert {ask("show", each)["exit_code"] for each in [orders.name, "link-old", *orders.receipts]} == {0}


def test_the_doctor_counts_callbacks_without_an_order_one_by_one(orders, ask):
    """Two callbacks without an order code count as two orders in `payctl report`, and `payctl doctor` reports both."""
    unreadable(orders, order_ref="")
    ignored(orders, "refund", order_ref="", reference="")
    report = ask("report", "--since", "3h")
    figures = {each["name"]: each["value"] for each in report["items"]}
    assert (figures["refused_orders"], figures["money_orders"]) == (1, 1)
    assert len(ask("doctor", "--only", "callbacks")["items"]) == 2


@pytest.mark.parametrize("status", ["COMPLETED", "CANCELLED", "PENDING"])
def test_money_through_zalopay_is_found_by_the_order_code(status, orders, seen, ask):
    """`payctl close` with the order code closes a finding about ZaloPay money.

    ZaloPay's reference is a date in Vietnam time, followed by the order code.
    """
    orders.pay(status, age=YOUNG if status == "PENDING" else HOUR)
    if status != "PENDING":
        orders.event(status, "published")
    reference = f"{datetime.now(UTC) + 6 * HOUR:%y%m%d}_{orders.name}"
    stray(orders, provider="zalopay", payment=None, reference=reference)
    assert seen() == everywhere(value=True)
    assert ask("show", orders.name)["result"]["verdict"]["kind"] == "other_provider"
    assert ask("close", orders.name, "-y", "--reason", "refunded in the portal")["counts"] == {"closed": 1}
    assert seen() == everywhere(value=False)
