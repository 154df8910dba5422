"""Test that `payctl show` reports a finding with advice for each open transfer of a payment."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ticketbottle_payctl.sandbox.payment_service import insert_payment

pytestmark = pytest.mark.postgres
HOURS = timedelta(hours=1)


def wrong(order, amount, number, *, age=1.0, **more):
    """Insert a receipt of a successful payment that was refused for a wrong amount."""
    return order.callback("COMPLETED", "refused", "wrong_amount", amount=amount, number=number, age=age * HOURS, **more)


def paid(order, number="4711", *, result="settled", age=1.0):
    """Insert a receipt of a successful payment with the right amount."""
    return order.callback("COMPLETED", result, number=number, age=age * HOURS)


def done(order, **options):
    """Insert a COMPLETED payment whose event is published."""
    return order.pay("COMPLETED", age=HOURS, **options).event(state="published", age=HOURS / 2)


LATE = {"ended": {"CANCELLED": 3 * HOURS}}

# name: how to insert the order, and the kind and the amount of each finding, in order
CASES = {
    "two wrong amounts": (
        lambda o: wrong(wrong(o.pay(), 321_000, "1", age=2), 5, "2"),
        [("wrong_amount", 5), ("wrong_amount", 321_000)]),
    "one wrong amount, reported twice": (
        lambda o: wrong(wrong(o.pay(), 321_000, "1", age=2), 321_000, "1"),
        [("wrong_amount", 321_000)]),
    "two transfers of the same wrong amount": (
        lambda o: wrong(wrong(o.pay(), 5, "1", age=2), 5, "2"),
        [("wrong_amount", 5), ("wrong_amount", 5)]),
    "a wrong amount, and money that the gateway holds": (
        lambda o: wrong(o.pay(), 5, "1", age=2).callback("IGNORED", "ignored", "held", number="2"),
        [("money_held", 320_000), ("wrong_amount", 5)]),
    "a wrong amount, and a failure with a wrong amount": (
        lambda o: wrong(o.pay(), 321_000, "1", age=2).callback("FAILED", "refused", "wrong_amount", amount=1),
        [("wrong_amount", 321_000), ("wrong_amount", None)]),
    "a wrong amount, and an unreadable callback twice": (
        lambda o: wrong(o.pay(), 5, "1", age=2).unclear("unreadable").unclear("unreadable"),
        [("unreadable", None), ("wrong_amount", 5)]),
    "a wrong amount, and a payment in progress": (
        lambda o: wrong(o.pay(), 5, "1").callback("IGNORED", "ignored", "pending"),
        [("wrong_amount", 5)]),
    "cancelled, and two wrong amounts": (
        lambda o: wrong(wrong(o.pay("CANCELLED").event("CANCELLED", "published"), 321_000, "1", age=2), 5, "2"),
        [("wrong_amount", 5), ("wrong_amount", 321_000), ("ended", None)]),
    "the same number at another gateway, which the customer chose first": (
        lambda o: paid(done(o), "1").callback(
            "COMPLETED", "refused", "unknown_order", number="1", provider="vnpay", payment=None,
            reference=o.payment.order_code),
        [("other_provider", 320_000), ("published", None)]),
    "the same number at two other gateways": (
        lambda o: o.pay(age=HOURS / 6).callback(
            "COMPLETED", "refused", "other_provider", amount=5, number="1", provider="vnpay", age=2 * HOURS).callback(
            "COMPLETED", "refused", "other_provider", amount=5, number="1", provider="zalopay"),
        [("other_provider", 5), ("other_provider", 5)]),
    "paid after a wrong amount": (
        lambda o: paid(wrong(done(o), 321_000, "1", age=2), "2"),
        [("wrong_amount", 321_000), ("published", None)]),
    "paid after two wrong amounts": (
        lambda o: paid(wrong(wrong(done(o), 321_000, "1", age=3), 5, "2", age=2), "3"),
        [("wrong_amount", 321_000), ("wrong_amount", 5), ("published", None)]),
    "paid after a wrong amount, and PayOS's other number is the same for both": (
        lambda o: wrong(done(o), 321_000, "link", age=2, payment_number="FT1").callback(
            number="link", payment_number="FT2"),
        [("wrong_amount", 321_000), ("published", None)]),
    "paid, and the same transfer was reported with a wrong amount before": (
        lambda o: paid(wrong(done(o), 321_000, "1", age=2), "1"),
        [("published", None)]),
    "paid after a wrong amount, both without a number": (
        lambda o: paid(wrong(done(o), 321_000, None, age=2), None),
        [("wrong_amount", 321_000), ("published", None)]),
    "paid after the gateway held other money": (
        lambda o: paid(done(o).callback("IGNORED", "ignored", "held", number="1", age=9 * HOURS), "2", age=8),
        [("money_held", 320_000), ("published", None)]),
    "paid after the gateway held the same money": (
        lambda o: paid(done(o).callback("IGNORED", "ignored", "held", number="1", age=9 * HOURS), "1", age=8),
        [("published", None)]),
    "paid twice": (
        lambda o: paid(paid(done(o)), "4712", result="already_settled"),
        [("second_payment", 320_000), ("published", None)]),
    "paid twice, and reported twice": (
        lambda o: paid(paid(paid(done(o)), "4712", result="already_settled"), "4712", result="already_settled"),
        [("second_payment", 320_000), ("published", None)]),
    "paid twice, and a wrong amount": (
        lambda o: wrong(paid(paid(done(o)), "4712", result="already_settled"), 5, "4713"),
        [("second_payment", 320_000), ("wrong_amount", 5), ("published", None)]),
    "paid too late": (
        lambda o: paid(done(o, **LATE)),
        [("late_money", None), ("published", None)]),
    "paid too late, then a wrong amount": (
        lambda o: wrong(paid(done(o, **LATE), age=2), 5, "4712"),
        [("late_money", None), ("wrong_amount", 5), ("published", None)]),
    "paid too late, then paid again": (
        lambda o: paid(paid(done(o, **LATE), age=2), "4712", result="already_settled"),
        [("second_payment", 320_000), ("late_money", None), ("published", None)]),
    "no payment, and two transfers": (
        lambda o: o.callback("COMPLETED", "refused", "unknown_order", amount=5, number="1", age=2 * HOURS)
        .callback("COMPLETED", "refused", "unknown_order", amount=6, number="2"),
        [("unknown_order", 6), ("unknown_order", 5)]),
    "no payment, a transfer, and a failure": (
        lambda o: o.callback("COMPLETED", "refused", "unknown_order", amount=5, number="1", age=2 * HOURS)
        .callback("FAILED", "refused", "unknown_order", amount=5, number="1"),
        [("unknown_order", 5), ("unknown_order", None)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_transfer_that_is_open_has_a_finding_with_advice(name, orders, ask):
    """`payctl show` reports one finding for each open transfer, even after later callbacks.

    A repeated callback does not add a finding.
    """
    write, expected = CASES[name]
    write(orders)
    result = ask("show", orders.name)["result"]
    findings = [result["verdict"], *result["also"]]
    assert [(each["kind"], each["paid"]) for each in findings] == expected
    assert all(each["todo"] or result["next"] for each in findings if each["mark"] != "good")


def test_three_transfers_are_counted(orders, ask):
    """If an order was paid three times, `payctl show` says so and asks the operator to refund all but one transfer."""
    paid(paid(paid(done(orders)), "4712", result="already_settled"), "4713", result="already_settled")
    verdict = ask("show", orders.name)["result"]["verdict"]
    assert verdict["text"].startswith("PAID 3 TIMES: 3 transfers for one order")
    assert verdict["todo"] == "keep one transfer, and refund the rest in the gateway's portal"


@pytest.mark.parametrize("reference", ["the order code", "the reference of an own receipt"])
def test_a_receipt_of_another_payment_never_counts_for_this_one(reference, orders, ask, engine):
    """`payctl show` does not count another gateway's payment with the same reference towards this order."""
    paid(done(orders), "1")
    name = orders.payment.order_code if reference == "the order code" else orders.payment.reference
    with engine.begin() as connection:
        other = insert_payment(connection, provider="VNPAY", status="COMPLETED", reference=name)
    orders.callback(number="2", provider="vnpay", payment=other.id, order_ref=other.order_code, reference=name)
    result = ask("show", orders.name)["result"]
    assert [each["kind"] for each in (result["verdict"], *result["also"])] == ["published"]
    assert [step["kind"] for step in ask("show", orders.name)["items"]].count("callback") == 1


def test_another_gateways_receipt_with_the_reference_of_a_receipt_is_not_shown(orders, ask):
    """`payctl show` leaves out another gateway's receipt that has the same reference but names another order."""
    orders.pay(age=HOURS / 6)
    wrong(orders, 5, "1", reference="link-old")
    wrong(orders, 6, "2", reference="link-old", provider="vnpay", payment=None, order_ref="another order")
    result = ask("show", orders.name)["result"]
    assert [each["paid"] for each in (result["verdict"], *result["also"])] == [5]
