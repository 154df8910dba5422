"""Decide how a genuine callback changes a payment.

::

    PENDING ──success──▶ COMPLETED     PENDING ──failure──▶ FAILED     PENDING ──cancel──▶ CANCELLED
    FAILED | CANCELLED ──success──▶ COMPLETED      late money: it is recorded, and the operator is alerted
    COMPLETED ──anything──▶ COMPLETED              a second success is a duplicate, a later failure is refused

payctl checks the amount first and then the state, in the order that VNPay documents. A wrong amount changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ticketbottle_payctl.domain.callback import Callback, Outcome
from ticketbottle_payctl.domain.payment import Payment, PaymentStatus, gateway_of, is_of_gateway

_ONE_MILLISECOND = timedelta(milliseconds=1)


class RefusalReason(StrEnum):
    """The reasons why payctl refuses a genuine callback that reports a result."""

    UNKNOWN_ORDER = "unknown_order"
    OTHER_PROVIDER = "other_provider"
    WRONG_AMOUNT = "wrong_amount"
    CONTRADICTS_COMPLETED = "contradicts_completed"
    UNKNOWN_STATUS = "unknown_status"


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state to write. ``late`` is True if the money arrived after a failure or a cancellation."""

    before: PaymentStatus
    after: PaymentStatus
    at: datetime
    late: bool


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The decision that a callback does not change its payment, because it reports nothing new.

    Either the payment already has the reported status, or it is FAILED or CANCELLED and the callback does not report a
    success.
    """

    status: PaymentStatus


@dataclass(frozen=True, slots=True)
class Refusal:
    """The decision that a genuine callback must not change its payment. An operator should look at the payment."""

    reason: RefusalReason


Verdict = Transition | Duplicate | Refusal


def settle(payment: Payment, callback: Callback, now: datetime) -> Verdict:
    """Decide how a genuine callback changes its payment.

    The caller must read ``now`` while it holds the lock on the payment's row. The new transition is always later than
    this payment's earlier transitions, even if a clock was set back. Therefore the payment's events keep their order.
    """
    if not is_of_gateway(payment, callback.provider):
        return Refusal(RefusalReason.OTHER_PROVIDER)
    if callback.amount != payment.amount or callback.currency != payment.currency:
        return Refusal(RefusalReason.WRONG_AMOUNT)
    if not isinstance(payment.status, PaymentStatus):
        return Refusal(RefusalReason.UNKNOWN_STATUS)
    wanted = PaymentStatus(callback.outcome.value)
    if payment.status is PaymentStatus.COMPLETED and callback.outcome is not Outcome.COMPLETED:
        return Refusal(RefusalReason.CONTRADICTS_COMPLETED)
    if payment.status is not PaymentStatus.PENDING and (
        payment.status is wanted or wanted is not PaymentStatus.COMPLETED
    ):
        return Duplicate(payment.status)
    late = payment.status is not PaymentStatus.PENDING
    return Transition(payment.status, wanted, _after_earlier_transitions(payment, now), late)


def reason_now(reason: str | None, provider: str, gateway: str) -> str | None:
    """Return why a stored callback settled nothing, now that its payment exists.

    ``reason`` was recorded when the callback arrived. If it is UNKNOWN_ORDER, and the payment's ``provider`` is not the
    callback's ``gateway``, the reason is OTHER_PROVIDER now.
    """
    if reason == RefusalReason.UNKNOWN_ORDER and gateway_of(provider) != gateway:
        return RefusalReason.OTHER_PROVIDER
    return reason


def _after_earlier_transitions(payment: Payment, now: datetime) -> datetime:
    earlier = [at + _ONE_MILLISECOND for at in (payment.failed_at, payment.cancelled_at) if at is not None]
    return max([now, *earlier])
