"""Divide a window into parts, and build its timeline from the collected data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from ticketbottle_payctl.jobs.report.model import Moment, MomentKind, Pause, Point, Waiting
from ticketbottle_payctl.store.outbox.error_groups import ErrorGroup
from ticketbottle_payctl.store.outbox.flow_in_window import Flow, Parts
from ticketbottle_payctl.store.payctl.received_in_window import Received
from ticketbottle_payctl.store.payctl.runs import Run

_STEPS_S = (1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
_MOST_PARTS = 96
_SHORTEST_LAG_S = 1.0


def parts_of(since: datetime, until: datetime) -> Parts:
    """Divide a window into at most 96 parts with a round length. The parts of a very long window are whole days."""
    wanted = (until - since).total_seconds() / _MOST_PARTS
    step = next((step for step in _STEPS_S if step >= wanted), None)
    return Parts(since, until, step or -(-wanted // _STEPS_S[-1]) * _STEPS_S[-1])


def points_of(flow: Flow, parts: Parts) -> tuple[Point, ...]:
    """Return the counts and lags in each part of the window, and the backlog at the part's end."""
    waiting, points = flow.waiting, []
    for part in range(parts.number):
        found = flow.sent.get(part)
        sent = found.sent if found else 0
        waiting = max(0, waiting + flow.joined.get(part, 0) - sent)
        lags = (found.lag_p50, found.lag_p95, found.longest) if found else (None, None, None)
        points.append(Point(parts.start(part), flow.created.get(part, 0), sent, waiting, *lags))
    return tuple(points)


def pause_of(flow: Flow, points: Sequence[Point], parts: Parts) -> Pause | None:
    """Return the longest period in which events were waiting but none was sent, with its exact start and end.

    Ignore a pause that does not contain a whole part of the window.
    """
    longest: Pause | None = None
    began, before = None, flow.waiting
    for number, point in enumerate(points):
        if point.sent or not before or not point.waiting:
            began = None
        else:
            began = number if began is None else began
            pause = Pause(_began(flow, points, parts, began), _ended(flow, parts, number + 1), point.waiting)
            if longest is None or pause.until - pause.since > longest.until - longest.since:
                longest = pause
        before = point.waiting
    return longest


def _began(flow: Flow, points: Sequence[Point], parts: Parts, part: int) -> datetime:
    """Return when a pause began. ``part`` is the first part that is completely in the pause.

    The pause began in the part before it, either when that part's last event was sent or when the first waiting event
    was created.
    """
    if part == 0:
        return parts.since
    sent, came = flow.sent.get(part - 1), flow.newcomers.get(part - 1)
    if came is None or points[part - 1].waiting > came.number:
        return sent.last if sent else parts.start(part)
    return came.first


def _ended(flow: Flow, parts: Parts, part: int) -> datetime:
    """Return when a pause ended, which is when the next event was sent.

    ``part`` is the part after the last part that is completely in the pause.
    """
    sent = flow.sent.get(part)
    return sent.first if sent else parts.start(part)


def timeline_of(  # noqa: PLR0913 - one argument per section
    parts: Parts,
    at: datetime,
    *,
    flow: Flow | None,
    points: Sequence[Point],
    pause: Pause | None,
    callbacks: Received | None,
    waiting: Waiting,
    dead_groups: Sequence[ErrorGroup],
    runs: Sequence[Run],
) -> tuple[Moment, ...]:
    """Return the moments within the window, sorted by time."""
    found = [*_of_runs(runs), *_of_callbacks(callbacks), *_of_flow(flow, points, pause, parts)]
    found += [
        Moment(group.first, MomentKind.FIRST_DEAD, what=group.pattern, number=group.dead, closed=group.closed)
        for group in dead_groups
    ]
    longest = waiting.longest
    if longest is not None:
        since = at - timedelta(seconds=longest.age_s)
        found.append(Moment(since, MomentKind.OLDEST_PENDING, longest.id, "requeued" if longest.requeued else None))
    within = [moment for moment in found if parts.since <= moment.at <= parts.until]
    return tuple(sorted(within, key=lambda moment: moment.at))


def _of_runs(runs: Sequence[Run]) -> Iterator[Moment]:
    for run in runs:
        yield Moment(run.started_at, MomentKind.RUN_STARTED, run.id, run.command)
        if run.finished_at is not None:
            yield Moment(run.finished_at, MomentKind.RUN_ENDED, run.id, f"{run.command}: {run.status}")


def _of_callbacks(callbacks: Received | None) -> Iterator[Moment]:
    first, last = (callbacks.first_refused, callbacks.last_refused) if callbacks else (None, None)
    if first is not None:
        yield Moment(first.at, MomentKind.FIRST_REFUSED, first.id, first.reason)
    if first is not None and last is not None and last.id != first.id:
        yield Moment(last.at, MomentKind.LAST_REFUSED, last.id, last.reason)


def _of_flow(flow: Flow | None, points: Sequence[Point], pause: Pause | None, parts: Parts) -> Iterator[Moment]:
    if flow is None:
        return
    slowest = flow.slowest
    if slowest is not None and slowest.lag_s >= _SHORTEST_LAG_S:
        yield Moment(slowest.published_at, MomentKind.LONGEST_LAG, slowest.id, slowest.event_type, slowest.lag_s)
    if pause is not None:
        yield Moment(pause.since, MomentKind.PAUSE, number=pause.waiting, until=pause.until)
    most = max(range(len(points)), key=lambda number: points[number].waiting)
    if points[most].waiting:
        yield Moment(parts.start(most + 1), MomentKind.MOST_WAITING, number=points[most].waiting)
