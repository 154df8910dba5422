"""Read the database's clock.

Otherwise this machine's clock, which may be wrong, would decide which orders have expired.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import claim

_READ = Limits(statement=timedelta(seconds=10))


def database_clock(engine: Engine) -> Callable[[], datetime]:
    """Read the database's clock once. Return a function that returns the current database time in UTC.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _READ, commit=False) as connection:
        at, since = claim.now(connection).replace(tzinfo=UTC), time.monotonic()
    return lambda: at + timedelta(seconds=time.monotonic() - since)
