"""The plan, the options and the report of a replay."""

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
    """How a replay ended."""

    DONE = "done"
    CANARY_EMPTY = "canary_empty"
    CANARY_FAILED = "canary_failed"
    CANARY_TIMEOUT = "canary_timeout"
    TOO_MANY_ERRORS = "too_many_errors"
    SIGNAL = "signal"
    CANCELLED = "cancelled"


class LeftOutReason(StrEnum):
    """Why a selected event is not in the plan."""

    PUBLISHED = "published"
    SUPERSEDED = "superseded"
    NOT_FOUND = "not_found"
    NOT_SELECTED = "not_selected"


class PlannedEvent(NamedTuple):
    """An event to be requeued, and the version that its row must still have."""

    row: Row
    state: str


class LeftOut(NamedTuple):
    """A selected event that stays as it is. Type and payment are None if the event does not exist."""

    id: str
    reason: LeftOutReason
    event_type: str | None = None
    aggregate_id: str | None = None


@dataclass(frozen=True, slots=True)
class Misnamed:
    """Names that were given as ids of events and are something else, and order codes that no payment has.

    ``replayable`` counts the events of these orders and payments that a replay would requeue.
    """

    order_codes: tuple[str, ...] = ()
    payments: tuple[str, ...] = ()
    replayable: int = 0
    unknown_orders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """The events to be requeued, oldest first, and what that means. Instants are UTC.

    ``keys_with_newer`` counts payments with an event that is newer than those to be requeued. Their consumers see the
    older event again after the newer one. ``superseded`` lists the ``events`` that are allowed although they do harm.
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
        """Return how long requeueing will take, in seconds. Publishing comes after that."""
        return len(self.events) / min(rate or _EVENTS_PER_SECOND, _EVENTS_PER_SECOND)


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The options of a run. ``rate`` is in events a second. ``canary`` events go first and must be published in time.

    If no event of the canary could be requeued, the run stops, because nothing was proved. ``max_errors`` failures
    (events that another session holds, or that are dead again) end the run.
    """

    allow_published: bool = False
    allow_superseded: bool = False
    rate: float | None = None
    canary: int | None = None
    canary_patience: timedelta = timedelta(minutes=5)
    max_errors: int | None = None

    def stored(self) -> dict[str, object]:
        """Return the options as plain values for the record, for :meth:`restored`."""
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

        A run of an earlier version did not record whether published events were allowed: its plan was made with it.
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

        It is smaller at a low rate, so that the rate holds every second.
        """
        return CHUNK if self.rate is None else max(1, min(CHUNK, int(self.rate)))


class CanaryWait(NamedTuple):
    """The state of a canary that is waited for: ``published`` of ``events``, and how long the wait may still take.

    ``publisher`` says whether a publisher is running, and ``unseen_s`` how many seconds ago one was seen. Each is None
    if that is not known.
    """

    published: int
    events: int
    left_s: float
    publisher: bool | None
    unseen_s: float | None


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a run did. ``remaining`` events of its plan were not reached. ``progress`` is where the others are now.

    ``left_alone`` has the first rows that were not requeued. ``publisher`` says whether a publisher was running
    when the wait for the canary ended; it is None if that is not known or nothing waited.
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
        """Return the number of events that are pending again, or published since."""
        return self._count("requeued")

    @property
    def skipped(self) -> int:
        """Return the number of events that were left unchanged: changed after the plan, deleted, superseded."""
        return self._count("skipped")

    @property
    def failed(self) -> int:
        """Return the number of events that another session holds, and of requeued events that are dead again."""
        return self._count("failed") + self.progress.dead

    def _count(self, wanted: str) -> int:
        return sum(count for (outcome, _), count in self.outcomes.items() if outcome == wanted)
