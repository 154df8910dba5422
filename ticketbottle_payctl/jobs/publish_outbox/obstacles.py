"""Define the reasons why events are waiting: blocking events, locked shards, and unavailable services."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ticketbottle_payctl.errors import BrokerUnavailableError, PayctlError
from ticketbottle_payctl.jobs.publish_outbox.facts import BlockerFacts, BlockReason, LockFacts
from ticketbottle_payctl.store.db.engine import is_lock_timeout
from ticketbottle_payctl.store.outbox.unsent_successes import NONE_UNSENT, UnsentSuccesses

_VARIES = re.compile(r"\([^()]*\)|[0-9]+")
MOST_NAMED = 20
"""The maximum number of reasons in ``Obstacles.blockers``."""
_RETRIES = frozenset({BlockReason.RETRY_LATER, BlockReason.FAILED})


class Blocker(NamedTuple):
    """A reason why pending events are waiting: an earlier event of their payment, or the topic for their type.

    ``events`` is the number of waiting events.
    """

    reason: BlockReason
    events: int
    event_id: str | None
    event_type: str | None
    detail: str | None
    retry_in_s: float | None = None
    order_code: str | None = None

    @property
    def facts(self) -> BlockerFacts:
        """The blocker, under the field names of the JSON output."""
        return {
            "reason": self.reason,
            "events": self.events,
            "event_id": self.event_id,
            "event_type": self.event_type,
            "detail": self.detail,
            "retry_in_s": self.retry_in_s,
        }


class LockedShard(NamedTuple):
    """A shard that another process holds.

    ``holder`` describes the process to the operator. ``who`` identifies the process in comparisons.
    """

    shard: int
    shards: int
    holder: str
    who: str

    @property
    def facts(self) -> LockFacts:
        """The shard, under the field names of the JSON output."""
        return {"shard": self.shard, "holder": self.holder}


@dataclass(frozen=True)
class Obstacles:
    """The reasons why events are waiting. If there are none, every pending event can be sent.

    ``away`` is the error from an unavailable service. ``locked`` lists the shards that other processes hold.
    ``stopped`` contains the event types whose topics cannot be written to, even if no event is waiting for them.
    ``blockers`` are the reasons with the most waiting events.

    ``held_by_type`` counts the pending events that cannot be sent now, by type. ``failed`` counts events that failed in
    this run and will be retried. ``dead`` counts the dead events in the outbox. ``dead_failures`` counts the dead
    events that no paying customer is waiting for, and ``dead_closed`` says how many of them a person has closed.
    ``unsent`` are the dead events that a paying customer may be waiting for, except those among the blockers.

    ``pending`` counts all pending events. It is None if the run can reach its brokers, or if the count took too long.

    ``unread`` is the error if the database could not be read, otherwise None. If there is such an error, only ``away``
    and ``stopped`` are set.
    """

    away: PayctlError | None = None
    locked: Sequence[LockedShard] = ()
    stopped: Mapping[str, str] = field(default_factory=dict)
    blockers: Sequence[Blocker] = ()
    held_by_type: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    dead: int = 0
    dead_failures: int = 0
    dead_closed: int = 0
    unsent: UnsentSuccesses = NONE_UNSENT
    causes: int = 0
    """The number of reasons, including those that ``blockers`` does not list."""
    locked_rows: int = 0
    """The number of pending events whose rows other sessions have locked."""
    oldest_pending_age_s: float | None = None
    pending: int | None = None
    unread: PayctlError | None = None

    def __bool__(self) -> bool:
        """Return whether there is a reason for any event to wait."""
        return bool(self.away or self.locked or self.stopped or self.blockers)

    @property
    def known(self) -> bool:
        """Whether the database could be read."""
        return self.unread is None

    @property
    def lock_timeout(self) -> PayctlError | None:
        """The error if another session's lock stopped the run, or kept it from reading the database, or None."""
        return next((each for each in (self.away, self.unread) if each is not None and is_lock_timeout(each)), None)

    @property
    def held(self) -> int:
        """The number of pending events that cannot be sent now, even if the brokers are available."""
        return sum(self.held_by_type.values())

    @property
    def waiting(self) -> int:
        """The number of pending events that cannot be sent now. Without brokers, these are all pending events."""
        return self.held if self.pending is None else self.pending

    @property
    def dead_successes(self) -> int:
        """The number of dead events that do not report a failed payment.

        They report a success or have an unknown type.
        """
        return self.dead - self.dead_failures

    @property
    def facts(self) -> dict[str, object]:
        """The reasons, under the field names of the JSON output and the log."""
        return {
            "code": self.away.code if self.away else None,
            "held": self.waiting,
            "blocked_by": [each.facts for each in self.blockers],
            "locked_by": [each.facts for each in self.locked],
            "stopped_types": dict(self.stopped),
            "oldest_pending_age_s": self.oldest_pending_age_s,
        }

    def same_as(self, other: Obstacles) -> bool:
        """Return whether the operator would get the same message for ``other``. Counts and ages may differ.

        All retries count as one reason, because they change constantly. If there are too many blockers to list, all
        blockers of one kind also count as one reason.
        """
        return self._causes() == other._causes()

    def _causes(self) -> object:
        return (
            self.away and _kind(self.away),
            [(each.shard, each.who) for each in self.locked],
            dict(self.stopped),
            {self._blocked_by(each) for each in self.blockers},
        )

    def _blocked_by(self, blocker: Blocker) -> tuple[str, str | None]:
        if blocker.reason in _RETRIES:
            return "retry", None
        return blocker.reason, (blocker.event_id or blocker.event_type) if self.causes <= MOST_NAMED else None


def _kind(error: PayctlError) -> tuple[str, str]:
    """Return an error's code and its message without the parts that change with each attempt, such as times."""
    if isinstance(error, BrokerUnavailableError):
        return error.code, ""
    return error.code, _VARIES.sub("", error.message)
