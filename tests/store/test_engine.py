"""Test the timeouts, the session settings and the pool of payctl's database connections."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import timedelta

import psycopg2
import pytest
from sqlalchemy import event

from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings, Settings
from ticketbottle_payctl.store.db.engine import Limits, is_lock_timeout, make_engine, transaction

SHOWN = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone", "search_path")
LIMITS = Limits(
    statement=timedelta(milliseconds=150), lock=timedelta(milliseconds=100), idle=timedelta(milliseconds=250)
)


def settings_of(connection):
    """Return the database session's current settings."""
    return {name: connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in SHOWN}


def backend(connection):
    """Return the id of the connection's server process, without a round trip."""
    return connection.connection.dbapi_connection.info.backend_pid


def outside(url, sql, *parameters):
    """Run a statement in another session and return its rows."""
    session = psycopg2.connect(url)
    session.autocommit = True
    try:
        with session.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()
    finally:
        session.close()


def test_limits_hold_from_the_first_statement_of_a_transaction(engine):
    """From its first statement on, a transaction uses payctl's timeouts and the time zone UTC."""
    with transaction(engine, LIMITS) as connection:
        shown = settings_of(connection)
    assert shown["statement_timeout"] == "150ms"
    assert shown["lock_timeout"] == "100ms"
    assert shown["idle_in_transaction_session_timeout"] == "250ms"
    assert shown["timezone"] == "UTC"


def test_the_limits_end_with_the_transaction(engine):
    """After a transaction, the connection has the server's own timeouts again, even behind a pooler."""
    with transaction(engine, LIMITS) as connection:
        first = backend(connection)
    with engine.connect() as connection:
        session = connection.connection.dbapi_connection
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert (cursor.fetchone(), session.info.backend_pid) == (("0",), first)
        session.autocommit = False


def test_limits_hold_in_every_transaction_of_a_connection(engine):
    """A second transaction, and a transaction after a rollback, on one connection have the same timeouts."""
    with engine.execution_options(payctl_limits=LIMITS).connect() as connection:
        for end in (connection.commit, connection.rollback, connection.commit):
            assert settings_of(connection)["lock_timeout"] == "100ms"
            end()


def test_the_first_statement_is_limited(engine):
    """The statement timeout also ends a transaction's first statement, which is sent together with the limits."""
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailableError, match="statement timeout"), transaction(engine, LIMITS) as connection:
        connection.exec_driver_sql("SELECT pg_sleep(30)")
    assert time.monotonic() - began < 5


def test_a_lock_timeout_is_distinguished_from_an_outage(engine):
    """`is_lock_timeout` is true for a lock timeout and false for a lost connection.

    The error of a lock timeout says that another session holds a lock, and names the command that shows the session.
    """
    with transaction(engine, Limits()) as holder:
        holder.exec_driver_sql("LOCK TABLE payments")
        with pytest.raises(DatabaseUnavailableError) as failure, transaction(engine, LIMITS) as connection:
            connection.exec_driver_sql("SELECT count(*) FROM payments")
    assert is_lock_timeout(failure.value)
    assert str(failure.value) == "lock timeout: another session has locked a table or a row that payctl needs"
    assert "payctl doctor --only backlog" in failure.value.hint
    with pytest.raises(DatabaseUnavailableError) as failure, transaction(engine, LIMITS) as connection:
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
    assert not is_lock_timeout(failure.value)


def test_the_schema_of_the_url_is_searched(engine, database_url):
    """Prisma's schema parameter selects the schema with the payments and outbox tables."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA shop; CREATE TABLE shop.payments (here text)")
    settings = Settings.from_env({"DATABASE_URL": f"{database_url}?schema=shop&connection_limit=5"}).database
    other = make_engine(settings)
    with transaction(other, LIMITS) as connection:
        assert connection.exec_driver_sql("SELECT here FROM payments").all() == []
    other.dispose()


def test_a_connection_is_used_again(engine):
    """Two successive transactions use the same pooled connection."""
    pids = []
    for _ in range(2):
        with transaction(engine, LIMITS) as connection:
            connection.exec_driver_sql("SELECT 1")
            pids.append(backend(connection))
    assert pids[0] == pids[1]


def test_a_connection_that_the_server_closed_is_replaced(engine, database_url, caplog):
    """After the server closes a connection, the next transaction succeeds without an extra query or a warning."""
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    with transaction(engine, LIMITS) as connection:
        connection.exec_driver_sql("SELECT 1")
        first = backend(connection)
    outside(database_url, "SELECT pg_terminate_backend(%s, 5000)", first)
    statements.clear()
    with transaction(engine, LIMITS) as connection:
        connection.exec_driver_sql("SELECT 1")
        assert backend(connection) != first
    assert len(statements) == 1
    assert caplog.text == ""


@pytest.mark.parametrize("seconds", [61, 86_400, -86_400])
def test_an_idle_connection_is_replaced(engine, monkeypatch, seconds):
    """A connection that was idle for 60 seconds is replaced, because a firewall might have dropped it.

    Clock jumps are harmless.
    """
    with transaction(engine, LIMITS) as connection:
        connection.exec_driver_sql("SELECT 1")
        first = backend(connection)
    clock = time.time
    monkeypatch.setattr("ticketbottle_payctl.store.db.pool.time.time", lambda: clock() + seconds)
    with transaction(engine, LIMITS) as connection:
        connection.exec_driver_sql("SELECT 1")
        assert backend(connection) != first


def test_a_full_pool_is_reported_as_unavailable(engine, monkeypatch):
    """If no pooled connection becomes free within the time limit, payctl raises DatabaseUnavailableError."""
    monkeypatch.setattr(engine.pool, "_timeout", 0.05)
    with ExitStack() as stack:
        for _ in range(14):
            stack.enter_context(engine.connect())
        with pytest.raises(DatabaseUnavailableError, match="in use"), transaction(engine, LIMITS):
            pass


def test_an_idle_transaction_is_ended_by_the_server(engine, database_url):
    """The server ends a transaction that is idle for too long, so that a stuck process releases its locks."""

    def hang(connection):
        connection.exec_driver_sql("LOCK TABLE payments")
        gone = "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"
        pid = backend(connection)
        wait_until(lambda: outside(database_url, gone, pid), what="the server ended the session", timeout=10)
        assert outside(database_url, "SELECT count(*) FROM payments") == [(0,)]
        connection.exec_driver_sql("SELECT 1")

    with pytest.raises(DatabaseUnavailableError), transaction(engine, LIMITS) as connection:
        hang(connection)


@pytest.mark.parametrize("pooled", [True, False])
def test_the_client_speaks_utf8(database_url, monkeypatch, pooled):
    """The database client sends and receives text as UTF-8, even if PGCLIENTENCODING has a different value."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    engine = make_engine(DatabaseSettings(Secret(database_url), pooled=pooled))
    with transaction(engine, LIMITS) as connection:
        assert connection.exec_driver_sql("SELECT %(text)s", {"text": "Đêm 🎸"}).scalar_one() == "Đêm 🎸"
    engine.dispose()


def test_an_engine_shows_no_password(engine, database_url):
    """Neither the engine's repr nor an error shows the password or a statement's values."""
    assert database_url.split(":")[2].split("@")[0] not in repr(engine)
    with pytest.raises(Exception, match="division") as failure, transaction(engine, LIMITS) as connection:
        connection.exec_driver_sql("SELECT 1 / 0, %(value)s", {"value": "a-canary"})
    assert "canary" not in f"{failure.value}{failure.value.__cause__}"
