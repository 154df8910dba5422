"""Find the pending failure events that would take the tickets of paid orders if a publisher sent them."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.domain.causes import LateFailures
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox.orders_at_risk import late_failures

_LIMITS = Limits(statement=timedelta(seconds=30), index_only_plan=True)


def find_late_failures(engine: Engine, max_retries: int) -> LateFailures:
    """Return these failure events, or none if the role is not allowed to read the payments.

    Raises:
        DatabaseUnavailableError: the database is unavailable.
        ConfigError: payctl's schema or a privilege is missing.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        return late_failures(connection, max_retries)
