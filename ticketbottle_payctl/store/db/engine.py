"""Connect to PostgreSQL, begin transactions, and translate errors.

The first statement of each transaction is sent together with ``BEGIN`` and the limits (``set_config(..., true)``). The
limits do not need an extra round trip, and apply only to this transaction, so they work behind PgBouncer and RDS Proxy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from typing import Any

import psycopg2
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool

from ticketbottle_payctl.errors import ConfigError, DatabaseUnavailableError, PayctlError
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db import driver, pool
from ticketbottle_payctl.store.db.missing_usage import missing_usage
from ticketbottle_payctl.store.db.pool import READ_ONLY

_LIMITS, _SCHEMA, _SETTINGS = "payctl_limits", "payctl_schema", "payctl_settings"
_DEFAULTS = {"connect_timeout": "3", "tcp_user_timeout": "5000", "keepalives_idle": "30"}
_VARIABLES = {"connect_timeout": "PGCONNECT_TIMEOUT", "application_name": "PGAPPNAME"}
"""libpq's environment variables, by parameter. A variable that is set overrides payctl's default."""
_FRESH = "payctl_fresh"
_AUTHENTICATION = {"28P01", "28000"}
_NO_TABLE = "42P01"
_MISSING_OBJECT = {"3F000", _NO_TABLE, "42703", "42704"}
_NO_PRIVILEGE = {"42501"}
_LOCK_NOT_AVAILABLE = "55P03"
_CANNOT_WORK = {
    READ_ONLY: (
        "the database is read-only: DATABASE_URL points to a standby, or the server was made read-only",
        "check that DATABASE_URL names the primary server, then try again",
    ),
    "53100": ("the database server's disk is full", "free or add disk space on the server, then try again"),
    _LOCK_NOT_AVAILABLE: (
        "lock timeout: another session has locked a table or a row that payctl needs",
        "to see which session holds the lock, run `payctl doctor --only backlog`; then try again",
    ),
}
"""The message and the hint for each error code of a server that runs, but cannot do what payctl needs."""

# During a connection attempt the driver gives no error code, only the text of libpq or the server.
_NO_PASSWORD = "no password supplied"  # noqa: S105 - libpq's message
_REFUSED = ("authentication failed", _NO_PASSWORD, "no pg_hba.conf entry", "is not permitted to log in")
_TLS = (
    *("root certificate file", "certificate verify failed", "does not match host name", "does not support SSL"),
    *("certificate file", "private key file", "weak sslmode", "tlsv1 alert", "sslv3 alert", "tlsv13 alert"),
)
_WRONG_SETTING = (
    *("invalid connection option", "invalid integer value", "invalid port number", ' value: "', "could not match "),
    *("channel binding", "authentication method requirement", "definition of service", "service file"),
    *("could not parse network address", "unrecognized configuration parameter", "unsupported startup parameter"),
    *("invalid command-line argument", "socket path", "requires a value", "is not supported by this build"),
)
_NO_SUCH = ('FATAL:  database "', 'FATAL:  role "')


@dataclass(frozen=True, slots=True)
class Limits:
    """The time limits in a transaction for each statement, for each lock wait, and for idle time.

    If ``jit`` is false, the server does not compile statements. Otherwise it compiles every statement with a high
    estimated cost, which takes tens of milliseconds.
    """

    statement: timedelta = timedelta(seconds=30)
    lock: timedelta = timedelta(seconds=5)
    idle: timedelta = timedelta(seconds=60)
    index_only_plan: bool = False
    jit: bool = True


def make_engine(settings: DatabaseSettings, *, application: str = "payctl") -> Engine:
    """Return an engine whose transactions have :class:`Limits`. The engine connects on first use.

    Before use, a pooled connection is replaced if the server closed it or if it was idle for a minute. This check does
    not need a round trip. ``tcp_user_timeout`` limits how long payctl waits on a connection that broke without notice.
    """
    pool_options: dict[str, Any] = (
        {"pool_size": 4, "pool_recycle": 240, "pool_timeout": 5} if settings.pooled else {"poolclass": NullPool}
    )
    engine = create_engine(
        URL.create("postgresql+psycopg2"),
        use_native_hstore=False,
        hide_parameters=True,
        connect_args={**_parameters(settings, application), "connection_factory": driver.Connection},
        execution_options={_SCHEMA: settings.schema, _SETTINGS: (settings, application)},
        **pool_options,
    )
    pool.watch(engine)
    event.listen(engine, "begin", _mark_fresh)
    event.listen(engine, "before_cursor_execute", _open_with_limits, retval=True)
    return engine


def load_driver() -> None:
    """Load the modules that :func:`make_engine` needs, so that later calls are fast. Do not open a connection."""
    for module in ("sqlalchemy.dialects.postgresql.psycopg2", "psycopg2.extras"):
        import_module(module)


def connection_parameters(engine: Engine) -> dict[str, str]:
    """Return the connection parameters, including the password, for opening a connection outside the engine."""
    settings, application = engine.get_execution_options()[_SETTINGS]
    return _parameters(settings, application)


@contextmanager
def transaction(engine: Engine, limits: Limits, *, commit: bool = True) -> Iterator[Connection]:
    """Run a block in one transaction. Commit at the end. Roll back if the block raises or ``commit`` is false.

    Raises:
        DatabaseUnavailableError: the server cannot be reached, refused the connection, or closed it.
        ConfigError: the credentials are wrong, or a table or a privilege is missing.
    """
    with translated_errors(), open_connection(engine, limits) as connection:
        try:
            yield connection
        except DBAPIError as error:
            if _sqlstate(error) == _NO_TABLE:
                _refuse_missing_usage(connection, error)
            raise
        if commit:
            connection.commit()


def open_connection(engine: Engine, limits: Limits) -> Connection:
    """Return a connection whose transactions have ``limits``, for a caller that commits more than once.

    Use the connection inside :func:`translated_errors`.
    """
    return engine.connect().execution_options(**{_LIMITS: limits})


def fetch(connection: Connection, sql: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
    """Run a statement on the driver's own cursor and return its rows.

    The webhook uses this function, because SQLAlchemy's overhead is larger than the time for the webhook's statements.
    The transaction and its limits are the same as with SQLAlchemy. As with SQLAlchemy, a broken connection is removed
    from the pool.
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
    """Translate the driver's errors into payctl's errors. Each new error has the driver's error as its cause."""
    try:
        yield
    except DBAPIError as error:
        translated = _translate(error)
        if translated is None:
            raise
        raise translated from error
    except PoolTimeoutError as error:
        message = "every connection of this process is in use"
        raise DatabaseUnavailableError(
            message, hint="send fewer callbacks at the same time, or start more processes"
        ) from error


def _refuse_missing_usage(connection: Connection, error: DBAPIError) -> None:
    """Raise an error if the tables exist, but the role cannot use their schema."""
    connection.rollback()
    lacks = missing_usage(connection, connection.get_execution_options()[_SCHEMA])
    if lacks is not None:
        raise ConfigError(lacks.fact, hint=f"as the user {lacks.owner}, run in psql", sql=lacks.grant) from error


def is_lock_timeout(error: PayctlError) -> bool:
    """Return whether the error means that the wait for another session's lock timed out."""
    return _sqlstate(error.__cause__) == _LOCK_NOT_AVAILABLE


def is_missing_privilege(error: PayctlError) -> bool:
    """Return whether the error means that the database role lacks a privilege."""
    return _sqlstate(error.__cause__) in _NO_PRIVILEGE


def is_statement_timeout(error: PayctlError) -> bool:
    """Return whether the error means that a statement exceeded its time limit."""
    return _sqlstate(error.__cause__) == "57014"


def _parameters(settings: DatabaseSettings, application: str) -> dict[str, str]:
    """Return libpq's parameters. DATABASE_URL overrides libpq's own variables, which override payctl's defaults."""
    defaults = {"application_name": application, **_DEFAULTS}
    ours = {name: value for name, value in defaults.items() if not os.environ.get(_VARIABLES.get(name, ""))}
    secrets = {name: secret.reveal() for name, secret in settings.secrets.items()}
    return {**ours, "client_encoding": "UTF8", **settings.parameters, **secrets}


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
    """Return the statement. If no transaction is open, put BEGIN and the limits in front of the statement."""
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
        # Without these settings, the planner could scan the whole table for a claim if statistics are stale.
        values |= {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"}
    if limits.index_only_plan or not limits.jit:
        values["jit"] = "off"
    return "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in values.items())


def _milliseconds(duration: timedelta) -> str:
    return str(max(1, int(duration.total_seconds() * 1000)))


def _sqlstate(error: object) -> str | None:
    return getattr(getattr(error, "orig", None), "pgcode", None)


def _translate(error: DBAPIError) -> PayctlError | None:
    state = _sqlstate(error)
    text = str(error.orig).strip().partition("\n")[0] or type(error.orig).__name__
    if (wrong := _wrong_setting(state, text)) is not None:
        return wrong
    if state in _MISSING_OBJECT:
        message = f"payctl's tables or columns are missing: {text}"
        return ConfigError(
            message, hint="run `payctl db upgrade`, and check that DATABASE_URL is the payment service's"
        )
    if state in _NO_PRIVILEGE:
        message = f"the database role lacks a privilege: {text}"
        return ConfigError(message, hint="grant the role the privileges that docs/how-to/database-roles.md lists")
    if state in _CANNOT_WORK:
        message, hint = _CANNOT_WORK[state]
        return DatabaseUnavailableError(message, hint=hint)
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated or _is_passing(state):
        message = f"PostgreSQL is not available: {text}"
        return DatabaseUnavailableError(message, hint="check that the server is up and reachable, then try again")
    return None


def _wrong_setting(state: str | None, text: str) -> ConfigError | None:
    """Return an error if connecting with these settings can never succeed. Otherwise return None.

    The driver often does not give an error code in this case, so this function searches the error's text.
    """
    if state in _AUTHENTICATION or any(words in text for words in _REFUSED):
        return _refused(text)
    if state is not None:
        return None
    if any(words in text for words in _TLS):
        message = f"the TLS settings in DATABASE_URL or the PGSSL variables do not match the server: {text}"
        return ConfigError(
            message,
            hint="check sslmode, sslcert and sslrootcert in DATABASE_URL, and also PGSSLMODE and PGSSLROOTCERT",
        )
    if any(words in text for words in _WRONG_SETTING):
        message = f"a parameter of DATABASE_URL, or a PG variable, is wrong: {text}"
        return ConfigError(
            message, hint="check the parameters after the ? in DATABASE_URL with `payctl config validate`"
        )
    if any(words in text and "does not exist" in text for words in _NO_SUCH):
        message = f"DATABASE_URL names a role or database that does not exist: {text.rpartition('FATAL:  ')[2]}"
        return ConfigError(message, hint="give payctl the payment service's DATABASE_URL")
    return None


def _refused(text: str) -> ConfigError:
    if _NO_PASSWORD in text:
        message = "there is no password in DATABASE_URL, and ~/.pgpass (or PGPASSFILE) has no matching line"
        hint = "write HOST:PORT:DATABASE:USER:PASSWORD into ~/.pgpass, and run `chmod 600 ~/.pgpass`"
        return ConfigError(message, hint=hint)
    message = "PostgreSQL refused the credentials in DATABASE_URL"
    return ConfigError(message, hint="check the user and password in DATABASE_URL")


def _is_passing(state: str | None) -> bool:
    """Return whether the error is temporary, such as a serialization failure or a shortage of resources."""
    return state is not None and (state[:2] in {"08", "40", "53", "55", "57", "58"})
