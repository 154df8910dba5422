"""Check for rows that slow down the outbox: half-marked rows, and dead rows that vacuum has not removed."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from ticketbottle_payctl.domain.causes import Command
from ticketbottle_payctl.formats import count, duration, size
from ticketbottle_payctl.jobs.doctor.model import Finding, Subject, fail, ok, warn
from ticketbottle_payctl.store.inspect import sessions, tables
from ticketbottle_payctl.store.inspect.tables import Housekeeping
from ticketbottle_payctl.store.outbox import half_marked

_OLD_SNAPSHOT = 300.0
_SMALL = 10_000
_DEAD_SHARE = 0.2
_STALE = timedelta(days=7)
_LISTED = 3
_OFF = "autovacuum_enabled=false"
_SETTINGS = (
    "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,"
    " autovacuum_analyze_scale_factor = 0.02"
)


def old_service(connection: Connection, _: Subject) -> list[Finding]:
    """Check that no half-marked rows exist.

    Such a row has a value in ``"publishedAt"``, but its ``published`` is false. The service that payctl replaced sent
    the events of these rows without marking them fully.
    """
    half = half_marked.count(connection)
    if not half.events:
        return [ok("old-service", "the old service left no half-marked rows")]
    newest = f"the newest from {half.newest:%Y-%m-%d}"
    fact = f'{count(half.events, "event")} with "publishedAt" set although published = false, {newest}'
    meaning = "these events were sent and are not sent again, but every claim has to read them"
    repair = Command(("doctor",), options=("--fix-published-flags",), changes=True, rows=half.events)
    return [warn("old-service", fact, meaning, None, repair)]


def vacuum(connection: Connection, subject: Subject) -> list[Finding]:
    """Check that the outbox is small, or has few dead rows and fresh statistics."""
    found = tables.housekeeping(connection, "outbox")
    if found is None:
        return [fail("vacuum", "table outbox does not exist", "see the result of the columns check")]
    about = f"outbox has {count(found.live, 'row')}, {found.dead:,} for vacuum to remove, {size(found.size)}"
    advice = _advice(found, subject)
    if advice:
        table = f'"{subject.schema}".outbox'
        on = "autovacuum_enabled = true, " if _OFF in found.options else ""
        sql, who = f"VACUUM (ANALYZE) {table}; ALTER TABLE {table} SET ({on}{_SETTINGS})", "as the tables' owner"
        if not found.autovacuum:
            sql, who = f"{sql}; ALTER SYSTEM SET autovacuum = on", f"{who}, and the last one as a superuser"
        return [warn("vacuum", about, advice, who, sql=sql)]
    return [ok("vacuum", about)]


def _advice(found: Housekeeping, subject: Subject) -> str | None:
    if not found.autovacuum or _OFF in found.options:
        return "autovacuum is off: dead rows are never removed, and claims slow down"
    if found.dead > _SMALL and found.dead > _DEAD_SHARE * found.live:
        return "autovacuum is not keeping up, so claims and cleanups also read dead rows"
    if found.live <= _SMALL:
        return None
    if found.last_analyze is None:
        return "the table was never analysed: the planner has no statistics"
    behind = subject.now() - found.last_analyze
    return f"the statistics are {behind.days} days old: the planner may choose slow plans" if behind > _STALE else None


def snapshot(connection: Connection, _: Subject) -> list[Finding]:
    """Check that no session holds an old snapshot, which would keep vacuum from removing dead rows."""
    holders = sessions.snapshot_holders(connection, _OLD_SNAPSHOT)
    findings = []
    for holder in holders[:_LISTED]:
        since = f", for {duration(holder.seconds)}" if holder.seconds is not None else ""
        pid = f", pid {holder.pid}" if holder.pid else ""
        state = f", {holder.state}" if holder.state else ""
        fact = f"{holder.kind} {holder.name}{pid}{since}{state} holds an old snapshot"
        meaning = "vacuum cannot remove rows deleted since then: claims and cleanups slow down"
        remedy, sql = _release(holder)
        findings.append(warn("snapshot", fact, meaning, remedy, sql=sql))
    if not sessions.sees_other_sessions(connection):
        fact = "other roles' sessions cannot be seen"
        remedy = "grant pg_read_all_stats to the role in DATABASE_URL"
        findings.append(
            warn(
                "snapshot",
                fact,
                "a session with an old snapshot, or a publisher, may be missing from this report",
                remedy,
            )
        )
    return findings or [ok("snapshot", f"no session has a snapshot older than {duration(_OLD_SNAPSHOT)}")]


def _release(holder: sessions.SnapshotHolder) -> tuple[str, str]:
    """Return how to release a snapshot: the advice and the SQL statement."""
    match holder.kind:
        case "session":
            return "ask its owner to end it, or", f"SELECT pg_terminate_backend({holder.pid})"
        case "prepared transaction":
            return "its owner must commit it or roll it back", f"ROLLBACK PREPARED '{holder.name}'"
        case _:
            return "start its consumer, or", f"SELECT pg_drop_replication_slot('{holder.name}')"
