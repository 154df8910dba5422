"""Define the plan, the options and the report of a replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from ticketbottle_payctl.store.outbox.replay import CHUNK, Progress, Row, Superseded
from ticketbottle_payctl.store.payctl.runs import RunItem

_EVENTS_PER_SECOND = 20_000


class ReplayOutcome(StrEnum):
    """The way in which a replay ended."""

    DONE = "done"
    CANARY_EMPTY = "canary_empty"
    CANARY_FAILED = "canary_failed"
    CANARY_TIMEOUT = "canary_timeout"
    TOO_MANY_ERRORS = "too_many_errors"
    SIGNAL = "signal"
    CANCELLED = "cancelled"


class LeftOutReason(StrEnum):
    """The reason why a selected event is not in the plan."""

    PUBLISHED = "published"
    SUPERSEDED = "superseded"
    NOT_FOUND = "not_found"
    NOT_SELECTED = "not_selected"


class PlannedEvent(NamedTuple):
    """An event to be requeued, and the version that its row must still have."""

    row: Row
    state: str


class LeftOut(NamedTuple):
    """A selected event that is not requeued. Type and payment are None if the event does not exist."""

    id: str
    reason: LeftOutReason
    event_type: str | None = None
    aggregate_id: str | None = None


@dataclass(frozen=True, slots=True)
class Misnamed:
    """Names that were given as event ids but are order codes or payment ids, and order codes that no payment has.

    ``replayable`` counts the events of these orders and payments that a replay would requeue.
    """

    order_codes: tuple[str, ...] = ()
    payments: tuple[str, ...] = ()
    replayable: int = 0
    unknown_orders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """The events to requeue, oldest first, and the consequences. Instants are UTC.

    ``keys_with_newer`` counts payments that have an event newer than those to be requeued. Their consumers receive the
    older event again after the newer one. ``superseded`` lists the superseded ``events`` that the operator allowed.
    """

    events: tuple[PlannedEvent, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    by_type: Mapping[str, int] = field(default_factory=dict)
    keys_with_newer: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    superseded: tuple[Superseded, ...] = ()
    misnamed: Misnamed = field(default_factory=Misnamed)

    @property
    def by_state(self) -> Counter[str]:
        """Return how many events are published, dead and pending now."""
        return Counter(event.state for event in self.events)

    @property
    def matched(self) -> int:
        """Return the number of selected events that exist."""
        missing = {LeftOutReason.NOT_FOUND, LeftOutReason.NOT_SELECTED}
        return len(self.events) + sum(left.reason not in missing for left in self.left_out)

    def seconds(self, rate: float | None) -> float:
        """Return the estimated seconds for requeueing. This does not include the publishing afterwards."""
        return len(self.events) / min(rate or _EVENTS_PER_SECOND, _EVENTS_PER_SECOND)


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The options of a run. ``rate`` is in events per second.

    The first ``canary`` events must be published in time before the others follow. If no event of the canary could be
    requeued, the run stops, because the canary tested nothing. The run also ends after ``max_errors`` failures. A
    failure is an event that another session holds, or that is dead again.
    """

    allow_published: bool = False
    allow_superseded: bool = False
    rate: float | None = None
    canary: int | None = None
    canary_patience: timedelta = timedelta(minutes=5)
    max_errors: int | None = None

    def stored(self) -> dict[str, object]:
        """Return the options as plain values for the record. :meth:`restored` reads them."""
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

        Earlier versions did not record whether published events were allowed. Their plans already respect that option.
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
        """Return the number of events in one transaction.

        A low rate needs a smaller number, so that the rate is kept in every second.
        """
        return CHUNK if self.rate is None else max(1, min(CHUNK, int(self.rate)))


class CanaryWait(NamedTuple):
    """The state of a canary during the wait: ``published`` of ``events``, and how long the wait may still take.

    ``publisher`` is true if a publisher is running. ``unseen_s`` is the seconds since a publisher was seen. Each is
    None if it is not known.
    """

    published: int
    events: int
    left_s: float
    publisher: bool | None
    unseen_s: float | None


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """The result of a run. ``remaining`` counts the events of its plan that were not reached.

    ``progress`` has the states of the other events. ``left_alone`` has the first rows that were not requeued.
    ``publisher`` is true if a publisher was running when the wait for the canary ended. It is None if payctl
    does not know this, or the run did not wait.
    """

    run_id: str
    outcome: ReplayOutcome
    outcomes: Mapping[tuple[str, str | None], int]
    remaining: int
    progress: Progress
    seconds: float
    left_alone: tuple[RunItem, ...] = ()
    publisher: bool | None = None

    @property
    def requeued(self) -> int:
        """Return the number of events that are pending again, or were published since."""
        return self._count("requeued")

    @property
    def skipped(self) -> int:
        """Return the number of events that were not requeued: changed after the plan, deleted or superseded."""
        return self._count("skipped")

    @property
    def failed(self) -> int:
        """Return the number of events that another session holds, plus the requeued events that are dead again."""
        return self._count("failed") + self.progress.dead

    def _count(self, wanted: str) -> int:
        return sum(count for (outcome, _), count in self.outcomes.items() if outcome == wanted)
