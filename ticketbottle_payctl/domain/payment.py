"""Define the states of a payment, and decide how a genuine callback changes it.

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

_ONE_MILLISECOND = timedelta(milliseconds=1)


class PaymentStatus(StrEnum):
    """The values of ``payments.status``, as the payment service defines them."""

    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class RefusalReason(StrEnum):
    """The reasons why payctl refuses a genuine callback that reports a result."""

    UNKNOWN_ORDER = "unknown_order"
    OTHER_PROVIDER = "other_provider"
    WRONG_AMOUNT = "wrong_amount"
    CONTRADICTS_COMPLETED = "contradicts_completed"
    UNKNOWN_STATUS = "unknown_status"


@dataclass(frozen=True, slots=True)
class Payment:
    """The columns of a payment that are needed for a decision. ``amount`` is in whole VND, and all times are in UTC.

    ``status`` is a plain string if payctl does not know the payment's status.
    """

    id: str
    order_code: str
    amount: int
    currency: str
    provider: str
    reference: str
    status: PaymentStatus | str
    failed_at: datetime | None = None
    cancelled_at: datetime | None = None


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

    Either the payment already has the reported status, or the payment is FAILED or CANCELLED and the callback reports
    no success.
    """

    status: PaymentStatus


@dataclass(frozen=True, slots=True)
class Refusal:
    """The decision that a genuine callback must not change its payment. An operator should look at the payment."""

    reason: RefusalReason


Verdict = Transition | Duplicate | Refusal


def settle(payment: Payment, callback: Callback, now: datetime) -> Verdict:
    """Decide how a genuine callback changes its payment.

    The caller must read ``now`` while it holds the lock on the payment's row. The new transition is later than every
    earlier transition of this payment, even if a clock was set back. Therefore the payment's events keep their order.
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


def is_of_gateway(payment: Payment, gateway: str) -> bool:
    """Return whether the payment was made at this gateway. Ignore case and punctuation in the provider's name."""
    return _plain(payment.provider) == gateway


def status_of(name: str) -> PaymentStatus | str:
    """Return the status with this name, or the name itself if payctl does not know the status."""
    return next((status for status in PaymentStatus if status.value == name), name)


def _after_earlier_transitions(payment: Payment, now: datetime) -> datetime:
    earlier = [at + _ONE_MILLISECOND for at in (payment.failed_at, payment.cancelled_at) if at is not None]
    return max([now, *earlier])


def _plain(provider: str) -> str:
    """Return a gateway's name without case or punctuation, so that ``zalo-pay`` and ``ZaloPay`` are equal."""
    return "".join(letter for letter in provider.lower() if letter.isalnum())
