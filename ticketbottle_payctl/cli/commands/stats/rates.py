"""Keep a live screen's rates and lag, from the first reading to the last."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

from ticketbottle_payctl.jobs.stats import StatsReport, follower
from ticketbottle_payctl.jobs.stats.live import LiveReport

_OVER = timedelta(seconds=10)
_MOST = 240


@dataclass(slots=True)
class Series:
    """A series of values since the screen started.

    When the series is full, each pair of adjacent values is merged into one. ``merge`` returns the values' mean, or
    their maximum if peaks matter.
    """

    merge: Callable[[Sequence[float]], float]
    _points: list[float] = field(default_factory=list)
    _waiting: list[float] = field(default_factory=list)
    _of_each: int = 1

    def add(self, value: float) -> None:
        """Add a reading's value."""
        self._waiting.append(value)
        if len(self._waiting) >= self._of_each:
            self._points.append(self.merge(self._waiting))
            self._waiting.clear()
        if len(self._points) >= _MOST:
            self._points = self._merged(len(self._points) // 2)
            self._of_each *= 2

    def points(self, most: int) -> list[float]:
        """Return the values of the whole session, oldest first, merged into at most ``most`` values."""
        return self._points if len(self._points) <= most else self._merged(max(0, most))

    def _merged(self, number: int) -> list[float]:
        ends = [len(self._points) * each // number for each in range(number + 1)] if number else []
        return [self.merge(self._points[start:end]) for start, end in pairwise(ends)]


def mean(values: Sequence[float]) -> float:
    """Return the mean of one or more values."""
    return sum(values) / len(values)


@dataclass(frozen=True, slots=True)
class _Reading:
    at: datetime
    unpublished: int


@dataclass(slots=True)
class Watched:
    """The readings of a session.

    The rates are events per second over the last ten seconds. An event counts as incoming when it is created, and as
    outgoing each time it is published, including after a replay. At the first reading, the rates are None.
    """

    in_per_s: float | None = None
    out_per_s: float | None = None
    inward: Series = field(default_factory=lambda: Series(mean))
    outward: Series = field(default_factory=lambda: Series(mean))
    lag: Series = field(default_factory=lambda: Series(max))
    began: datetime | None = None
    _follow: Callable[[StatsReport], StatsReport] = field(default_factory=follower)
    _lately: deque[_Reading] = field(default_factory=deque)

    @property
    def counted_from(self) -> datetime | None:
        """The instant (on the database's clock) from which the next reading counts created events.

        It is None before the first reading.
        """
        return self._lately[0].at if self._lately else None

    def add(self, report: LiveReport) -> LiveReport:
        """Add a reading that counts events from :attr:`counted_from`.

        Return the reading with this session's forecast.
        """
        stats = self._follow(report.stats)
        now = _Reading(stats.at, stats.pending + stats.dead)
        self.began = self.began or now.at
        if self._lately and report.created is not None:
            first = self._lately[0]
            seconds = (now.at - first.at).total_seconds()
            if seconds > 0:
                self.in_per_s = report.created / seconds
                self.out_per_s = max(0.0, report.created - (now.unpublished - first.unpublished)) / seconds
                self.inward.add(self.in_per_s)
                self.outward.add(self.out_per_s)
        self.lag.add(stats.oldest_pending_age_s or 0.0)
        self._lately.append(now)
        while len(self._lately) > 1 and now.at - self._lately[1].at >= _OVER:
            self._lately.popleft()
        return replace(report, stats=stats)
