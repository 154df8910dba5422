"""Find the pending failure events that a publisher would send after the success of their payments."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.domain.causes import NO_LATE_FAILURES, LateFailures
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import dead
from ticketbottle_payctl.store.outbox.orders_at_risk import orders_at_risk

_LIMITS = Limits(statement=timedelta(seconds=30), index_only_plan=True)


def find_late_failures(engine: Engine, max_retries: int) -> LateFailures:
    """Return these failure events, or none if the role is not allowed to read the payments.

    Raises:
        DatabaseUnavailableError: the database is unavailable.
        ConfigError: payctl's schema or a privilege is missing.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        rights = dead.rights(connection)
        if not rights.payments:
            return NO_LATE_FAILURES
        # Without the right to read receipts, the search does not look for events of unknown types.
        return orders_at_risk(connection, max_retries, rights._replace(receipts=False)).late_failures
