"""Build the event that reports a payment's change of state. The order service depends on the event's field names.

This module is separate from :mod:`ticketbottle_payctl.domain.event`, because publishers do not need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ticketbottle_payctl.domain.payment import Payment, PaymentStatus
from ticketbottle_payctl.formats import rfc3339

EVENT_TYPES = {
    PaymentStatus.COMPLETED: "PAYMENT_COMPLETED",
    PaymentStatus.FAILED: "PAYMENT_FAILED",
    PaymentStatus.CANCELLED: "PAYMENT_CANCELLED",
}

AGGREGATE_TYPE = "payment"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A new event. The event must be inserted into the outbox in the transaction that changes its payment."""

    id: str
    aggregate_id: str
    event_type: str
    payload: dict[str, str | int]
    created_at: datetime
    aggregate_type: str = AGGREGATE_TYPE


def event_for(payment: Payment, after: PaymentStatus, at: datetime, event_id: str) -> NewEvent:
    """Return the event that reports the payment's change to status ``after``. ``at`` is the time of the change."""
    return NewEvent(
        id=event_id,
        aggregate_id=payment.id,
        event_type=EVENT_TYPES[after],
        payload={
            "payment_id": payment.id,
            "order_code": payment.order_code,
            "amount_cents": payment.amount,
            "currency": payment.currency,
            "provider": payment.provider,
            "transaction_id": payment.reference,
            f"{after.value.lower()}_at": rfc3339(at),
        },
        created_at=at,
    )
