"""The decision about a callback. The outputs, the functions and the log share its field names."""

from __future__ import annotations

from enum import StrEnum
from typing import TypedDict


class WebhookOutcome(StrEnum):
    """What became of a callback."""

    SETTLED = "settled"
    ALREADY_SETTLED = "already_settled"
    TEST_PING = "test_ping"
    IGNORED = "ignored"
    REFUSED = "refused"


class Alert(StrEnum):
    """An alert for a person: money is involved, and payctl does not decide alone."""

    LATE_MONEY = "late_money"
    WRONG_AMOUNT = "wrong_amount"
    UNKNOWN_ORDER = "unknown_order"
    CONTRADICTS_COMPLETED = "contradicts_completed"
    UNKNOWN_STATUS = "unknown_status"
    MONEY_HELD = "money_held"
    SECOND_PAYMENT = "second_payment"
    UNDOCUMENTED_CODE = "undocumented_code"
    UNREADABLE = "unreadable"
    AMBIGUOUS = "ambiguous"


class Decision(TypedDict):
    """What was decided about a callback."""

    reason: str | None
    """The reason why it was refused or ignored, as a stable word."""
    status_before: str | None
    """The payment's status before the callback. A status that payctl does not know is shown unchanged."""
    status_after: str | None
    """The payment's status after the callback. A status that payctl does not know is shown unchanged."""
    event_id: str | None
    """The outbox event that was written; with dry_run, the event that would be written."""
    receipt_id: str | None
    """The stored callback; null if it was not genuine."""
    alert: Alert | None
    """The alert for a person, if there is one."""


NO_DECISION: Decision = {
    "reason": None,
    "status_before": None,
    "status_after": None,
    "event_id": None,
    "receipt_id": None,
    "alert": None,
}
"""The decision's fields for a request that payctl did not decide: all null."""
