"""Find out from the database why an overdue event has not been sent."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.domain.causes import OVERDUE_AFTER, Cause, CauseKind, causes
from ticketbottle_payctl.errors import ConfigError, DatabaseUnavailableError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.inspect.evidence import evidence
from ticketbottle_payctl.store.outbox import stats

_LIMITS = Limits(statement=timedelta(seconds=10))
_WINDOW = timedelta(minutes=5)
_OF_EVERY_EVENT = {
    CauseKind.DEBEZIUM, CauseKind.BROKERS, CauseKind.NO_PUBLISHER, CauseKind.BETWEEN_RUNS, CauseKind.TABLE_LOCK,
    CauseKind.SHARDS,
}  # fmt: skip


def what_stops_every_event(engine: Engine, max_retries: int) -> Cause | None:
    """Return the cause that stops all events, or None if the database does not show it. Do not connect to the brokers.

    The result is also None if the server does not answer in time, or if the role lacks a privilege.
    """
    try:
        with transaction(engine, _LIMITS, commit=False) as connection:
            recent = stats.recent(connection, _WINDOW.total_seconds())
            found = stats.unpublished(connection, max_retries, late_after_s=OVERDUE_AFTER.total_seconds())
            seen = evidence(connection, max_retries, found, recent)
    except (DatabaseUnavailableError, ConfigError):
        return None
    return next((each for each in causes(seen) if each.kind in _OF_EVERY_EVENT), None)
