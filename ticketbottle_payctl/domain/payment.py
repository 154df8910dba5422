"""Define a payment and its status, as the payment service stores them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

OVERDUE_AFTER = timedelta(minutes=20)
"""The age at which a PENDING payment becomes overdue. A gateway's payment page is open for only 15 minutes."""


class PaymentStatus(StrEnum):
    """The values of ``payments.status``, as the payment service defines them."""

    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class OverdueKind(StrEnum):
    """The kinds of finding about an overdue payment, as fixed codes."""

    NO_CALLBACK = "no_callback"
    IN_PROGRESS = "in_progress"


@dataclass(frozen=True, slots=True)
class Payment:
    """The columns of a payment that are needed for a decision. ``amount`` is in whole VND, and all times are in UTC.

    ``status`` is a plain string if payctl does not recognise it.
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


def is_overdue(created_at: datetime, now: datetime) -> bool:
    """Return whether a PENDING payment is overdue. Before a payment is overdue, the customer may still be paying."""
    return now - created_at > OVERDUE_AFTER


def is_of_gateway(payment: Payment, gateway: str) -> bool:
    """Return whether the payment belongs to this gateway. Ignore case and punctuation in the provider's name."""
    return gateway_of(payment.provider) == gateway


def status_of(name: str) -> PaymentStatus | str:
    """Return the status with this name, or the name itself if payctl does not recognise it."""
    return next((status for status in PaymentStatus if status.value == name), name)


def gateway_of(provider: str) -> str:
    """Return payctl's name for a payment's gateway.

    Ignore case and punctuation, so that ``zalo-pay`` means ``zalopay``.
    """
    return "".join(letter for letter in provider.lower() if letter.isalnum())
