"""Test that an outbox row becomes a Kafka message with the unchanged payload and the agreed headers."""

from __future__ import annotations

from datetime import datetime

import pytest

from ticketbottle_payctl.domain.event import START, OutboxEvent, to_message

ROW = OutboxEvent(
    "event-id", "payment-ié", "Payment", "PAYMENT_FAILED", '{"a":  1, "đ": "\\u0111"}', datetime(2026, 1, 1), 0  # noqa: DTZ001
)  # fmt: skip


def octets(value):
    """Return the bytes that the Kafka client sends for a value. Encode strings as UTF-8."""
    return value.encode() if isinstance(value, str) else value


def test_a_message_has_the_unchanged_payload():
    """A message's payload keeps its spaces and escapes, and the key is the aggregate id in UTF-8."""
    message = to_message(ROW)
    assert (message.topic, octets(message.key)) == ("payment.failed", "payment-ié".encode())
    assert octets(message.value) == '{"a":  1, "đ": "\\u0111"}'.encode()


def test_a_message_has_the_headers_of_the_contract():
    """A message's headers contain the event's id, type, version and source, and the row's exact aggregate type."""
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
def test_a_message_has_a_header_for_each_known_part_of_the_trace(context, names):
    """The correlation id, the traceparent and the replay run id each become a header only if they are known."""
    assert [name for name, _ in to_message(ROW._replace(context=context)).headers[6:]] == names


@pytest.mark.parametrize("event_type", ["PAYMENT_REFUNDED", "payment_completed", "PAYMENT_COMPLETED ", ""])
def test_an_unknown_event_type_has_no_topic(event_type):
    """Contract 6.6: an unknown event type raises KeyError, and its event is never sent to the topic for failures."""
    with pytest.raises(KeyError):
        to_message(ROW._replace(event_type=event_type))


def test_an_event_s_position_is_its_instant_and_then_its_id():
    """Events with the same time are ordered by id. The position START is before every event."""
    assert ROW.position == (datetime(2026, 1, 1), "event-id")  # noqa: DTZ001
    assert (datetime(1970, 1, 1), "") == START  # noqa: DTZ001


def test_a_trace_with_a_missing_part_is_an_error():
    """A trace with only two of its three parts raises ValueError, because the database returns all parts or none."""
    with pytest.raises(ValueError, match="shorter"):
        to_message(ROW._replace(context=("one", "00-two")))
