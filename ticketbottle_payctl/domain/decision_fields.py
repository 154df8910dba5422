"""Define the decision on a callback, with the field names of the JSON output, the Lambda functions and the log."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypedDict

from ticketbottle_payctl.facts import Keywords
from ticketbottle_payctl.formats import PROVIDERS


class WebhookOutcome(StrEnum):
    """The result of processing a callback."""

    SETTLED = "settled"
    ALREADY_SETTLED = "already_settled"
    TEST_PING = "test_ping"
    IGNORED = "ignored"
    REFUSED = "refused"


class Alert(StrEnum):
    """An alert that asks the operator to make a decision, because money is involved."""

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


ProviderName = Annotated[str, Keywords(enum=[*PROVIDERS])]
"""A gateway's name in the registry, such as momo."""


class Decision(TypedDict):
    """The decision on a callback, with the field names of the JSON output."""

    reason: str | None
    """A stable code that says why payctl refused or ignored the callback."""
    status_before: str | None
    """The payment's status before the callback. A status that payctl does not recognise is copied unchanged."""
    status_after: str | None
    """The payment's status after the callback. A status that payctl does not recognise is copied unchanged."""
    event_id: str | None
    """The id of the new outbox event. With dry_run, the id of the event that would be written."""
    receipt_id: str | None
    """The id of the receipt; null if the callback was not genuine."""
    alert: Alert | None
    """The alert for the operator, or null."""


NO_DECISION: Decision = {
    "reason": None,
    "status_before": None,
    "status_after": None,
    "event_id": None,
    "receipt_id": None,
    "alert": None,
}
"""The decision fields of a request on which payctl has not decided. All fields are null."""
