"""Find what makes it risky to start a publisher now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Engine

from ticketbottle_payctl.domain.causes import Holder, LateFailures
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.inspect.evidence import table_locks
from ticketbottle_payctl.store.outbox.orders_at_risk import LONGEST, late_failures


class Risks(NamedTuple):
    """The pending failure events that would take the tickets of paid orders, and the locks that would stop a run.

    ``table_locks`` are the sessions that have locked the whole outbox, or wait for such a lock.
    """

    late_failures: LateFailures
    table_locks: Sequence[Holder]


def find_risks(engine: Engine, max_retries: int) -> Risks:
    """Return the risks. No statement takes longer than :data:`LONGEST`.

    If the role is not allowed to read the payments, the result has no failure events.

    Raises:
        DatabaseUnavailableError: the database is unavailable.
        ConfigError: payctl's schema or a privilege is missing.
    """
    with transaction(engine, Limits(statement=LONGEST, index_only_plan=True), commit=False) as connection:
        return Risks(late_failures(connection, max_retries), table_locks(connection))
