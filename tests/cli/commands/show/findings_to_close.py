"""Insert orders with findings that an operator can close."""

from __future__ import annotations

from datetime import timedelta

HOUR = timedelta(hours=1)
NOW = timedelta(0)
DONE = "refunded in the portal"


def late(order):
    """Insert an order that was paid after it was cancelled."""
    return order.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).event(state="published").callback(age=HOUR)


def wrong(order, number="1", amount=321_000, *, age=HOUR):
    """Insert a receipt of a successful payment that was refused for a wrong amount."""
    return order.callback("COMPLETED", "refused", "wrong_amount", amount=amount, number=number, age=age)


# name: how to insert the order, and the kinds of findings that a person can close
CASES = {
    "paid too late": (late, ["late_money"]),
    "a wrong amount": (lambda o: wrong(o.pay()), ["wrong_amount"]),
    "two wrong amounts": (lambda o: wrong(wrong(o.pay(), age=2 * HOUR), "2", 5), ["wrong_amount"] * 2),
    "a wrong amount of a cancelled order": (
        lambda o: wrong(o.pay("CANCELLED").event("CANCELLED", "published")), ["wrong_amount"]),
    "paid twice": (
        lambda o: o.pay("COMPLETED").event(state="published").callback().callback(
            result="already_settled", number="4712"), ["second_payment"]),
    "unreadable": (lambda o: o.pay().unclear("unreadable"), ["unreadable"]),
    "unreadable and without an order": (lambda o: o.unclear("unreadable", order_ref=""), ["unreadable"]),
    "held": (lambda o: o.pay().callback("IGNORED", "ignored", "held"), ["money_held"]),
    "a failure after the success": (
        lambda o: o.pay("COMPLETED").event(state="published").callback(age=HOUR).callback(
            "FAILED", "refused", "contradicts_completed"), ["contradicted"]),
    "no payment": (
        lambda o: o.callback("COMPLETED", "refused", "unknown_order", amount=5), ["unknown_order"]),
    "tickets released after the success": (
        lambda o: o.pay("COMPLETED").event(state="published").event("FAILED", "published", age=HOUR / 60),
        ["released_after_success"]),
    "a failure before the success": (
        lambda o: o.pay("COMPLETED", age=2 * HOUR, ended={"COMPLETED": HOUR, "FAILED": HOUR / 2}).event(
            "FAILED", "published", age=HOUR).event(state="published", age=HOUR / 2), ["failed_before_success"]),
}  # fmt: skip
