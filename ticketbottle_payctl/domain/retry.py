"""Decide how a failed delivery changes an event's retry count, when the event is retried, and when it is dead.

A transport fault does not change the retry count. A configuration fault does not change it either, but stops all events
of the same type. A fault in the event itself increments the count. A permanent fault makes the event dead immediately.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(minutes=10)
_LONGEST_ERROR = 500

MOST_RETRIES = 1000
"""The largest value of ``OUTBOX_MAX_RETRIES``. An event with this retry count is dead with every value."""


class Fault(StrEnum):
    """The causes of a failed delivery."""

    TRANSPORT = "transport"
    CONFIGURATION = "configuration"
    EVENT = "event"
    PERMANENT = "permanent"

    @property
    def is_the_events_own(self) -> bool:
        """Whether the event itself caused the failure. If so, the event's retry count is incremented."""
        return self in {Fault.EVENT, Fault.PERMANENT}


def backoff(retry_count: int) -> timedelta:
    """Return the wait before the next retry after ``retry_count`` failures: 5 s, doubled each time, at most 10 min."""
    doublings = min(max(retry_count - 1, 0), 16)
    return min(_FIRST_PAUSE * (1 << doublings), _LONGEST_PAUSE)


def retry_count_after(fault: Fault, retry_count: int, max_retries: int) -> int:
    """Return the event's new retry count. For a permanent fault, the new count is at least ``max_retries``."""
    match fault:
        case Fault.TRANSPORT | Fault.CONFIGURATION:
            return retry_count
        case Fault.EVENT:
            return retry_count + 1
        case Fault.PERMANENT:
            return max(max_retries, retry_count + 1)


def is_dead(retry_count: int, max_retries: int) -> bool:
    """Return whether an event with this retry count has no retries left.

    ``store.outbox.states`` has this rule in SQL.
    """
    return retry_count >= max_retries


def error_text(code: str, reason: str) -> str:
    """Return the text for ``"lastError"``, which is the error's code and the broker's message on one line.

    The text never contains the payload.
    """
    return " ".join(f"{code}: {reason}".split())[:_LONGEST_ERROR]
