"""Forecast when the backlog will be empty."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from ticketbottle_payctl.jobs.stats.model import Drain, StatsReport
from ticketbottle_payctl.store.outbox.stats import Recent, Unpublished

_SHORTEST_S = 1.0
_RECENT_S = 60.0


def followed(look: Callable[[], StatsReport]) -> Callable[[], StatsReport]:
    """Return a function that reads a report with ``look`` and adds a forecast as :func:`follower` does."""
    follow = follower()
    return lambda: follow(look())


def follower() -> Callable[[StatsReport], StatsReport]:
    """Return a function that adds a forecast to each report, based on how ``pending`` changed in the last minute.

    A single report reads only the newest events. Therefore it does not show how fast older events, such as replayed
    ones, are sent. The function returns the first report unchanged.
    """
    before: deque[StatsReport] = deque()

    def follow(report: StatsReport) -> StatsReport:
        while len(before) > 1 and seconds(report.at - before[1].at) >= _RECENT_S:
            before.popleft()
        drain, eta = _forecast_since(before[0], report) if before else (report.drain, report.drain_eta_s)
        before.append(report)
        return replace(report, drain=drain, drain_eta_s=eta)

    return follow


def _forecast_since(earlier: StatsReport, now: StatsReport) -> tuple[Drain, float | None]:
    if not now.pending:
        return Drain.EMPTY, 0.0
    gone = earlier.pending - now.pending
    if gone > 0:
        elapsed = (now.at - earlier.at).total_seconds()
        return without_stuck(Drain.DRAINING, now.pending * elapsed / gone, now.pending, now.stuck)
    return without_stuck(Drain.GROWING if gone < 0 else Drain.STALLED, None, now.pending, now.stuck)


def without_stuck(drain: Drain, eta: float | None, pending: int, stuck: int) -> tuple[Drain, float | None]:
    """Convert a forecast for all pending events into a forecast for the events that a publisher can send."""
    if pending and stuck >= pending:
        return Drain.BLOCKED, None
    return drain, None if eta is None else round(eta * (pending - stuck) / max(1, pending), 1)


def forecast(recent: Recent, found: Unpublished) -> tuple[Drain, float | None]:
    """Return the backlog's trend, and the number of seconds until it is empty at the last minute's rate.

    The number is None if the backlog is not shrinking.
    """
    if not found.pending:
        return Drain.EMPTY, 0.0
    inward = (recent.recent_created + found.recent_created) / min(_RECENT_S, seconds(recent.now - recent.created_since))
    outward = recent.recent_sent / min(_RECENT_S, seconds(recent.now - recent.sent_since))
    if outward > inward:
        return Drain.DRAINING, round(found.pending / (outward - inward), 1)
    return (Drain.GROWING if inward > outward else Drain.STALLED), None


def seconds(span: timedelta) -> float:
    """Return the length of a time span, but at least one second, because rates are divided by this number."""
    return max(_SHORTEST_S, span.total_seconds())
