"""The one door to PostgreSQL: how a connection is made, what every transaction begins with, whose fault an error is.

``BEGIN`` and the limits travel in the message of each transaction's first statement (``set_config(..., true)``): they
cost no round trip, end with the transaction, and so pass through PgBouncer and RDS Proxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

import psycopg2
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool

from ticketbottle_payctl.errors import ConfigError, DatabaseUnavailableError, PayctlError
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db import driver, pool
from ticketbottle_payctl.store.db.pool import READ_ONLY

_LIMITS, _SCHEMA = "payctl_limits", "payctl_schema"
_FRESH = "payctl_fresh"
_AUTHENTICATION = {"28P01", "28000"}
_MISSING_OBJECT = {"3F000", "42P01", "42703", "42704"}
_NO_PRIVILEGE = {"42501"}

# While connecting, the driver has no error code to offer, only libpq's and the server's words.
_REFUSED = ("authentication failed", "no password supplied", "no pg_hba.conf entry", "is not permitted to log in")
_NO_SUCH = ('FATAL:  database "', 'FATAL:  role "')


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one transaction may keep the database waiting, and be kept waiting by it."""

    statement: timedelta = timedelta(seconds=30)
    lock: timedelta = timedelta(seconds=5)
    idle: timedelta = timedelta(seconds=60)
    index_only_plan: bool = False


def make_engine(settings: DatabaseSettings, *, application: str = "payctl") -> Engine:
    """An engine whose transactions carry :class:`Limits`. Connects on first use, never before.

    A pooled connection that the server closed is replaced before use, and so is one that lay idle for a minute: no
    round trip is spent on asking. ``tcp_user_timeout`` bounds what remains, a flow that was lost silently.
    """
    pool_options: dict[str, Any] = (
        {"pool_size": 4, "pool_recycle": 240, "pool_timeout": 5} if settings.pooled else {"poolclass": NullPool}
    )
    engine = create_engine(
        settings.url.reveal().replace("postgresql://", "postgresql+psycopg2://", 1),
        use_native_hstore=False,
        hide_parameters=True,
        connect_args={
            "connect_timeout": 3,
            "tcp_user_timeout": 5000,
            "keepalives_idle": 30,
            "application_name": application,
            "client_encoding": "UTF8",
            "connection_factory": driver.Connection,
        },
        execution_options={_SCHEMA: settings.schema},
        **pool_options,
    )
    pool.watch(engine)
    event.listen(engine, "begin", _mark_fresh)
    event.listen(engine, "before_cursor_execute", _open_with_limits, retval=True)
    return engine


@contextmanager
def transaction(engine: Engine, limits: Limits, *, commit: bool = True) -> Iterator[Connection]:
    """One transaction: committed when the block ends, rolled back when it raises or when ``commit`` is false.

    Raises:
        DatabaseUnavailableError: the server cannot be reached, refused us, or went away in the middle.
        ConfigError: the credentials, a table or a privilege are not as payctl needs them.
    """
    with translated_errors(), open_connection(engine, limits) as connection:
        yield connection
        if commit:
            connection.commit()


def open_connection(engine: Engine, limits: Limits) -> Connection:
    """A connection whose every transaction carries ``limits``; for a caller that commits more than once.

    Use it inside :func:`translated_errors`.
    """
    return engine.connect().execution_options(**{_LIMITS: limits})


def fetch(connection: Connection, sql: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
    """Run a statement on the driver's own cursor and return its rows, none for one that returns nothing.

    For the webhook's few statements, where SQLAlchemy's own work around a statement takes longer than the statement.
    Everything else is as usual: the transaction and its limits, a broken connection leaving the pool.
    """
    if not connection.in_transaction():
        connection.begin()
    session: Any = connection.connection.dbapi_connection
    try:
        with session.cursor() as cursor:
            cursor.execute(_opened(connection, sql), parameters)
            return list(cursor.fetchall()) if cursor.description else []
    except psycopg2.Error as error:
        useless = bool(session.closed) or error.pgcode == READ_ONLY
        if useless:
            connection.invalidate(error)
        raise DBAPIError.instance(None, None, error, psycopg2.Error, connection_invalidated=useless) from error


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the driver's errors into ours, the original kept as the cause."""
    try:
        yield
    except DBAPIError as error:
        translated = _translate(error)
        if translated is None:
            raise
        raise translated from error
    except PoolTimeoutError as error:
        message = "every connection of this process is in use"
        raise DatabaseUnavailableError(message, hint="try again; fewer callbacks at once, or more processes") from error


def is_lock_timeout(error: PayctlError) -> bool:
    """True where the database is well and another session holds a row or lock that was waited for."""
    return _sqlstate(error.__cause__) == "55P03"


def _mark_fresh(connection: Connection) -> None:
    connection.info[_FRESH] = True


def _open_with_limits(
    connection: Connection,
    _cursor: object,
    statement: str,
    parameters: object,
    _context: object,
    _executemany: bool,  # noqa: FBT001
) -> tuple[str, object]:
    return _opened(connection, statement), parameters


def _opened(connection: Connection, statement: str) -> str:
    """The statement, behind what opens its transaction where it is the first one."""
    if not connection.info.pop(_FRESH, False):
        return statement
    options = connection.get_execution_options()
    return f"{driver.BEGIN}; {_limits_sql(options.get(_LIMITS, Limits()), options[_SCHEMA])};\n{statement}"


@lru_cache(maxsize=32)
def _limits_sql(limits: Limits, schema: str) -> str:
    values = {
        "statement_timeout": _milliseconds(limits.statement),
        "lock_timeout": _milliseconds(limits.lock),
        "idle_in_transaction_session_timeout": _milliseconds(limits.idle),
        "timezone": "UTC",
    }
    if schema != "public":
        values["search_path"] = f'"{schema}"'
    if limits.index_only_plan:
        # Stale statistics must not turn the claim into a scan of the whole table.
        values |= {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off", "jit": "off"}
    return "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in values.items())


def _milliseconds(duration: timedelta) -> str:
    return str(max(1, int(duration.total_seconds() * 1000)))


def _sqlstate(error: object) -> str | None:
    return getattr(getattr(error, "orig", None), "pgcode", None)


def _translate(error: DBAPIError) -> PayctlError | None:
    state = _sqlstate(error)
    text = str(error.orig).strip().partition("\n")[0] or type(error.orig).__name__
    if state in _AUTHENTICATION or any(words in text for words in _REFUSED):
        message = "PostgreSQL refused the credentials in DATABASE_URL"
        return ConfigError(message, hint="check the user and password in DATABASE_URL")
    if state is None and (
        any(words in text and "does not exist" in text for words in _NO_SUCH) or "invalid connection option" in text
    ):
        message = f"DATABASE_URL names what is not there: {text.rpartition('FATAL:  ')[2]}"
        return ConfigError(message, hint="check DATABASE_URL; it is the payment service's own")
    if state in _MISSING_OBJECT:
        message = f"the database has not what payctl needs: {text}"
        return ConfigError(
            message, hint="run `payctl db upgrade`, and check that DATABASE_URL is the payment service's"
        )
    if state in _NO_PRIVILEGE:
        message = f"the database role may not do this: {text}"
        return ConfigError(message, hint="grant the role what docs/database-roles.md lists for it")
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated or _is_passing(state):
        message = f"PostgreSQL is not available: {text}"
        return DatabaseUnavailableError(message, hint="check that the server is up and reachable, then try again")
    return None


def _is_passing(state: str | None) -> bool:
    """Serialization failures, resource shortage, read-only standby, operator intervention: later it may work."""
    return state is not None and (state[:2] in {"08", "40", "53", "55", "57", "58"} or state == READ_ONLY)
