"""Lock a run while it is running.

The transaction that holds the lock does nothing else, so it does not delay vacuum. The lock is released when the
process or its connection ends, so a killed run does not count as running.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ticketbottle_payctl.errors import LockedError
from ticketbottle_payctl.store.db import advisory_locks
from ticketbottle_payctl.store.db.advisory_locks import Namespace
from ticketbottle_payctl.store.db.engine import Limits, open_connection, translated_errors

# This is nearly PostgreSQL's longest timeout, because a canary or a low rate can make a run very long.
_LIMITS = Limits(idle=timedelta(days=24))
_KEY = "('x' || left({id}, 8))::bit(32)"

AT_WORK = f"""EXISTS (SELECT FROM pg_locks AS l WHERE {advisory_locks.held(Namespace.RUNS)}
    AND l.objid::bigint = {_KEY.format(id="r.id::text")}::bigint)"""
"""An SQL expression that is true if the run in row ``r`` of ``payctl.runs`` is in progress."""

_TRY = f"SELECT {advisory_locks.try_take(Namespace.RUNS, _KEY.format(id='%(run)s') + '::int')}"


@contextmanager
def at_work(engine: Engine, run_id: str) -> Iterator[None]:
    """Hold a run's lock until the block ends.

    Raises:
        LockedError: another process is running this run.
        DatabaseUnavailableError: the server cannot be reached.
    """
    connection = _locked(engine, run_id)
    try:
        yield
    finally:
        with suppress(DBAPIError):  # the connection and its lock were lost; the run's own transactions report this
            connection.close()


def _locked(engine: Engine, run_id: str) -> Connection:
    with translated_errors(), ExitStack() as stack:
        connection = stack.enter_context(open_connection(engine, _LIMITS))
        if not connection.exec_driver_sql(_TRY, {"run": run_id}).scalar_one():
            message = f"run {run_id} is running in another process"
            raise LockedError(message, hint=f"wait until it ends, or end it with `payctl runs cancel {run_id}`")
        stack.pop_all()
        return connection
