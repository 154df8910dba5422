"""Test the findings about a payment's money. The tests need no database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.jobs.order.rows import (
    MINUTE,
    PAID,
    RECEIPT,
    SECOND,
    START,
    TICK,
    UNPAID,
    UNREADABLE,
)
from ticketbottle_payctl.jobs.order.judge_money import (
    amounts_of,
    can_be_asked,
    judge_completed,
    judge_given_up,
    judge_stray,
    judge_unsettled,
    reports_money,
)
from ticketbottle_payctl.jobs.order.model import Remedy, SettledBy
from ticketbottle_payctl.store.payctl.receipts import STATUS_QUERY


@pytest.mark.parametrize(
    ("age", "expected"),
    [(20 * MINUTE, ("not_paid", "open", False)), (20 * MINUTE + TICK, ("no_callback", "bad", True))],
)
def test_a_payment_without_a_callback_is_overdue_after_twenty_minutes(age, expected):
    """For 20 minutes, a PENDING payment without a callback counts as not paid yet.

    After that, payctl reports that no callback arrived.
    """
    (verdict,) = judge_unsettled(UNPAID, (), START + age)
    assert (verdict.kind, verdict.mark, verdict.ticket_is_due) == expected
    assert (verdict.tries, verdict.replays, verdict.transfers, verdict.remedy) == (0, 0, 1, None)


@pytest.mark.parametrize(
    ("provider", "age", "expected"),
    [
        ("ZaloPay", timedelta(hours=48) - TICK, True),
        ("ZALO_PAY", timedelta(hours=48) - TICK, True),
        ("ZALOPAY", timedelta(hours=48), False),
        ("MOMO", timedelta(days=90), True),
        ("STRIPE", 21 * MINUTE, False),
    ],
)
def test_a_gateway_can_be_asked_while_it_answers_queries(provider, age, expected):
    """A status query is suggested only if the gateway supports it and the payment is not too old."""
    payment = replace(UNPAID, provider=provider)
    assert can_be_asked(payment, START + age) is expected
    (verdict,) = judge_unsettled(payment, (), START + age)
    assert verdict.remedy == (None if expected else Remedy.LOOK_IN_PORTAL)


@pytest.mark.parametrize("provider", ["MOMO", "STRIPE"])
def test_nobody_has_to_act_while_the_customer_may_still_be_paying(provider):
    """Until a payment is overdue, nobody has to look in the gateway's portal, even if payctl cannot ask the gateway."""
    (verdict,) = judge_unsettled(replace(UNPAID, provider=provider), (), START + 20 * MINUTE)
    assert (verdict.kind, verdict.remedy) == ("not_paid", None)


@pytest.mark.parametrize("ended", ["failed_at", "cancelled_at"])
@pytest.mark.parametrize(("before", "expected"), [(TICK, ["late_money"]), (timedelta(0), []), (-TICK, [])])
def test_money_is_late_if_the_payment_had_ended_before(ended, before, expected):
    """A COMPLETED payment has late money only if the payment had failed or been cancelled before the money arrived."""
    payment = replace(PAID, **{ended: START - before})
    assert [each.kind for each in judge_completed(payment, ())] == expected


@pytest.mark.parametrize(("after", "expected"), [(timedelta(0), []), (TICK, ["unreadable"])])
@pytest.mark.parametrize("reason", ["unreadable", "ambiguous"])
def test_an_unclear_callback_is_open_if_it_came_after_the_success(after, expected, reason):
    """An unclear callback of the payment's gateway is a finding only if it arrived after the success."""
    receipts = (RECEIPT, replace(UNREADABLE, reason=reason, received_at=START + after, transfer="x"))
    assert [each.kind for each in judge_completed(PAID, receipts)] == [reason] * len(expected)


def test_each_number_of_a_transfer_counts_once():
    """A payment counts as paid twice if its callbacks contain two transfer ids. Repeated callbacks do not matter."""
    again = replace(RECEIPT, id="d", result="already_settled")
    other = replace(again, id="o", payment_number="8", gateway_transaction_id="8", transfer="8")
    assert list(judge_completed(PAID, (RECEIPT, again))) == []
    (second,) = judge_completed(PAID, (RECEIPT, again, other, again))
    assert (second.kind, second.transfers, second.remedy) == ("second_payment", 2, Remedy.REFUND_SECOND)
    (third,) = judge_completed(PAID, (RECEIPT, other, replace(other, payment_number="9", transfer="9")))
    assert third.transfers == 3


def test_a_callback_that_says_nothing_does_not_hide_a_later_one():
    """A callback that says nothing about a PENDING payment's money is skipped. Later callbacks are still checked."""
    says_nothing = replace(RECEIPT, outcome="IGNORED", result="ignored", reason="ping", transfer="x")
    refused = replace(RECEIPT, result="refused", reason="wrong_amount", amount=5, received_at=START + SECOND)
    (verdict,) = judge_unsettled(UNPAID, (says_nothing, refused), START + SECOND)
    assert (verdict.kind, verdict.paid) == ("wrong_amount", 5)


@pytest.mark.parametrize(
    ("reason", "outcome", "expected"),
    [
        ("unknown_order", "COMPLETED", "other_provider"),
        ("unknown_order", "FAILED", "other_provider"),
        ("unreadable", "UNCLEAR", "unreadable"),
        ("wrong_amount", "COMPLETED", "wrong_amount"),
    ],
)
def test_money_at_another_gateway_cannot_settle_the_payment(reason, outcome, expected):
    """A callback from another gateway cannot settle the payment.

    A callback that arrived before the payment existed cannot settle it either.
    """
    other = replace(RECEIPT, provider="vnpay", result="refused", reason=reason, outcome=outcome, amount=5)
    assert [each.kind for each in judge_unsettled(UNPAID, (other,), START + SECOND)] == [expected]
    own = replace(other, provider="momo")
    kinds = [each.kind for each in judge_unsettled(UNPAID, (own,), START + SECOND)]
    assert kinds == ["not_applied" if reason == "unknown_order" else expected]


def test_money_for_an_ended_payment_is_listed_by_transfer():
    """For a FAILED payment, each transfer of money is a separate finding, latest first.

    A repeated callback does not add a finding.
    """
    payment = replace(UNPAID, status="FAILED", failed_at=START)
    refused = replace(RECEIPT, result="refused", reason="wrong_amount", amount=5, event_id=None)
    other = replace(refused, id="o", received_at=START + SECOND, payment_number="8", transfer="8", amount=6)
    again = replace(refused, id="a", received_at=START + MINUTE)
    found = list(judge_given_up(payment, (refused, other, again)))
    assert [(each.receipt.id, each.paid) for each in found] == [("o", 6), ("a", 5)]
    refund = replace(RECEIPT, outcome="COMPLETED", result="ignored", reason="refund")
    assert list(judge_given_up(payment, (refund,))) == []


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"outcome": "COMPLETED"}, ("unknown_order", "bad", Remedy.REFUND)),
        ({"outcome": "FAILED"}, ("unknown_order", "open", Remedy.LOOK_IN_PORTAL)),
        ({"outcome": "UNCLEAR", "reason": "ambiguous"}, ("ambiguous", "bad", Remedy.REFUND)),
        ({"outcome": "IGNORED", "result": "test_ping", "reason": "ping"}, ("test_ping", "good", None)),
    ],
)
def test_a_callback_without_a_payment_asks_for_a_refund_if_it_reports_money(facts, expected):
    """If a callback has no payment in the database, and the customer might have paid, payctl asks for a refund."""
    (verdict,) = judge_stray((replace(RECEIPT, **{"result": "refused", "reason": "unknown_order", **facts}),))
    assert (verdict.kind, verdict.mark, verdict.remedy) == expected
    assert list(judge_stray(())) == []


@pytest.mark.parametrize(
    ("outcome", "reason", "expected"),
    [
        ("COMPLETED", None, True), ("UNCLEAR", "unreadable", True), ("IGNORED", "held", True),
        ("IGNORED", "undocumented_code", True), ("IGNORED", "refund", False), ("FAILED", "wrong_amount", False),
    ],
)  # fmt: skip
def test_a_callback_reports_money_if_the_customer_may_have_paid(outcome, reason, expected):
    """`reports_money` is true for a success, an unclear callback, held money and an undocumented code."""
    assert reports_money(replace(RECEIPT, outcome=outcome, reason=reason)) is expected


def test_the_amount_paid_is_that_of_an_accepted_success():
    """`amounts_of` returns the latest accepted amount, and the amounts of refused transfers separately."""
    first = replace(RECEIPT, amount=1, method=STATUS_QUERY)
    copy = replace(RECEIPT, id="d", result="already_settled", amount=2)
    refused = replace(RECEIPT, id="x", outcome="FAILED", result="refused", amount=3)
    other = {"id": "u", "result": "refused", "payment_number": "other", "transfer": "other"}
    unknown, second = replace(RECEIPT, amount=None, **other), replace(RECEIPT, amount=4, **other)
    assert amounts_of((first, copy, refused, unknown)) == (2, (), SettledBy.RECONCILE)
    assert amounts_of((RECEIPT, second, second)) == (RECEIPT.amount, (4,), SettledBy.CALLBACK)
    assert amounts_of((RECEIPT, replace(copy, result="refused"))) == (RECEIPT.amount, (), SettledBy.CALLBACK)
    assert amounts_of((second,)) == (None, (4,), None)
    assert amounts_of((refused,)) == (None, (), None)


def test_a_refused_transfer_counts_once_for_each_amount():
    """`amounts_of` counts a refused transfer once for each amount, even if callbacks give different reasons."""
    wrong = replace(RECEIPT, id="w", result="refused", reason="wrong_amount", amount=5, transfer="wrong_amount 5")
    late = replace(wrong, id="l", reason="contradicts_failed", transfer="contradicts_failed 5")
    another = replace(wrong, id="o", amount=6, transfer="wrong_amount 6")
    assert amounts_of((wrong, late)).refused == (5,)
    assert amounts_of((wrong, another)).refused == (5, 6)
