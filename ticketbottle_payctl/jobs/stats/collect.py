"""Read the outbox's rows, and build the report about its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.domain.causes import (
    Evidence,
    awaits_rescan,
    causes,
    cut_off,
    harmless,
    idle,
    locked_events,
)
from ticketbottle_payctl.jobs.stats.breakdown import tallied
from ticketbottle_payctl.jobs.stats.forecast import forecast, seconds, without_stuck
from ticketbottle_payctl.jobs.stats.model import Lag, StatsReport
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.db.owner_time import aware
from ticketbottle_payctl.store.inspect.evidence import evidence
from ticketbottle_payctl.store.outbox import republished
from ticketbottle_payctl.store.outbox import stats as store
from ticketbottle_payctl.store.outbox.stats import PARTS, By, Recent, Total, Unpublished

WINDOW = timedelta(hours=1)
"""The default window for rates and lags."""

LIMITS = Limits(statement=timedelta(seconds=30), index_only_plan=True)
_LATE_AFTER = timedelta(hours=1)


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
    return recent, found, report_of(recent, found, store.total(connection))


def explained(report: StatsReport, seen: Evidence) -> StatsReport:
    """Return the report with the causes that follow from the evidence."""
    found = causes(seen)
    superseded, closed = harmless(seen)
    report = replace(report, blocked=seen.blocked, locked=locked_events(seen))
    drain, eta = without_stuck(report.drain, report.drain_eta_s, report.pending, report.stuck)
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


def report_of(recent: Recent, found: Unpublished, total: Total) -> StatsReport:
    """Return the report that follows from the counts, without causes and without a breakdown."""
    window_s = seconds(recent.now - recent.created_since)
    sent_s = seconds(recent.now - recent.sent_since)
    created = recent.created + found.created
    drain, eta = forecast(recent, found)
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


def _parts(*counted: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sum(each.get(str(part), 0) for each in counted) for part in range(1, PARTS + 1))
