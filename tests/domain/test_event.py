from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from ticketbottle_payctl.domain.event import EVENT_TYPES, TOPICS, OutboxEvent, event_for, rfc3339, to_message
from ticketbottle_payctl.domain.payment import Payment, Status

AT = datetime(2026, 11, 22, 3, 4, 5, 678_000, tzinfo=UTC)
PAYMENT = Payment("payment-id", "TB_1-Đ", 250_000, "VND", "ZALOPAY", "261122_TB_1-Đ", Status.PENDING)
ROW = OutboxEvent(
    "event-id", "payment-ié", "Payment", "PAYMENT_FAILED", '{"a":  1, "đ": "\\u0111"}', datetime(2026, 1, 1), 0  # noqa: DTZ001
)  # fmt: skip


def octets(value):
    """What goes over the wire; the client sends text as UTF-8."""
    return value.encode() if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("after", "event_type", "at_field"),
    [
        (Status.COMPLETED, "PAYMENT_COMPLETED", "completed_at"),
        (Status.FAILED, "PAYMENT_FAILED", "failed_at"),
        (Status.CANCELLED, "PAYMENT_CANCELLED", "cancelled_at"),
    ],
)
def test_the_event_of_a_change_of_state(after, event_type, at_field):
    """Seven fields in snake_case, the amount a whole number, the instant in UTC with milliseconds and Z."""
    event = event_for(PAYMENT, after, AT, "event-id")
    assert (event.id, event.aggregate_id, event.aggregate_type) == ("event-id", "payment-id", "payment")
    assert (event.event_type, event.created_at) == (event_type, AT)
    assert json.dumps(event.payload, ensure_ascii=False) == (
        '{"payment_id": "payment-id", "order_code": "TB_1-Đ", "amount_cents": 250000, "currency": "VND", '
        f'"provider": "ZALOPAY", "transaction_id": "261122_TB_1-Đ", "{at_field}": "2026-11-22T03:04:05.678Z"}}'
    )


def test_every_event_we_write_has_a_topic():
    """What is appended can be published."""
    assert set(EVENT_TYPES.values()) == set(TOPICS)
    assert set(EVENT_TYPES) == set(Status) - {Status.PENDING}


@pytest.mark.parametrize(("microsecond", "text"), [(0, "000"), (999, "000"), (1000, "001"), (999_999, "999")])
def test_an_instant_has_milliseconds(microsecond, text):
    """Three digits always, cut and not rounded into the next second."""
    assert rfc3339(AT.replace(microsecond=microsecond)) == f"2026-11-22T03:04:05.{text}Z"


def test_a_message_carries_the_payload_as_it_is():
    """Not parsed and printed again: spaces and escapes stay; the key is the aggregate's id in UTF-8."""
    message = to_message(ROW)
    assert (message.topic, octets(message.key)) == ("payment.failed", "payment-ié".encode())
    assert octets(message.value) == '{"a":  1, "đ": "\\u0111"}'.encode()


def test_a_message_has_its_headers():
    """Who sent it, which event it is, and of what version; the row's own spelling of the aggregate type."""
    assert [(name, octets(value)) for name, value in to_message(ROW).headers] == [
        ("id", b"event-id"),
        ("eventId", b"event-id"),
        ("eventType", b"PAYMENT_FAILED"),
        ("aggregateType", b"Payment"),
        ("eventVersion", b"1.0"),
        ("source", b"payment-service"),
    ]


@pytest.mark.parametrize(
    ("context", "names"),
    [
        (("one", "00-two", "three"), ["correlationId", "traceparent", "replayRunId"]),
        (("one", None, None), ["correlationId"]),
        ((None, "00-two", ""), ["traceparent"]),
        ((None, None, None), []),
    ],
)
def test_a_trace_that_is_known_travels_along(context, names):
    """Only the parts that are known become headers."""
    assert [name for name, _ in to_message(ROW._replace(context=context)).headers[6:]] == names


@pytest.mark.parametrize("event_type", ["PAYMENT_REFUNDED", "payment_completed", "PAYMENT_COMPLETED ", ""])
def test_an_unknown_event_type_has_no_topic(event_type):
    """Contract 6.6: it is never guessed, least of all as a failure."""
    with pytest.raises(KeyError):
        to_message(ROW._replace(event_type=event_type))
