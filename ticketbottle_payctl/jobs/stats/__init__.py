"""Report the state of the outbox: the backlog and its age, the rates, and when the backlog will be empty."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.domain.causes import (
    Cause,
    Evidence,
    Idle,
    SeenPublisher,
    awaits_rescan,
    causes,
    cut_off,
    harmless,
    idle,
    locked_events,
)
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.db.owner_time import aware
from ticketbottle_payctl.store.inspect.evidence import evidence
from ticketbottle_payctl.store.outbox import republished
from ticketbottle_payctl.store.outbox import stats as store
from ticketbottle_payctl.store.outbox.republished import LongestWait
from ticketbottle_payctl.store.outbox.stats import PARTS, By, Group, Recent, Total, Unpublished

__all__ = ["By", "Drain", "Lag", "StatsReport", "Tally", "collect_stats", "followed", "follower"]

WINDOW = timedelta(hours=1)
"""The default window for rates and lags."""

LIMITS = Limits(statement=timedelta(seconds=30), index_only_plan=True)
_LATE_AFTER = timedelta(hours=1)
_SHORTEST_S = 1.0
_RECENT_S = 60.0


class Drain(StrEnum):
    """The trend of the backlog in the last minute. A single report estimates the trend from the rows that it reads.

    ``BLOCKED`` means that all pending events are blocked or locked, so publishers cannot send any of them.
    """

    EMPTY = "empty"
    BLOCKED = "blocked"
    DRAINING = "draining"
    GROWING = "growing"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Lag:
    """Three percentiles of the lag, which is the time from an event's creation to its publication.

    The percentiles are None if nothing was sent.
    """

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Tally:
    """A row of a breakdown.

    ``published`` counts the events published in the window. It is None in a breakdown of unpublished events.
    """

    label: str | None
    pending: int
    dead: int
    published: int | None
    oldest_age_s: float | None
    error_group: str | None = None


@dataclass(frozen=True, slots=True)
class StatsReport:
    """The state of the outbox.

    Ages, lags and the forecast are in seconds, in database time. Rates are in events per second. The forecast covers
    the pending events that are neither blocked nor locked.

    ``published`` includes events that the old service sent but did not mark as published, and ``sent_unmarked``
    counts these events. ``published`` and ``total`` are estimates unless ``exact`` is True. Rates and lags cover the
    last ``window_s`` seconds. The window is shorter than requested if the newest 10,000 published events do not go back
    that far. ``created`` and ``sent`` count the events in each of the window's 30 parts, oldest first.

    The following fields have values only if the caller asked for an explanation. ``blocked`` counts pending events
    behind a dead event of their payment. ``locked`` counts pending events that other sessions have locked for ten
    seconds. ``superseded`` counts harmless dead events: no customer waits for them, and they block no pending event. It
    is 0 if the role is not allowed to read payments. ``closed`` counts the harmless events that a person has closed.
    ``repeated`` counts the others that repeat a sent success. ``causes`` are the reasons why events are waiting, and
    the pending failure events of paid orders, most urgent first. ``idle`` says that no publisher is active although an
    event could be sent. ``by_debezium`` is True if Debezium publishes the outbox.
    """

    at: datetime
    pending: int
    dead: int
    published: int
    total: int
    exact: bool
    sent_unmarked: int
    late: int
    oldest_pending_age_s: float | None
    oldest_pending_id: str | None
    oldest_dead_age_s: float | None
    lag: Lag
    in_per_s: float
    out_per_s: float
    drain: Drain
    drain_eta_s: float | None
    window_s: float
    created: tuple[int, ...]
    sent: tuple[int, ...]
    by: By | None = None
    items: tuple[Tally, ...] = ()
    blocked: int = 0
    locked: int = 0
    superseded: int = 0
    closed: int = 0
    repeated: int = 0
    causes: tuple[Cause, ...] = ()
    idle: Idle | None = None
    awaits_rescan: bool = False
    """Whether a running publisher has not looked at any of the waiting events since a replay requeued them."""
    by_debezium: bool = False
    away: SeenPublisher | None = None
    """The publisher that cannot reach its brokers, or None."""
    longest: LongestWait | None = None
    """The pending event that has waited longest. None if no event is pending, or if the role cannot read replays.

    A requeued event counts from its replay.
    """

    @property
    def longest_wait_s(self) -> float | None:
        """The longest wait of a pending event, or None if no event is pending.

        If the role is not allowed to read replays, this is the age of the oldest pending event.
        """
        return self.oldest_pending_age_s if self.longest is None else self.longest.age_s

    @property
    def stuck(self) -> int:
        """The number of pending events that no publisher can send, because they are blocked or locked."""
        return min(self.pending, self.blocked + self.locked)

    @property
    def harmful(self) -> tuple[Cause, ...]:
        """The causes that may keep a customer waiting."""
        return tuple(cause for cause in self.causes if not cause.is_harmless)


def collect_stats(
    engine: Engine, *, max_retries: int, since: timedelta = WINDOW, by: By | None = None, explain: bool = False
) -> StatsReport:
    """Read the state of the outbox from the unpublished rows and the newest published rows.

    With ``explain``, also read locks and sessions, and report why events are waiting.

    Raises:
        DatabaseUnavailableError: the server cannot be reached, or did not answer in time.
        ConfigError: a table or a privilege is missing.
    """
    with transaction(engine, LIMITS, commit=False) as connection:
        recent, found, report = read_state(connection, max_retries, since)
        groups = store.groups(connection, max_retries, (by,)) if by and by is not By.STATUS else []
        sent = store.sent_by(connection, by, recent.sent_since) if by in {By.TYPE, By.PROVIDER} and by else {}
        longest = None
        if explain and found.pending and recent.runs_readable:
            longest = republished.longest_wait(connection, max_retries, after_any_replay=True)
        seen = evidence(connection, max_retries, found, recent) if explain else None
    if seen is not None:
        report = replace(explained(report, seen), longest=longest)
    return tallied(report, by, groups, sent)


def read_state(connection: Connection, max_retries: int, since: timedelta) -> tuple[Recent, Unpublished, StatsReport]:
    """Return the recent events, the unpublished events, and a report that does not contain causes or groups yet."""
    recent = store.recent(connection, since.total_seconds())
    found = store.unpublished(connection, max_retries, late_after_s=_LATE_AFTER.total_seconds(), seen=recent)
    return recent, found, _report(recent, found, store.total(connection))


def explained(report: StatsReport, seen: Evidence) -> StatsReport:
    """Return the report with the causes that follow from the evidence."""
    found = causes(seen)
    superseded, closed = harmless(seen)
    report = replace(report, blocked=seen.blocked, locked=locked_events(seen))
    drain, eta = _without_stuck(report.drain, report.drain_eta_s, report.pending, report.stuck)
    return replace(
        report,
        drain=drain,
        drain_eta_s=eta,
        superseded=superseded,
        closed=closed,
        repeated=seen.superseded_repeated,
        causes=found,
        idle=idle(seen),
        awaits_rescan=awaits_rescan(seen),
        by_debezium=seen.slot_active is not None,
        away=cut_off(seen) if seen.slot_active is None else None,
    )


def tallied(report: StatsReport, by: By | None, groups: Sequence[Group], sent: Mapping[str | None, int]) -> StatsReport:
    """Return the report with its breakdown. ``sent`` maps each label to the number of its published events."""
    match by:
        case None:
            return report
        case By.STATUS:
            items = _by_status(report)
        case By.ERROR:
            items = _by_error(groups)
        case By.TYPE | By.PROVIDER:
            items = _by_label(groups, sent)
        case _:
            assert_never(by)
    return replace(report, by=by, items=tuple(items))


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
        while len(before) > 1 and _seconds(report.at - before[1].at) >= _RECENT_S:
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
        return _without_stuck(Drain.DRAINING, now.pending * elapsed / gone, now.pending, now.stuck)
    return _without_stuck(Drain.GROWING if gone < 0 else Drain.STALLED, None, now.pending, now.stuck)


def _without_stuck(drain: Drain, eta: float | None, pending: int, stuck: int) -> tuple[Drain, float | None]:
    """Convert a forecast for all pending events into one for the events that a publisher can send."""
    if pending and stuck >= pending:
        return Drain.BLOCKED, None
    return drain, None if eta is None else round(eta * (pending - stuck) / max(1, pending), 1)


def _report(recent: Recent, found: Unpublished, total: Total) -> StatsReport:
    window_s = _seconds(recent.now - recent.created_since)
    sent_s = _seconds(recent.now - recent.sent_since)
    created = recent.created + found.created
    drain, eta = _forecast(recent, found)
    return StatsReport(
        at=aware(recent.now),
        pending=found.pending,
        dead=found.dead,
        published=max(0, total.rows - found.pending - found.dead),
        total=max(total.rows, found.pending + found.dead + found.sent_unmarked),
        exact=total.exact,
        sent_unmarked=found.sent_unmarked,
        late=found.late,
        oldest_pending_age_s=found.oldest_pending_age_s,
        oldest_pending_id=found.oldest_pending_id,
        oldest_dead_age_s=found.oldest_dead_age_s,
        lag=Lag(recent.lag_p50, recent.lag_p95, recent.lag_p99),
        in_per_s=round(created / window_s, 6),
        out_per_s=round(recent.sent / sent_s, 6),
        drain=drain,
        drain_eta_s=eta,
        window_s=window_s,
        created=_parts(recent.created_in, found.created_in),
        sent=_parts(recent.sent_in),
    )


def _forecast(recent: Recent, found: Unpublished) -> tuple[Drain, float | None]:
    """Return the backlog's trend, and the number of seconds until it is empty at the last minute's rate.

    The number is None if the backlog is not shrinking.
    """
    if not found.pending:
        return Drain.EMPTY, 0.0
    inward = (recent.recent_created + found.recent_created) / min(
        _RECENT_S, _seconds(recent.now - recent.created_since)
    )
    outward = recent.recent_sent / min(_RECENT_S, _seconds(recent.now - recent.sent_since))
    if outward > inward:
        return Drain.DRAINING, round(found.pending / (outward - inward), 1)
    return (Drain.GROWING if inward > outward else Drain.STALLED), None


def _by_status(report: StatsReport) -> list[Tally]:
    return [
        Tally("pending", report.pending, 0, None, report.oldest_pending_age_s),
        Tally("dead", 0, report.dead, None, report.oldest_dead_age_s),
        Tally("published", 0, 0, report.published, None),
    ]


def _by_error(groups: Sequence[Group]) -> list[Tally]:
    return _merged([(group.error, group) for group in groups], None)


def _by_label(groups: Sequence[Group], sent: Mapping[str | None, int]) -> list[Tally]:
    return _merged([(group.event_type or group.provider, group) for group in groups], sent)


def _merged(labelled: Sequence[tuple[str | None, Group]], sent: Mapping[str | None, int] | None) -> list[Tally]:
    """Return one row for each label, sorted by the number of dead events, then of pending events, largest first."""
    rows = []
    for label in dict.fromkeys([*(label for label, _ in labelled), *(sent or ())]):
        of_it = [group for name, group in labelled if name == label]
        rows.append(
            Tally(
                label=label,
                pending=sum(group.events for group in of_it if not group.dead),
                dead=sum(group.events for group in of_it if group.dead),
                published=None if sent is None else sent.get(label, 0),
                oldest_age_s=max((group.age_s for group in of_it), default=None),
                error_group=next((group.error_group for group in of_it), None),
            )
        )
    return sorted(rows, key=lambda row: (-row.dead, -row.pending, row.label or ""))


def _parts(*counted: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sum(each.get(str(part), 0) for each in counted) for part in range(1, PARTS + 1))


def _seconds(span: timedelta) -> float:
    return max(_SHORTEST_S, span.total_seconds())
