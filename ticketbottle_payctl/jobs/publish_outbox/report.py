"""Collect the counts of a run, and build its report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.jobs.publish_outbox.facts import (
    LagFacts,
    PublishedEvents,
    PublishFacts,
    StoppedBecause,
    UnsentFacts,
)
from ticketbottle_payctl.jobs.publish_outbox.obstacles import Obstacles
from ticketbottle_payctl.store.payctl.run_lifecycle import Unrecorded

_MOST_SAMPLES = 8192
_MOST_DEAD_LISTED = 1000


@dataclass(frozen=True, slots=True)
class DeadEvent:
    """An event that became dead in this run. ``error`` contains the error's code and text, but no payload."""

    id: str
    aggregate_id: str
    event_type: str
    error: str


class LagPercentiles(NamedTuple):
    """Percentiles of the lag: the seconds from ``"createdAt"`` to the broker's acknowledgement, in database time."""

    p50: float
    p95: float
    p99: float


class LagSample:
    """The lag of every n-th published event.

    When the sample is full, n is doubled, so that memory use stays limited.
    """

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._every, self._seen = 1, 0

    def pick(self, count: int) -> slice:
        """Return a slice that selects the sampled events from the next ``count`` published events."""
        picked = slice(-self._seen % self._every, count, self._every)
        self._seen += count
        return picked

    def add(self, seconds: Iterable[float]) -> None:
        """Add the lags of the sampled events."""
        self._seconds.extend(seconds)
        while len(self._seconds) > _MOST_SAMPLES:
            self._seconds = self._seconds[::2]
            self._every *= 2

    def spread(self, most: int) -> list[float]:
        """Return at most ``most`` of the sampled lags, evenly spread from the smallest to the largest."""
        ordered = sorted(self._seconds)
        if len(ordered) <= most:
            return ordered
        return [ordered[number * (len(ordered) - 1) // (most - 1)] for number in range(most)]

    def percentiles(self) -> LagPercentiles | None:
        """Return the nearest-rank percentiles, rounded to milliseconds, or None if nothing was published."""
        ordered = sorted(self._seconds)
        if not ordered:
            return None
        p50, p95, p99 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95, 0.99))
        return LagPercentiles(round(p50, 3), round(p95, 3), round(p99, 3))


@dataclass(slots=True)
class PublishCounts:
    """The counts of a run so far.

    ``held`` is the number of pending events that could not be sent when the run last read the database.
    ``dead_events`` are the first 1,000 events that became dead in this run. ``newly_dead`` are the events that became
    dead in the last committed batch.
    """

    claimed: int = 0
    retried: int = 0
    dead: int = 0
    held: int = 0
    batches: int = 0
    published_by_type: Counter[str] = field(default_factory=Counter)
    stopped_types: dict[str, str] = field(default_factory=dict)
    dead_events: list[DeadEvent] = field(default_factory=list)
    newly_dead: list[DeadEvent] = field(default_factory=list)
    lag: LagSample = field(default_factory=LagSample)

    @property
    def published(self) -> int:
        """The number of events that are acknowledged and committed as published."""
        return self.published_by_type.total()

    @property
    def by_name(self) -> PublishedEvents:
        """The counts, under the field names of the JSON output."""
        return {
            "claimed": self.claimed,
            "published": self.published,
            "retried": self.retried,
            "dead": self.dead,
            "held": self.held,
        }

    @property
    def lag_s(self) -> LagFacts | None:
        """The lag, under the field names of the JSON output, or None if nothing was published."""
        lag = self.lag.percentiles()
        return None if lag is None else {"p50": lag.p50, "p95": lag.p95, "p99": lag.p99}

    def add_dead(self, events: list[DeadEvent]) -> None:
        """Count a committed batch's dead events. Keep only the first 1,000, because a loop can run for months."""
        self.dead += len(events)
        self.newly_dead = events
        self.dead_events += events[: _MOST_DEAD_LISTED - len(self.dead_events)]


@dataclass(frozen=True, slots=True)
class PublishReport:
    """The result of a run.

    ``failure`` is the error that ended the run early, or None. ``obstacles`` are the reasons why events are waiting at
    the end of the run.
    """

    counts: PublishCounts
    stopped_because: StoppedBecause
    seconds: float
    obstacles: Obstacles
    failure: PayctlError | None = None
    run_id: str | None = None
    """The id of the recorded run, or None if the run was not recorded."""
    unrecorded: Unrecorded | None = None
    """What could not be recorded about the run, or None."""

    @property
    def oldest_pending_age_s(self) -> float | None:
        """The age of the oldest pending event, in seconds.

        The value is None if no event is pending, or if the database was unavailable at the end of the run.
        """
        return self.obstacles.oldest_pending_age_s

    @property
    def events_per_second(self) -> float:
        """The number of published events per second over the whole run."""
        return round(self.counts.published / self.seconds, 1) if self.seconds > 0 else 0.0

    @property
    def lag(self) -> LagPercentiles | None:
        """The lag of this run's events, or None if nothing was published."""
        return self.counts.lag.percentiles()

    @property
    def facts(self) -> PublishFacts:
        """The report, under the field names of the JSON output and the log."""
        return {
            "batches": self.counts.batches,
            "stopped_because": self.stopped_because,
            "events_per_second": self.events_per_second,
            "lag_s": self.counts.lag_s,
            "oldest_pending_age_s": self.oldest_pending_age_s,
            "published_by_type": dict(self.counts.published_by_type),
            "stopped_types": dict(self.counts.stopped_types),
            "blocked_by": [each.facts for each in self.obstacles.blockers],
            "locked_by": [each.facts for each in self.obstacles.locked],
            "dead_in_outbox": self.obstacles.dead if self.obstacles.known else None,
            "dead_failures_in_outbox": self.obstacles.dead_failures if self.obstacles.known else None,
            "dead_closed_in_outbox": self.obstacles.dead_closed if self.obstacles.known else None,
            "unsent_successes": _unsent(self.obstacles) if self.obstacles.known else None,
            "dead_unknown_in_outbox": self.obstacles.unsent.unknown if self.obstacles.known else None,
        }

    @property
    def partial(self) -> bool:
        """Whether some events could not be published, even by a retry."""
        if not self.obstacles.known:
            return bool(self.counts.retried or self.counts.dead or self.counts.held or self.counts.stopped_types)
        return bool(self.counts.dead or self.obstacles.held or self.obstacles.failed)


def _unsent(obstacles: Obstacles) -> UnsentFacts:
    found = obstacles.unsent
    return {"events": found.events, "oldest": [{"id": each.id, "order_code": each.order_code} for each in found.oldest]}
