"""Test, without a database, that `settle` decides every combination of a payment's status and a callback."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ticketbottle_payctl.domain.callback import Callback, Outcome
from ticketbottle_payctl.domain.payment import Payment, PaymentStatus, status_of
from ticketbottle_payctl.domain.settlement import Duplicate, Refusal, RefusalReason, Transition, settle

NOW = datetime(2026, 11, 22, 3, 4, 5, 678_000, tzinfo=UTC)
PENDING, COMPLETED, FAILED, CANCELLED = PaymentStatus
PAYMENT = Payment("an-id", "TB-1", 250_000, "VND", "VNPAY", "TB-1", PENDING)
CALLBACK = Callback("vnpay", Outcome.COMPLETED, "TB-1", "TB-1", "7", 250_000)
CONTRADICTION = Refusal(RefusalReason.CONTRADICTS_COMPLETED)


def moved(before, after, *, late=False):
    """Return a transition whose time is NOW."""
    return Transition(before, after, NOW, late)


TABLE = [
    (PENDING, Outcome.COMPLETED, moved(PENDING, COMPLETED)),
    (PENDING, Outcome.FAILED, moved(PENDING, FAILED)),
    (PENDING, Outcome.CANCELLED, moved(PENDING, CANCELLED)),
    (COMPLETED, Outcome.COMPLETED, Duplicate(COMPLETED)),
    (COMPLETED, Outcome.FAILED, CONTRADICTION),
    (COMPLETED, Outcome.CANCELLED, CONTRADICTION),
    (FAILED, Outcome.COMPLETED, moved(FAILED, COMPLETED, late=True)),
    (FAILED, Outcome.FAILED, Duplicate(FAILED)),
    (FAILED, Outcome.CANCELLED, Duplicate(FAILED)),
    (CANCELLED, Outcome.COMPLETED, moved(CANCELLED, COMPLETED, late=True)),
    (CANCELLED, Outcome.FAILED, Duplicate(CANCELLED)),
    (CANCELLED, Outcome.CANCELLED, Duplicate(CANCELLED)),
]


@pytest.mark.parametrize(("status", "outcome", "verdict"), TABLE)
def test_settle_decides_every_state_with_every_outcome(status, outcome, verdict):
    """A success completes a payment in any state. No outcome changes a completed payment."""
    assert settle(replace(PAYMENT, status=status), replace(CALLBACK, outcome=outcome), NOW) == verdict


def test_the_table_of_states_and_outcomes_is_complete():
    """TABLE in this test file has a row for each combination of status and outcome."""
    outcomes = set(Outcome) - {Outcome.IGNORED}
    assert {(status, outcome) for status, outcome, _ in TABLE} == {(s, o) for s in PaymentStatus for o in outcomes}


@pytest.mark.parametrize("status", list(PaymentStatus))
@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.FAILED, Outcome.CANCELLED])
@pytest.mark.parametrize("amount", [None, 0, -250_000, 249_999, 250_001, 25_000_000, 10**30])
def test_a_wrong_amount_changes_nothing_in_any_state(status, outcome, amount):
    """Contract 6.4: `settle` checks the amount before the state, so it refuses a wrong amount in every state."""
    callback = replace(CALLBACK, outcome=outcome, amount=amount)
    assert settle(replace(PAYMENT, status=status), callback, NOW) == Refusal(RefusalReason.WRONG_AMOUNT)


def test_another_currency_is_refused_as_a_wrong_amount():
    """`settle` refuses 250,000 USD as a wrong amount for a payment of 250,000 VND."""
    assert settle(PAYMENT, replace(CALLBACK, currency="USD"), NOW) == Refusal(RefusalReason.WRONG_AMOUNT)


@pytest.mark.parametrize("provider", ["MOMO", "ZALOPAY", "", "VNPAY2", "VN"])
def test_a_payment_of_another_gateway_is_refused(provider):
    """A callback settles only payments of its own gateway. `settle` checks the gateway before the amount."""
    verdict = settle(replace(PAYMENT, provider=provider), replace(CALLBACK, amount=1), NOW)
    assert verdict == Refusal(RefusalReason.OTHER_PROVIDER)


@pytest.mark.parametrize("provider", ["VNPAY", "vnpay", "VnPay", "vn-pay", "VN_PAY", "VN PAY"])
def test_the_spelling_of_the_gateway_does_not_matter(provider):
    """A payment's gateway name is free text, so `settle` ignores case, spaces and dashes."""
    assert isinstance(settle(replace(PAYMENT, provider=provider), CALLBACK, NOW), Transition)


@pytest.mark.parametrize("status", ["REFUNDED", "", "completed"])
@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.FAILED])
def test_a_payment_with_an_unknown_status_is_not_changed(status, outcome):
    """`settle` refuses a payment with a status that payctl does not recognise, with the reason UNKNOWN_STATUS."""
    verdict = settle(replace(PAYMENT, status=status_of(status)), replace(CALLBACK, outcome=outcome), NOW)
    assert verdict == Refusal(RefusalReason.UNKNOWN_STATUS)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(milliseconds=1), timedelta(hours=7), timedelta(days=400)])
@pytest.mark.parametrize("field", ["failed_at", "cancelled_at"])
def test_a_transition_is_later_than_every_earlier_one(field, ahead):
    """A new transition is at least one millisecond later than a payment's previous one, even if the clock is behind."""
    payment = replace(PAYMENT, status=FAILED, **{field: NOW + ahead})
    assert settle(payment, CALLBACK, NOW).at == NOW + ahead + timedelta(milliseconds=1)


def test_a_transition_is_later_than_the_latest_of_several_instants():
    """If a payment has failedAt and cancelledAt, a new transition is later than both times."""
    payment = replace(PAYMENT, status=CANCELLED, failed_at=NOW + timedelta(hours=2), cancelled_at=NOW)
    assert settle(payment, CALLBACK, NOW).at == NOW + timedelta(hours=2, milliseconds=1)


def test_a_transition_has_the_current_time_if_earlier_ones_are_in_the_past():
    """If the previous transition is in the past, the new transition has the current time."""
    payment = replace(PAYMENT, status=FAILED, failed_at=NOW - timedelta(milliseconds=1))
    assert settle(payment, CALLBACK, NOW).at == NOW
