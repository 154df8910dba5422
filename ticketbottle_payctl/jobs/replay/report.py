"""Define the plan, the options and the report of a replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from ticketbottle_payctl.domain.causes import Publishing
from ticketbottle_payctl.store.outbox.replay import CHUNK, Progress, Row, Superseded
from ticketbottle_payctl.store.payctl.runs import RunItem

_EVENTS_PER_SECOND = 20_000


class ReplayOutcome(StrEnum):
    """The ways in which a replay can end."""

    DONE = "done"
    CANARY_EMPTY = "canary_empty"
    CANARY_FAILED = "canary_failed"
    CANARY_TIMEOUT = "canary_timeout"
    TOO_MANY_ERRORS = "too_many_errors"
    SIGNAL = "signal"
    CANCELLED = "cancelled"


class LeftOutReason(StrEnum):
    """The reasons why a selected event is not in the plan."""

    PUBLISHED = "published"
    SUPERSEDED = "superseded"
    UNKNOWN_TYPE = "unknown_type"
    TOO_LARGE = "too_large"
    NOT_FOUND = "not_found"
    NOT_SELECTED = "not_selected"


class PlannedEvent(NamedTuple):
    """An event to requeue, its current state, and the version that its row must still have when the plan is applied."""

    row: Row
    state: str


class LeftOut(NamedTuple):
    """An event id that was selected but is not requeued.

    If no event has this id, the type and the aggregate id are None.
    """

    id: str
    reason: LeftOutReason
    event_type: str | None = None
    aggregate_id: str | None = None


@dataclass(frozen=True, slots=True)
class Misnamed:
    """The names in a selector that are probably mistakes.

    ``order_codes`` and ``payments`` were given as event ids, but are order codes and payment ids. ``replayable`` counts
    the events that a replay of the payments with these codes and ids would requeue. ``unknown_orders`` are order codes
    without a payment.
    """

    order_codes: tuple[str, ...] = ()
    payments: tuple[str, ...] = ()
    replayable: int = 0
    unknown_orders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """The events to requeue, oldest first, and the consequences of requeueing them. All times are in UTC.

    ``keys_with_newer`` counts the payments with a published event that is newer than their requeued events. For these
    payments, consumers receive older events after the newer event. ``superseded`` lists the superseded ``events`` that
    the operator allowed. ``closed`` contains the ids of those ``left_out`` events that an operator has closed.
    """

    events: tuple[PlannedEvent, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    by_type: Mapping[str, int] = field(default_factory=dict)
    keys_with_newer: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    superseded: tuple[Superseded, ...] = ()
    misnamed: Misnamed = field(default_factory=Misnamed)
    closed: frozenset[str] = frozenset()
    failed: int = 0
    """The number of pending events that have failed. A replay resets their retry counts."""

    @property
    def by_state(self) -> Counter[str]:
        """Return the number of planned events in each state (published, dead, pending) when the plan was made."""
        return Counter(event.state for event in self.events)

    @property
    def open_left_out(self) -> tuple[LeftOut, ...]:
        """Return the events that are left out and that no operator has closed."""
        return tuple(left for left in self.left_out if left.id not in self.closed)

    @property
    def matched(self) -> int:
        """Return the number of selected events that exist."""
        missing = {LeftOutReason.NOT_FOUND, LeftOutReason.NOT_SELECTED}
        return len(self.events) + sum(left.reason not in missing for left in self.left_out)

    def seconds(self, rate: float | None) -> float:
        """Return the estimated time for requeueing, in seconds.

        The estimate does not include the time for publishing.
        """
        return len(self.events) / min(rate or _EVENTS_PER_SECOND, _EVENTS_PER_SECOND)


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The options of a run. ``rate`` is in events per second.

    The canary is the first ``canary`` events. The run requeues the other events only if the canary is published within
    ``canary_patience``. If none of the canary's events could be requeued, the run stops, because the canary did not
    test anything. The run also stops after ``max_errors`` failures. An event counts as a failure if another session has
    locked it, or if it is dead again.
    """

    allow_published: bool = False
    allow_superseded: bool = False
    rate: float | None = None
    canary: int | None = None
    canary_patience: timedelta = timedelta(minutes=5)
    max_errors: int | None = None

    def stored(self) -> dict[str, object]:
        """Return the options as plain values for the record of the run. :meth:`restored` reads them."""
        return {
            "allow_published": self.allow_published,
            "allow_superseded": self.allow_superseded,
            "rate": self.rate,
            "canary": self.canary,
            "canary_patience_s": self.canary_patience.total_seconds(),
            "max_errors": self.max_errors,
        }

    @classmethod
    def restored(cls, stored: Mapping[str, object]) -> ReplayOptions:
        """Return the options that :meth:`stored` wrote.

        Earlier versions did not record ``allow_published``. Then the option is true, which
        is safe, because an earlier version applied the option when it made the plan.
        """
        rate, canary, errors = (stored.get(name) for name in ("rate", "canary", "max_errors"))
        patience = stored.get("canary_patience_s")
        return cls(
            allow_published=stored.get("allow_published") is not False,
            allow_superseded=stored.get("allow_superseded") is True,
            rate=float(rate) if isinstance(rate, int | float) else None,
            canary=canary if isinstance(canary, int) else None,
            canary_patience=timedelta(seconds=float(patience) if isinstance(patience, int | float) else 300),
            max_errors=errors if isinstance(errors, int) else None,
        )

    @property
    def chunk(self) -> int:
        """Return the number of events in one transaction, which is limited to one second's events at the run's rate."""
        return CHUNK if self.rate is None else max(1, min(CHUNK, int(self.rate)))


class CanaryWait(NamedTuple):
    """The state of a canary while the run waits for it.

    ``published`` is how many of the canary's ``events`` are published. The wait ends after at most ``left_s`` more
    seconds. ``publishing`` says whether a publisher is running.
    """

    published: int
    events: int
    left_s: float
    publishing: Publishing


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """The result of a run.

    ``outcomes`` counts the processed events by outcome and reason. ``remaining`` counts the planned events that the run
    did not reach. ``progress`` contains the current states of the requeued events. ``left_alone`` contains the first
    rows that were not requeued. ``publishing`` says whether a publisher was running when the wait for the canary ended.
    ``publishing`` is None if the run did not wait. ``earlier`` has the part of ``outcomes`` from before the run was
    resumed.
    """

    run_id: str
    outcome: ReplayOutcome
    outcomes: Mapping[tuple[str, str | None], int]
    remaining: int
    progress: Progress
    seconds: float
    left_alone: tuple[RunItem, ...] = ()
    publishing: Publishing | None = None
    earlier: Mapping[tuple[str, str | None], int] = field(default_factory=dict)

    @property
    def requeued_now(self) -> int:
        """Return the number of events that the run requeued since it was last started or resumed."""
        return self.requeued - sum(count for (outcome, _), count in self.earlier.items() if outcome == "requeued")

    @property
    def requeued(self) -> int:
        """Return the number of events that the run requeued. Some of them may already be published or dead again."""
        return self._count("requeued")

    @property
    def skipped(self) -> int:
        """Return the number of events that were skipped, because they were changed, deleted or superseded."""
        return self._count("skipped")

    @property
    def failed(self) -> int:
        """Return the number of events that another session had locked, plus the requeued events that are dead again."""
        return self._count("failed") + self.progress.dead

    def _count(self, wanted: str) -> int:
        return sum(count for (outcome, _), count in self.outcomes.items() if outcome == wanted)
