"""Find out why events are waiting. If an event is overdue or dead, at least one finding is a warning or a failure."""

from __future__ import annotations

from dataclasses import replace

from ticketbottle_payctl.domain.causes import OVERDUE_AFTER, SENDABLE, Brokers, Cause, Evidence, causes
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.formats import count, duration
from ticketbottle_payctl.jobs.doctor.kafka import Probe
from ticketbottle_payctl.jobs.doctor.model import Finding, Subject, fail, ok, warn
from ticketbottle_payctl.store.db.engine import Limits, is_lock_timeout, transaction
from ticketbottle_payctl.store.inspect.evidence import evidence, table_locks
from ticketbottle_payctl.store.outbox import stats

_LIMITS = Limits(index_only_plan=True)
_OTHER_LOCK = (
    "no session locks the outbox table now; to see which session locks or wants to lock another table, run in psql"
)
_ALL_LOCKS = (
    "SELECT l.pid, l.relation::regclass, l.granted FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database"
    " WHERE l.mode = 'AccessExclusiveLock' AND l.relation IS NOT NULL AND d.datname = current_database()"
)


def check(subject: Subject, probe: Probe) -> list[Finding]:
    """Explain why events are pending or dead. Probe the brokers only if an event is overdue.

    Raises:
        DatabaseUnavailableError: the server cannot be reached, or did not answer in time.
        ConfigError: a table or a privilege is missing.
    """
    found = read_evidence(subject)
    late = OVERDUE_AFTER.total_seconds()
    overdue = any(one.reason in SENDABLE and one.oldest_s > late for one in found.waiting)
    because = causes(found, probe.brokers() if overdue else Brokers())
    return [finding_of(cause) for cause in because] or [ok("backlog", _all_well(found))]


def read_evidence(subject: Subject) -> Evidence:
    """Return what the database shows about waiting events. If a lock on the outbox hides them, return only the lock.

    Raises:
        DatabaseUnavailableError, ConfigError: see :func:`check`.
    """
    try:
        with transaction(subject.engine(), _LIMITS, commit=False) as connection:
            recent = stats.recent(connection)
            found = stats.unpublished(connection, subject.max_retries, late_after_s=OVERDUE_AFTER.total_seconds())
            return evidence(connection, subject.max_retries, found, recent)
    except DatabaseUnavailableError as error:
        if not is_lock_timeout(error):
            raise
        with transaction(subject.engine(), _LIMITS, commit=False) as connection:
            locks = table_locks(connection)
        if not locks:
            raise DatabaseUnavailableError(error.message, hint=_OTHER_LOCK, sql=_ALL_LOCKS) from error.__cause__
        return Evidence(table_locks=locks)


def finding_of(cause: Cause) -> Finding:
    """Return the finding about a cause."""
    finding = (warn if cause.ends_by_itself or cause.is_harmless else fail)(
        "backlog", cause.fact, cause.meaning, cause.advice, cause.command, sql=cause.sql
    )
    return replace(finding, harmless=cause.is_harmless)


def _all_well(found: Evidence) -> str:
    dead = "none is dead"
    if found.dead:
        dead = f"{count(found.dead, 'dead event')} closed by an operator"
    if not found.pending:
        return f"no event is pending; {dead}" if found.dead else "no event is pending or dead"
    return f"{count(found.pending, 'event')} pending, the oldest for {duration(found.oldest_s or 0)}; {dead}"
