"""Name the reasons why no customer is waiting for a dead event."""

from __future__ import annotations

from enum import StrEnum


class WhyNeedless(StrEnum):
    """The reason why no customer is waiting for a dead event. Each event type has at most one reason."""

    SUPERSEDED = "superseded"
    """The event reports a failure or cancellation, and the payment is COMPLETED now."""

    REPEATED = "repeated"
    """The event reports a success, and the payment's success was already sent."""

    UNKNOWN_TYPE = "unknown_type"
    """payctl does not know the event's type, and the payment needs no further success message."""
