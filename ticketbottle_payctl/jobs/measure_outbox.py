"""Measure the outbox for the metrics of the scheduled publisher."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Engine

from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import dead, stats

_LIMITS = Limits(statement=timedelta(seconds=30), index_only_plan=True)
_SHORT = Limits(statement=timedelta(seconds=5), index_only_plan=True)
"""The limits for a query that only makes an alarm more precise.

A scheduled function has only 20 seconds left for this query.
"""

_LATE_AFTER_S = 3600.0
"""``stats.unpublished`` requires this age, but no metric depends on it."""


class OutboxSize(NamedTuple):
    """The numbers of pending and dead events, and the age of the oldest pending event in seconds, in database time."""

    pending: int
    dead: int
    oldest_pending_age_s: float | None


def measure_outbox(engine: Engine, max_retries: int) -> OutboxSize:
    """Count the pending and the dead events.

    Raises:
        DatabaseUnavailableError: the server cannot be reached, or did not answer in time.
        ConfigError: a table or a privilege is missing.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        found = stats.unpublished(connection, max_retries, late_after_s=_LATE_AFTER_S)
    return OutboxSize(found.pending, found.dead, found.oldest_pending_age_s)


def count_harmless_dead(engine: Engine, max_retries: int) -> int:
    """Count the harmless dead events: those that no customer waits for, and that block no pending event.

    The result is 0 if the role is not allowed to read the payments.

    Raises:
        DatabaseUnavailableError: the server cannot be reached, or did not answer in time.
    """
    with transaction(engine, _SHORT, commit=False) as connection:
        return dead.harmless(connection, max_retries)
