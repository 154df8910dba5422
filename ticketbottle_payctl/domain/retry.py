"""What a failed delivery costs, and when it is tried again.

Three budgets. Transport is nobody's fault and costs nothing. A configuration fault stops its event type and
costs nothing. Only the event's own fault is counted, and a permanent one is dead at once.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(minutes=10)
_LONGEST_ERROR = 500


class Fault(StrEnum):
    """Whose fault a failed delivery is."""

    TRANSPORT = "transport"
    CONFIGURATION = "configuration"
    EVENT = "event"
    PERMANENT = "permanent"

    @property
    def is_the_events_own(self) -> bool:
        """True where the event itself is to blame, and charged."""
        return self in {Fault.EVENT, Fault.PERMANENT}


def backoff(retry_count: int) -> timedelta:
    """How long after its last failure an event that failed ``retry_count`` times is due: 5 s, 10 s, ... 10 min."""
    doublings = min(max(retry_count - 1, 0), 16)
    return min(_FIRST_PAUSE * (1 << doublings), _LONGEST_PAUSE)


def retry_count_after(fault: Fault, retry_count: int, max_retries: int) -> int:
    """The row's new ``"retryCount"``: unchanged, one more, or the number that makes it dead."""
    match fault:
        case Fault.TRANSPORT | Fault.CONFIGURATION:
            return retry_count
        case Fault.EVENT:
            return retry_count + 1
        case Fault.PERMANENT:
            return max(max_retries, retry_count + 1)


def error_text(code: str, reason: str) -> str:
    """What ``"lastError"`` says: the class and the broker's words on one line, never the payload, bounded."""
    return " ".join(f"{code}: {reason}".split())[:_LONGEST_ERROR]
