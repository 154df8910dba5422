"""Whether a run is at work: it holds an advisory lock by its id for as long as it is.

The lock belongs to a transaction that does nothing else (PgBouncer and RDS Proxy keep it intact, and it holds back no
vacuum) and dies with it: a run that was killed, or lost its database, is seen to be at work no longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ticketbottle_payctl.errors import LockedError
from ticketbottle_payctl.store.db.engine import Limits, open_connection, translated_errors

_NAMESPACE = 7_262_004
# Nearly the longest that PostgreSQL can count: a canary may take long, and so may a low rate.
_LIMITS = Limits(idle=timedelta(days=24))
_KEY = "('x' || left({id}, 8))::bit(32)"

AT_WORK = f"""EXISTS (SELECT FROM pg_locks AS l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
    AND l.classid = {_NAMESPACE}::oid AND l.objid::bigint = {_KEY.format(id="r.id::text")}::bigint
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""  # noqa: S608 - only constants are put in
"""Whether a row ``r`` of ``payctl.runs`` is at work now."""

_HOLD = f"SELECT pg_try_advisory_xact_lock({_NAMESPACE}, {_KEY.format(id='%(run)s')}::int)"


@contextmanager
def at_work(engine: Engine, run_id: str) -> Iterator[None]:
    """Be the one that runs it, until the block ends.

    Raises:
        LockedError: it is at work already.
        DatabaseUnavailableError: the server cannot be reached.
    """
    connection = _held(engine, run_id)
    try:
        yield
    finally:
        with suppress(DBAPIError):  # it was lost, and the lock with it: the run's own transactions say how they fared
            connection.close()


def _held(engine: Engine, run_id: str) -> Connection:
    with translated_errors(), ExitStack() as stack:
        connection = stack.enter_context(open_connection(engine, _LIMITS))
        if not connection.exec_driver_sql(_HOLD, {"run": run_id}).scalar_one():
            message = f"run {run_id} is at work: somebody runs it now"
            raise LockedError(message, hint=f"wait for it, or end it with `payctl runs cancel {run_id}`")
        stack.pop_all()
        return connection
