"""Determine what an operator must fix before replaying a dead event. Without this fix, the event would fail again."""

from __future__ import annotations

from enum import StrEnum

from ticketbottle_payctl.broker.faults import UNKNOWN_EVENT_TYPE, is_permanent, is_too_large
from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE, is_small_enough_now
from ticketbottle_payctl.domain.unknown_types import is_unknown


class DeliveryRemedy(StrEnum):
    """A fix that payctl cannot make. A replay helps only after the operator has made this fix."""

    RAISE_TOPIC_LIMIT = "raise_topic_limit"
    SHRINK_PAYLOAD = "shrink_payload"
    KNOW_EVENT_TYPE = "know_event_type"
    REPAIR_RECORD = "repair_record"


def error_name(last_error: str | None) -> str:
    """Return the name of an event's last error, which is the text before the colon."""
    return (last_error or "").partition(":")[0]


def remedy_of(last_error: str | None, event_type: str, message_bytes: int) -> DeliveryRemedy | None:
    """Return the fix that must be made before an event is replayed, or None if a replay may help immediately."""
    name = error_name(last_error)
    if is_unknown(event_type):
        return DeliveryRemedy.KNOW_EVENT_TYPE
    if is_small_enough_now(last_error, message_bytes):
        return None
    if is_too_large(name):
        too_large = message_bytes > LARGEST_MESSAGE
        return DeliveryRemedy.SHRINK_PAYLOAD if too_large else DeliveryRemedy.RAISE_TOPIC_LIMIT
    return DeliveryRemedy.REPAIR_RECORD if is_permanent(name) and name != UNKNOWN_EVENT_TYPE else None
