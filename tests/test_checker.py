from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.checker import Row, Verdict, judge
from ticketbottle_payctl.sandbox.kafka_messages import Received

NOON = datetime(2026, 11, 22, 12)  # noqa: DTZ001 - the owner's columns have no zone


def row(id_, second, key="k", event_type="PAYMENT_COMPLETED", *, published=True):
    """A row, so many seconds after noon."""
    at = NOON + timedelta(seconds=second)
    return Row(id_, key, "payment", event_type, "{}", at, published, at if published else None, 0, None, None)


def message(of, at, offset=0, topic="payment.completed", partition=0):
    """The message of a row."""
    return Received(
        topic, partition, offset, of.key.encode(), of.value.encode(), tuple(of.headers.items()), timestamp=at
    )


A, B = row("a", 1), row("b", 2)
FAILED = row("f", 1, event_type="PAYMENT_FAILED")


def test_a_faithful_and_ordered_log_is_good():
    """What was published is there once, in order; what was not is not missed."""
    assert judge([A, B, row("c", 3, published=False)], [message(A, 10, 0), message(B, 10, 1)]) == Verdict()


@pytest.mark.parametrize(
    ("fault", "messages"),
    [
        ({"lost": ["b"]}, [message(A, 10)]),
        ({"phantom": ["x"]}, [message(A, 10), message(B, 11, 1), message(row("x", 9, "other"), 12)]),
        ({"altered": ["b"]}, [message(A, 10), replace(message(B, 11, 1), value=b"{ }")]),
        ({"altered": ["b"]}, [message(A, 10), replace(message(B, 11, 1), key=b"K")]),
        ({"altered": ["b"]}, [message(A, 10), replace(message(B, 11, 1), headers=message(B, 11).headers[:-1])]),
        ({"altered": ["b"]}, [message(A, 10), replace(message(B, 11, 1), headers=message(B, 11).headers * 2)]),
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
def test_each_fault_is_named(fault, messages):
    """Lost, made up, altered, out of order, behind a later one, twice."""
    assert judge([A, B], messages) == replace(Verdict(), **fault)


def test_order_counts_across_topics():
    """A failed event after the completed one of its payment takes the tickets away."""
    failed = message(FAILED, 12, topic="payment.failed")
    assert judge([FAILED, B], [failed, message(B, 11)]).reordered == ["k"]
    assert judge([FAILED, B], [replace(failed, timestamp=10), message(B, 11)]) == Verdict()


def test_what_others_sent_is_not_looked_for():
    """Rows of the replaced service are published and not ours."""
    assert judge([A, B], [message(A, 10)], sent_before=["b"]) == Verdict()
