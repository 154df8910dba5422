"""Count the pending events that wait without an error, for example while the brokers are unavailable."""

from __future__ import annotations

from typing import NamedTuple

from ticketbottle_payctl.domain.causes.evidence import Evidence, Reason
from ticketbottle_payctl.domain.causes.idle import idle
from ticketbottle_payctl.domain.causes.words import overdue

_REASONS = (Reason.READY, Reason.UNANSWERED, Reason.LOCKED)


class WithoutError(NamedTuple):
    """How many events have been waiting for more than ten seconds without an error.

    ``late`` is True if ``stats`` would warn about them. ``more`` is True if only the oldest events were counted.
    """

    events: int
    late: bool
    more: bool = False


def without_error(evidence: Evidence) -> WithoutError:
    """Return how many events are waiting without an error.

    Events behind a dead or failing event are not counted. A locked event that has failed is not counted either, because
    an error group contains it.
    """
    events = sum(one.events - one.failed for one in evidence.waiting if one.reason in _REASONS)
    missing = idle(evidence)
    late = any(one.events > one.failed for one in overdue(evidence, *_REASONS))
    late |= missing is not None and not missing.expected
    return WithoutError(events, bool(events) and late, evidence.sampled)
