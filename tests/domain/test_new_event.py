"""Test that an event that payctl writes has a known type, and a payload in the agreed format."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.domain.new_event import EVENT_TYPES, event_for
from ticketbottle_payctl.domain.payment import Payment, PaymentStatus
from ticketbottle_payctl.formats import rfc3339

AT = datetime(2026, 11, 22, 3, 4, 5, 678_000, tzinfo=UTC)
PAYMENT = Payment("payment-id", "TB_1-Đ", 250_000, "VND", "ZALOPAY", "261122_TB_1-Đ", PaymentStatus.PENDING)


@pytest.mark.parametrize(
    ("after", "event_type", "at_field"),
    [
        (PaymentStatus.COMPLETED, "PAYMENT_COMPLETED", "completed_at"),
        (PaymentStatus.FAILED, "PAYMENT_FAILED", "failed_at"),
        (PaymentStatus.CANCELLED, "PAYMENT_CANCELLED", "cancelled_at"),
    ],
)
def test_a_new_event_has_seven_fields_in_its_payload(after, event_type, at_field):
    """A new event's payload has seven fields.

    The amount is a whole number, and the instant is in UTC with milliseconds and Z.
    """
    event = event_for(PAYMENT, after, AT, "event-id")
    assert (event.id, event.aggregate_id, event.aggregate_type) == ("event-id", "payment-id", "payment")
    assert (event.event_type, event.created_at) == (event_type, AT)
    assert json.dumps(event.payload, ensure_ascii=False) == (
        '{"payment_id": "payment-id", "order_code": "TB_1-Đ", "amount_cents": 250000, "currency": "VND", '
        f'"provider": "ZALOPAY", "transaction_id": "261122_TB_1-Đ", "{at_field}": "2026-11-22T03:04:05.678Z"}}'
    )


def test_every_event_we_write_has_a_topic():
    """Every event type that payctl writes can be published."""
    assert set(EVENT_TYPES.values()) == set(TOPICS)
    assert set(EVENT_TYPES) == set(PaymentStatus) - {PaymentStatus.PENDING}


@pytest.mark.parametrize(("microsecond", "text"), [(0, "000"), (999, "000"), (1000, "001"), (999_999, "999")])
def test_an_instant_always_has_three_decimals(microsecond, text):
    """An instant in an event has three decimals. The instant is never rounded up to the next second."""
    assert rfc3339(AT.replace(microsecond=microsecond)) == f"2026-11-22T03:04:05.{text}Z"
