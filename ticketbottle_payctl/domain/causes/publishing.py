"""Decide from the publishers that were seen whether one is running. Every command uses this answer and these words.

A scheduled publisher ends after each run and starts again within a minute. Therefore a publisher that has just ended is
not running, but another run may follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from ticketbottle_payctl.domain.causes.evidence import (
    SEEN_WITHIN,
    USED_WITHIN,
    WAITS_AFTER,
    Evidence,
    Reason,
    SeenPublisher,
)
from ticketbottle_payctl.formats import duration

NEXT_RUN = "a scheduled one starts again within a minute"
"""The words that follow the time at which the last publisher ended."""

NEXT_SCHEDULED_RUN = "a scheduled publisher starts again within a minute"
"""The same fact, in words that can stand alone."""


NEXT_RESCAN = "a running publisher looks at old events every 30 s"
"""The reason why a requeued event may wait although a publisher is running."""

RESCANS = f"{NEXT_RESCAN}, and then sends them"
"""The same reason, and what the publisher does next."""


class Activity(StrEnum):
    """What is known about the publishers of an outbox.

    ``WITHOUT_BROKERS`` means that the publisher that was seen last could not reach its brokers. This publisher may have
    ended. ``BETWEEN_RUNS`` means that the last publisher ended less than 90 seconds ago. ``SILENT`` means that the last
    publisher was seen lately, but not in the last five seconds, and has not ended, but does not send an event that
    waits for it. This publisher may have been killed.
    """

    RUNNING = "running"
    SILENT = "silent"
    WITHOUT_BROKERS = "without_brokers"
    BETWEEN_RUNS = "between_runs"
    GONE = "gone"
    NEVER_SEEN = "never_seen"
    UNKNOWN = "unknown"


class Publishing(NamedTuple):
    """Whether a publisher is running, and the publisher that was seen last, or None if no publisher was seen."""

    activity: Activity
    last: SeenPublisher | None = None

    @property
    def running(self) -> bool | None:
        """Whether a publisher is running, or None if this is unknown."""
        if self.activity in {Activity.UNKNOWN, Activity.SILENT}:
            return None
        waits = self.activity is Activity.WITHOUT_BROKERS and self.last is not None and not self.last.ended
        return waits or self.activity is Activity.RUNNING

    @property
    def words(self) -> str:
        """A sentence that says whether a publisher is running."""
        last = self.last
        match self.activity:
            case Activity.RUNNING:
                return "a publisher is running"
            case Activity.WITHOUT_BROKERS if last is not None:
                return f"the last publisher could not reach its brokers {duration(last.seconds)} ago"
            case Activity.BETWEEN_RUNS if last is not None:
                return f"the last publisher ended {duration(last.seconds)} ago; {NEXT_RUN}"
            case Activity.SILENT:
                return f"no publisher is active; {self.last_sign}"
            case Activity.UNKNOWN:
                return "it is unknown whether a publisher is running"
            case _:
                return f"no publisher is running; {self.last_sign}"

    @property
    def last_sign(self) -> str:
        """A phrase that says when a publisher was last seen."""
        if self.last is None:
            return "none has ever been seen"
        return f"the last one {'ended' if self.last.ended else 'was seen'} {duration(self.last.seconds)} ago"


def ended_lately(evidence: Evidence) -> SeenPublisher | None:
    """Return the publisher that ended last, or None if a publisher is running, or if none ended in the last 90 s."""
    return None if evidence.running else next(iter(evidence.lately), None)


def cut_off(evidence: Evidence) -> SeenPublisher | None:
    """Return the publisher that cannot reach its brokers, or None if an event has been sent since, or none is known."""
    state = publishing_of(evidence)
    return state.last if state.activity is Activity.WITHOUT_BROKERS else None


def publishing_of(evidence: Evidence) -> Publishing:
    """Return whether the evidence shows that a publisher is running."""
    seen = without_ended_outages(evidence.publishers, evidence.last_sent_s)
    # The time of the next try is an estimate, so a publisher may still be right not to send an event that has failed.
    due = (Reason.READY, Reason.UNANSWERED)
    waits = (one.oldest_s for one in evidence.waiting if one.reason in due and not one.awaits_rescan)
    unsent_s = max(waits, default=0.0) if evidence.slot_active is None else 0.0
    return if_unsent(publishing(seen, known=evidence.publishers_known), unsent_s, evidence.last_sent_s)


def if_unsent(state: Publishing, unsent_s: float, last_sent_s: float | None) -> Publishing:
    """Return the state, or a silent publisher if an event has waited too long for an idle publisher.

    A running publisher looks for events every second. Therefore a publisher that was seen a moment ago is not silent:
    the brokers may refuse the event. ``unsent_s`` is the number of seconds that an event has waited although it could
    be sent. ``last_sent_s`` is the number of seconds since any event was last sent, or None.
    """
    limit = WAITS_AFTER.total_seconds()
    last = state.last if state.activity is Activity.RUNNING else None
    is_idle = last is not None and not last.working and last.seconds >= USED_WITHIN.total_seconds()
    sends = last_sent_s is not None and last_sent_s < limit
    return state._replace(activity=Activity.SILENT) if is_idle and unsent_s > limit and not sends else state


def without_ended_outages(publishers: Sequence[SeenPublisher], last_sent_s: float | None) -> list[SeenPublisher]:
    """Return the publishers without each outage of the brokers after which an event was sent.

    ``last_sent_s`` is the number of seconds since an event was last sent, or None.
    """
    return [
        one._replace(without_brokers=None) if last_sent_s is not None and last_sent_s <= one.seconds else one
        for one in publishers
    ]


def publishing(publishers: Sequence[SeenPublisher], *, known: bool) -> Publishing:
    """Return whether a publisher is running.

    ``known`` is False if the role is not allowed to read when the last publisher ran.
    """
    if not publishers:
        return Publishing(Activity.NEVER_SEEN if known else Activity.UNKNOWN)
    last = min(publishers, key=lambda one: (not one.working, one.seconds))
    if last.working:
        return Publishing(Activity.RUNNING, last)
    if last.seconds >= SEEN_WITHIN.total_seconds():
        return Publishing(Activity.GONE, last)
    if last.without_brokers:
        return Publishing(Activity.WITHOUT_BROKERS, last)
    lately = [one for one in publishers if one.seconds < SEEN_WITHIN.total_seconds()]
    idle = [one for one in lately if not one.ended and not one.without_brokers]
    if idle:
        return Publishing(Activity.RUNNING, min(idle, key=lambda one: one.seconds))
    return Publishing(Activity.BETWEEN_RUNS, last)
