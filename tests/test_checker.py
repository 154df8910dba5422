"""Test that the checker accepts correct messages, and names each fault in made-up rows and messages."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.checker import Row, Verdict, judge
from ticketbottle_payctl.broker.range_reader import Received

NOON = datetime(2026, 11, 22, 12)  # noqa: DTZ001 - the owner's columns have no zone


def row(id_, second, key="k", event_type="PAYMENT_COMPLETED", *, published=True):
    """Return an outbox row that was created this many seconds after noon."""
    at = NOON + timedelta(seconds=second)
    return Row(id_, key, "payment", event_type, "{}", at, published, at if published else None, 0, None, None)


def message(of, at, offset=0, topic="payment.completed", partition=0):
    """Return the Kafka message of a row."""
    return Received(
        topic, partition, offset, of.key.encode(), of.value.encode(), tuple(of.headers.items()), timestamp=at
    )


A, B = row("a", 1), row("b", 2)
FAILED = row("f", 1, event_type="PAYMENT_FAILED")


def test_the_checker_accepts_a_complete_and_ordered_log():
    """The checker does not report a fault if each published event is in Kafka once and in order.

    An unpublished event need not be in Kafka.
    """
    assert judge([A, B, row("c", 3, published=False)], [message(A, 10, 0), message(B, 10, 1)]) == Verdict()


@pytest.mark.parametrize(
    ("fault", "messages"),
    [
        ({"lost": ["b"]}, [message(A, 10)]),
        ({"phantom": ["x"]}, [message(A, 10), message(B, 11, 1), message(row("x", 9, "other"), 12)]),
        ({"altered": ["b"]}, [message(A, 10), message(B, 11, 1)._replace(value=b"{ }")]),
        ({"altered": ["b"]}, [message(A, 10), message(B, 11, 1)._replace(key=b"K")]),
        ({"altered": ["b"]}, [message(A, 10), message(B, 11, 1)._replace(headers=message(B, 11).headers[:-1])]),
        ({"altered": ["b"]}, [message(A, 10), message(B, 11, 1)._replace(headers=message(B, 11).headers * 2)]),
        ({"altered": ["b"]}, [message(A, 10), message(B, 11, 1, topic="payment.failed")]),
        (
            {"altered": ["b"], "duplicates": {"b": 1}},
            [message(A, 9), message(B, 11, 1), message(B, 11, 0, partition=1)],
        ),
        ({"reordered": ["k"], "overtaken": ["k"]}, [message(B, 10, 0), message(A, 11, 1)]),
        ({"reordered": ["k"], "overtaken": ["k"]}, [message(B, 10, 0), message(A, 10, 1)]),
        ({"duplicates": {"a": 1}}, [message(A, 10, 0), message(A, 11, 1), message(B, 12, 2)]),
        ({"duplicates": {"a": 1}, "overtaken": ["k"]}, [message(A, 10, 0), message(B, 11, 1), message(A, 12, 2)]),
    ],
)
def test_the_checker_names_each_fault(fault, messages):
    """The checker reports lost, phantom, altered, reordered, overtaken and duplicate messages."""
    assert judge([A, B], messages) == replace(Verdict(), **fault)


def test_the_checker_compares_order_across_topics():
    """The checker reports a failed event that follows its payment's completed event, even in another topic."""
    failed = message(FAILED, 12, topic="payment.failed")
    assert judge([FAILED, B], [failed, message(B, 11)]).reordered == ["k"]
    assert judge([FAILED, B], [failed._replace(timestamp=10), message(B, 11)]) == Verdict()


def test_the_checker_reports_equal_append_times_in_two_topics():
    """The checker reports two events of a payment that have the same append time in two topics.

    Within one topic, offsets decide.
    """
    failed = message(FAILED, 11, topic="payment.failed")
    assert judge([FAILED, B], [failed, message(B, 11)]) == Verdict()
    verdict = judge([FAILED, B], [failed, message(B, 11)], by_the_broker=True)
    assert (verdict.reordered, verdict.overtaken) == (["k"], ["k"])
    assert judge([FAILED, B], [failed._replace(timestamp=10), message(B, 11)], by_the_broker=True) == Verdict()
    assert judge([A, B], [message(A, 11, 0), message(B, 11, 1)], by_the_broker=True) == Verdict()


def test_the_checker_finds_a_late_copy_by_the_broker_s_time():
    """The checker reports a second PAYMENT_FAILED after PAYMENT_COMPLETED, even if the first copy was in order."""
    failed = message(FAILED, 10, topic="payment.failed")
    copies = [failed, message(B, 11), failed._replace(offset=1, timestamp=11)]
    verdict = judge([FAILED, B], copies, by_the_broker=True)
    assert (verdict.reordered, verdict.overtaken, verdict.duplicates) == ([], ["k"], {"f": 1})


def test_the_checker_does_not_expect_events_that_another_service_sent():
    """The checker does not report events as lost if the old service published them."""
    assert judge([A, B], [message(A, 10)], sent_before=["b"]) == Verdict()
