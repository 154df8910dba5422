"""Define the rows of one order and its history, for the tests that need no database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ticketbottle_payctl.store.payctl.runs import Actor, Run
from ticketbottle_payctl.store.payments.history import EventRow, History, PaymentRow
from ticketbottle_payctl.store.payments.receipt_rows import ReceiptRow

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
TICK, SECOND, MINUTE = timedelta(microseconds=1), timedelta(seconds=1), timedelta(minutes=1)
UNPAID = PaymentRow("p", "TB-1", "PENDING", 9, "VND", "MOMO", "r", START, None, None, None)
PAID = replace(UNPAID, status="COMPLETED", completed_at=START)
EVENT = EventRow(
    id="e",
    aggregate_id="p",
    event_type="PAYMENT_COMPLETED",
    state="pending",
    superseded=False,
    created_at=START,
    published_at=None,
    retry_count=0,
    last_error=None,
    payload={},
    message_bytes=2,
)
FAILURE = replace(EVENT, id="f", event_type="PAYMENT_FAILED")
RECEIPT = ReceiptRow(
    "c", START, "momo", "COMPLETED", "settled", None, 9, "VND", "7", "e", 2, "POST", "7", "p", "TB-1", "7"
)
UNREADABLE = replace(RECEIPT, outcome="UNCLEAR", result="refused", reason="unreadable", amount=None, event_id=None)
RUN = Run("r", "replay", "done", Actor("linh", "bastion"), "payctl", "why", None, {}, {}, {}, START, START, ())


def history(payment=PAID, *events, receipts=(), replays=(), closings=()):
    """Return a payment's history."""
    return History(payment, tuple(receipts), events, tuple(replays), tuple(closings))
