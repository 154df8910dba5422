"""Test that a callback writes everything or nothing if the database fails, blocks or is misconfigured."""

from __future__ import annotations

import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg2
import pytest
from sqlalchemy import event

from ticketbottle_payctl.errors import ConfigError, DatabaseUnavailableError
from ticketbottle_payctl.jobs.process_webhook import LIMITS, WebhookOutcome
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import Limits, make_engine
from ticketbottle_payctl.store.payments import settle as payments

WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def unharmed(shop):
    """Return a context manager that asserts that a fault in its block changed nothing.

    The context manager also asserts that the next callback settles the payment.
    """

    @contextmanager
    def check(payment):
        before = shop.tables()
        yield
        assert shop.tables() == before
        assert shop.process(payment).outcome is WebhookOutcome.SETTLED
        assert len(shop.events(payment)) == 1

    return check


@pytest.fixture
def hold(database_url):
    """Yield a function that locks a payment's row in another session and returns the session."""
    sessions = []

    def locked(payment):
        session = psycopg2.connect(database_url)
        sessions.append(session)
        session.cursor().execute("SELECT 1 FROM payments WHERE id = %s FOR UPDATE", (payment.id,))
        return session

    yield locked
    for session in sessions:
        session.close()


def engine_with(url, user=None, password=None, **parts):
    """Return an unpooled engine for ``url`` with a different user, password, path or query."""
    split = urlsplit(url)
    netloc = f"{user or split.username}:{password or split.password}@{split.hostname}:{split.port}"
    changed = urlunsplit(split._replace(netloc=netloc, **parts))
    return make_engine(DatabaseSettings(Secret(changed), pooled=False))


def words_of(failure):
    """Return all text in an error: its message, hint and traceback."""
    error = failure.value
    return f"{error}\n{error.hint}\n" + "".join(traceback.format_exception(error))


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_callback_that_waits_during_a_database_restart_fails_cleanly(shop, postgres, hold, unharmed, mode):
    """If the database restarts while a callback waits for a lock, the callback fails, and the next one succeeds."""
    payment = shop.payment("vnpay")
    with unharmed(payment):
        hold(payment)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(shop.process, payment)
            wait_until(lambda: shop.query(WAITING), what="the callback waits for the row", timeout=10)
            postgres.restart(mode)
            with pytest.raises(DatabaseUnavailableError):
                waiting.result(20)


@pytest.mark.parametrize("moment", ["lock", "settle", "commit"])
def test_a_killed_database_session_leaves_no_partial_write(shop, database_url, unharmed, monkeypatch, moment):
    """If the database session ends before the lock, write or commit, a callback changes nothing."""
    payment = shop.payment("vnpay")
    engine = engine_with(database_url)

    def kill(connection):
        pid = connection.connection.dbapi_connection.info.backend_pid
        shop.query("SELECT pg_terminate_backend(%s, 5000)", pid)

    def killed_before(step):
        return lambda connection, *values: kill(connection) or step(connection, *values)

    with unharmed(payment), monkeypatch.context() as patch:
        if moment == "commit":
            event.listen(engine, "commit", kill)
        else:
            patch.setattr(payments, moment, killed_before(getattr(payments, moment)))
        with pytest.raises(DatabaseUnavailableError):
            shop.process(payment, engine=engine)
        patch.undo()


def test_a_callback_waits_for_a_locked_payment_up_to_the_limit(shop, hold, unharmed, monkeypatch):
    """If a payment stays locked until the lock timeout, its callback fails and changes nothing."""
    monkeypatch.setattr("ticketbottle_payctl.jobs.process_webhook.LIMITS", Limits(lock=timedelta(milliseconds=200)))
    payment = shop.payment("vnpay")
    with unharmed(payment):
        session = hold(payment)
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailableError, match="lock timeout"):
            shop.process(payment)
        assert 0.2 <= time.monotonic() - began < 3
        session.rollback()


def test_the_database_limits_leave_time_to_answer_the_gateway():
    """A callback's time limits add up to less than 8 seconds, so payctl replies to the gateway in time."""
    assert LIMITS.lock + LIMITS.statement < timedelta(seconds=8)


def test_a_callback_settles_after_the_lock_is_released(shop, hold):
    """If a callback waits for a lock, it settles its payment after the lock is released."""
    payment = shop.payment("vnpay")
    session = hold(payment)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shop.process, payment)
        wait_until(lambda: shop.query(WAITING), what="the callback waits for the row", timeout=10)
        released = shop.now().replace(tzinfo=None)
        session.rollback()
        assert waiting.result(20).outcome is WebhookOutcome.SETTLED
    assert shop.row(payment)["completedAt"] > released - timedelta(milliseconds=1)  # the column has only milliseconds


def test_a_payment_that_is_deleted_during_the_wait_is_an_unknown_order(shop, hold):
    """If another session deletes a payment while its callback waits, the callback is refused as unknown_order."""
    payment = shop.payment("vnpay")
    session = hold(payment)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shop.process, payment)
        wait_until(lambda: shop.query(WAITING), what="the callback waits for the row", timeout=10)
        session.cursor().execute("DELETE FROM payments WHERE id = %s", (payment.id,))
        session.commit()
        assert waiting.result(20).reason == "unknown_order"


def test_a_read_only_database_is_unavailable(shop, database_url, unharmed):
    """If the database is read-only, a callback fails, and payctl does not use the connection again."""
    payment = shop.payment("vnpay")
    with unharmed(payment):
        name = database_url.rpartition("/")[2]
        shop.query(f"ALTER DATABASE {name} SET default_transaction_read_only = on; SELECT 1 AS done")
        engine = make_engine(DatabaseSettings(Secret(database_url)))
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError, match="read-only"):
                shop.process(payment, engine=engine)
        with closing(psycopg2.connect(database_url)) as session:
            session.autocommit = True
            session.set_session(readonly=False)
            session.cursor().execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        assert shop.process(payment, engine=engine, dry_run=True).outcome is WebhookOutcome.SETTLED
        engine.dispose()


def test_a_server_without_free_connections_is_unavailable(shop, database_url, unharmed):
    """If the database server accepts no more connections, a callback fails with DatabaseUnavailableError."""
    payment = shop.payment("vnpay")
    with unharmed(payment):
        shop.query("CREATE ROLE crowded LOGIN PASSWORD 'crowded' CONNECTION LIMIT 0; SELECT 1 AS done")
        try:
            with pytest.raises(DatabaseUnavailableError, match="too many connections"):
                shop.process(payment, engine=engine_with(database_url, user="crowded", password="crowded"))
        finally:
            shop.query("DROP ROLE crowded; SELECT 1 AS done")


def test_a_trigger_that_suppresses_the_update_is_an_error(shop, unharmed):
    """If a trigger suppresses a payment's update, payctl raises an error and does not write an event or a receipt."""
    payment = shop.payment("vnpay")
    shop.query(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER keep BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION keep(); SELECT 1 AS done"
    )
    with unharmed(payment):
        with pytest.raises(DatabaseUnavailableError, match="did not update the payment"):
            shop.process(payment)
        shop.query("DROP TRIGGER keep ON payments; SELECT 1 AS done")


def test_a_wrong_database_password_is_a_config_error(shop, database_url):
    """A wrong database password raises a ConfigError that does not contain the password."""
    wrong = uuid4().hex
    with pytest.raises(ConfigError, match="refused the credentials in DATABASE_URL") as failure:
        shop.process(shop.payment("vnpay"), engine=engine_with(database_url, password=wrong))
    assert wrong not in words_of(failure)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"user": "nobody-here"}, "refused the credentials"),
        ({"path": "/no_such_database"}, 'database "no_such_database" does not exist'),
        ({"query": "options=-c%20no_such%3D1"}, 'unrecognized configuration parameter "no_such"'),
    ],
)
def test_an_unknown_user_database_or_option_is_a_config_error(shop, database_url, parts, words):
    """An unknown user, database or option raises a ConfigError that names DATABASE_URL but not the password."""
    with pytest.raises(ConfigError, match="DATABASE_URL") as failure:
        shop.process(shop.payment("vnpay"), engine=engine_with(database_url, **parts))
    assert words in str(failure.value)
    assert urlsplit(database_url).password not in words_of(failure)


def test_a_callback_without_payctls_schema_is_a_config_error(shop):
    """If payctl's schema is missing, a callback changes nothing, and the error names `payctl db upgrade`."""
    payment = shop.payment("vnpay")
    before = shop.row(payment)
    shop.query("DROP SCHEMA payctl CASCADE; SELECT 1 AS done")
    with pytest.raises(ConfigError, match="payctl") as failure:
        shop.process(payment)
    assert "`payctl db upgrade`" in failure.value.hint
    assert (shop.row(payment), shop.events()) == (before, [])


def test_a_database_without_the_table_payments_is_a_config_error(shop, empty_database_url):
    """If the payments table is missing, a callback raises a ConfigError whose hint names DATABASE_URL."""
    with pytest.raises(ConfigError, match='"payments" does not exist') as failure:
        shop.process(shop.payment("vnpay"), engine=engine_with(empty_database_url))
    assert "DATABASE_URL" in failure.value.hint
