"""Detect early that no publisher is active, long before an event is overdue."""

from __future__ import annotations

from typing import NamedTuple

from ticketbottle_payctl.domain.causes.evidence import SENDABLE, WAITS_AFTER, Evidence, Waiting
from ticketbottle_payctl.domain.causes.publishing import Activity, cut_off, publishing_of
from ticketbottle_payctl.formats import duration


class Idle(NamedTuple):
    """The finding that no publisher is active although an event could be sent.

    ``words`` describes the finding and the last activity. ``expected`` is True if a publisher was seen recently: it may
    be a scheduled publisher between two runs.
    """

    words: str
    expected: bool
    activity: Activity

    @property
    def headline(self) -> str:
        """The finding without the last activity."""
        return self.words.partition(";")[0]


def idle(evidence: Evidence) -> Idle | None:
    """Return the finding that no publisher is active.

    Return None if a publisher is active, no event can be sent, or Debezium publishes the outbox. Also return None if an
    idle publisher will find all these events at its next look at old events, because a replay has just requeued them.
    """
    if not _sendable(evidence) or evidence.slot_active is not None or any(one.working for one in evidence.publishers):
        return None
    away = cut_off(evidence)
    if away is not None:
        words = f"the publisher cannot reach its brokers; the last attempt was {duration(away.seconds)} ago"
        return Idle(words, expected=False, activity=Activity.WITHOUT_BROKERS)
    activity = publishing_of(evidence).activity
    if activity is Activity.RUNNING:
        return None
    sent = evidence.last_sent_s
    if sent is not None and sent < WAITS_AFTER.total_seconds() and activity is not Activity.BETWEEN_RUNS:
        return None
    words = "; ".join(part for part in ("no publisher is active", _last_sign(evidence)) if part)
    return Idle(words, bool(evidence.lately), activity)


def awaits_rescan(evidence: Evidence) -> bool:
    """Return whether a running publisher has not looked at any of the waiting events since a replay requeued them."""
    waiting = _sendable(evidence)
    if not waiting or evidence.slot_active is not None:
        return False
    activity = publishing_of(evidence).activity
    return activity is Activity.RUNNING and all(one.awaits_rescan for one in waiting)


def _sendable(evidence: Evidence) -> list[Waiting]:
    return [one for one in evidence.waiting if one.reason in SENDABLE]


def _last_sign(evidence: Evidence) -> str:
    sent, seen = evidence.last_sent_s, evidence.last_seen_s
    if seen is None and sent is None:
        return "none has run on this database yet" if evidence.publishers_known else ""
    latest = min(each for each in (sent, seen) if each is not None)
    ended = any(one.ended and one.seconds == latest for one in evidence.publishers)
    return f"the last one ended {duration(latest)} ago" if ended else f"last activity {duration(latest)} ago"
