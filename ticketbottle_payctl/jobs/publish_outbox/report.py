"""What a run was told to do, and what it did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from ticketbottle_payctl.errors import PayctlError


class OnDead(StrEnum):
    """What a dead event means for the later events of its payment."""

    BLOCK = "block"
    RELEASE = "release"


class StoppedBecause(StrEnum):
    """Why a run ended."""

    EMPTY = "empty"
    DEADLINE = "deadline"
    MAX_BATCHES = "max_batches"
    SIGNAL = "signal"
    BROKER_UNAVAILABLE = "broker_unavailable"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """How to run. ``rate`` is events a second; ``budget`` is the whole run's time."""

    batch_size: int = 1000
    max_retries: int = 5
    max_batches: int | None = None
    budget: timedelta | None = None
    loop: bool = False
    rate: float | None = None
    types: tuple[str, ...] = ()
    on_dead: OnDead = OnDead.BLOCK
    shards: int = 1


@dataclass(frozen=True, slots=True)
class DeadEvent:
    """An event that this run gave up. ``error`` is class and text, never the payload."""

    id: str
    aggregate_id: str
    event_type: str
    error: str


@dataclass(slots=True)
class Tally:
    """Counts as they grow. ``held`` events wait behind an earlier event of their payment, or for their topic."""

    claimed: int = 0
    retried: int = 0
    held: int = 0
    batches: int = 0
    published_by_type: Counter[str] = field(default_factory=Counter)
    stopped_types: dict[str, str] = field(default_factory=dict)
    dead_events: list[DeadEvent] = field(default_factory=list)

    @property
    def published(self) -> int:
        """Events that the broker acknowledged."""
        return self.published_by_type.total()

    @property
    def dead(self) -> int:
        """Events that this run gave up."""
        return len(self.dead_events)

    @property
    def decided(self) -> int:
        """Events that something happened to; a run that decides nothing more has nothing more to do."""
        return self.published + self.retried + self.dead


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What the run did. ``failure`` is why the broker could not be used, where that ended the run."""

    tally: Tally
    stopped_because: StoppedBecause
    seconds: float
    oldest_pending_age_s: float | None
    failure: PayctlError | None = None

    @property
    def events_per_second(self) -> float:
        """Published events by the run's wall clock."""
        return round(self.tally.published / self.seconds, 1) if self.seconds > 0 else 0.0

    @property
    def partial(self) -> bool:
        """Some events were not published though it was their turn."""
        return bool(self.tally.retried or self.tally.dead or self.tally.stopped_types)
