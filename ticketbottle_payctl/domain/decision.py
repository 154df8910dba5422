"""The decision about a callback, in words that the outputs, the functions and the log share."""

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
    """What a person must hear of: money is involved and the software will not decide alone."""

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
    """A stable word: why it was refused or ignored."""
    status_before: str | None
    """The payment's status before the callback. A status that payctl does not know is passed on."""
    status_after: str | None
    """The payment's status after the callback. A status that payctl does not know is passed on."""
    event_id: str | None
    """The outbox event that was written, or with dry_run would be."""
    receipt_id: str | None
    """The stored callback; null if it was not genuine."""
    alert: Alert | None
    """What a person must look at."""


NO_DECISION: Decision = {
    "reason": None,
    "status_before": None,
    "status_after": None,
    "event_id": None,
    "receipt_id": None,
    "alert": None,
}
"""For a request that payctl did not decide."""
