"""Check that everything that payctl needs exists and works. Each finding describes one fact and, if needed, a fix.

The doctor does not change anything. If a check cannot run, the doctor reports this as a finding, and runs the other
checks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.jobs.doctor import (
    callbacks,
    database,
    housekeeping,
    kafka,
    keys,
    orders,
    payments,
    publishers,
    why_events_wait,
)
from ticketbottle_payctl.jobs.doctor.grants import grants
from ticketbottle_payctl.jobs.doctor.kafka import Probe
from ticketbottle_payctl.jobs.doctor.model import DoctorReport, Finding, Status, Subject, fail
from ticketbottle_payctl.jobs.doctor.outbox_index import outbox_index
from ticketbottle_payctl.jobs.doctor.reference_index import reference_index
from ticketbottle_payctl.store.db.engine import Limits, transaction

__all__ = ["CHECKS", "DoctorReport", "Finding", "Status", "Subject", "diagnose"]

_LIMITS = Limits()
_IN_DATABASE: dict[str, Callable[[Connection, Subject], list[Finding]]] = {
    "database": database.server,
    "columns": database.columns,
    "grants": grants,
    "time-zone": database.time_zone,
    "clock": database.clock,
    "old-service": housekeeping.old_service,
    "index": outbox_index,
    "reference-index": reference_index,
    "vacuum": housekeeping.vacuum,
    "snapshot": housekeeping.snapshot,
    "callbacks": callbacks.check,
}
_ELSEWHERE: dict[str, Callable[[Subject, Probe], list[Finding]]] = {
    "schema": lambda subject, _: database.own_schema(subject),
    "kafka": kafka.check,
    "payments": lambda subject, _: payments.check(subject),
    "orders": lambda subject, _: orders.check(subject),
    "keys": lambda subject, _: keys.check(subject),
    "publishers": publishers.check,
    "backlog": why_events_wait.check,
}
CHECKS = (
    "database", "columns", "grants", "schema", "time-zone", "clock", "kafka", "keys", "old-service", "index",
    "reference-index", "vacuum", "snapshot", "callbacks", "payments", "orders", "publishers", "backlog",
)  # fmt: skip
"""The names of the checks, in the order in which they run."""

_NEEDS_DATABASE = frozenset({*_IN_DATABASE, "schema", "payments", "orders", "publishers", "backlog"})


def diagnose(
    subject: Subject, only: Sequence[str] = (), *, looking: Callable[[str], None] = lambda _: None
) -> DoctorReport:
    """Run all checks, or only those named in ``only``. A failed check is a finding, never an exception.

    ``looking`` is called with the name of each check before the check runs.
    """
    chosen = [name for name in CHECKS if not only or name in only]
    findings: list[Finding] = []
    looking("database")
    unreachable = _unreachable(subject) if _NEEDS_DATABASE & set(chosen) else None
    if unreachable is not None:
        left_out = ", ".join(name for name in chosen if name in _NEEDS_DATABASE and name != "database")
        meaning = "nothing works without the database"
        also = f"{meaning}; checks not run: {left_out}" if left_out else meaning
        findings.append(replace(fail("database", unreachable.message, also, unreachable.hint), stops_all=True))
        chosen = [name for name in chosen if name not in _NEEDS_DATABASE]
    probe = Probe(subject)
    for name in chosen:
        looking(name)
        findings.extend(_look(name, subject, probe))
    return DoctorReport(tuple(findings))


def _unreachable(subject: Subject) -> PayctlError | None:
    try:
        with transaction(subject.engine(), _LIMITS, commit=False) as connection:
            connection.exec_driver_sql("SELECT 1")
    except PayctlError as error:
        return error
    return None


def _look(name: str, subject: Subject, probe: Probe) -> list[Finding]:
    try:
        if name in _ELSEWHERE:
            return _ELSEWHERE[name](subject, probe)
        with transaction(subject.engine(), _LIMITS, commit=False) as connection:
            return _IN_DATABASE[name](connection, subject)
    except PayctlError as error:
        return [fail(name, error.message, "this check could not run", error.hint, sql=error.sql)]
