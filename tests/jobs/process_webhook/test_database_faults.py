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
    """A block with a fault in it: nothing is half done after it, and the next call settles the payment."""

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
    """``hold(payment)``: another session locks the payment's row until it is closed."""
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
    """An engine on ``url`` with another user, password, path or query, unpooled."""
    split = urlsplit(url)
    netloc = f"{user or split.username}:{password or split.password}@{split.hostname}:{split.port}"
    changed = urlunsplit(split._replace(netloc=netloc, **parts))
    return make_engine(DatabaseSettings(Secret(changed), pooled=False))


def words_of(failure):
    """Everything an error says, to whoever prints it and however."""
    error = failure.value
    return f"{error}\n{error.hint}\n" + "".join(traceback.format_exception(error))


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_restart_in_the_middle(shop, postgres, hold, unharmed, mode):
    """A callback that waits for its payment when the server goes is told so; the next one settles."""
    payment = shop.payment("vnpay")
    with unharmed(payment):
        hold(payment)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(shop.process, payment)
            wait_until(lambda: shop.query(WAITING) or None, what="the callback waits for the row", timeout=10)
            postgres.restart(mode)
            with pytest.raises(DatabaseUnavailableError):
                waiting.result(20)


@pytest.mark.parametrize("moment", ["lock", "settle", "commit"])
def test_a_backend_killed(shop, database_url, unharmed, monkeypatch, moment):
    """Before it holds the row, before it writes, or after it wrote and before it commits."""
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


def test_a_payment_that_stays_locked(shop, hold, unharmed, monkeypatch):
    """Somebody else's lock is waited for as long as the limit says, and no longer."""
    monkeypatch.setattr("ticketbottle_payctl.jobs.process_webhook.LIMITS", Limits(lock=timedelta(milliseconds=200)))
    payment = shop.payment("vnpay")
    with unharmed(payment):
        session = hold(payment)
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailableError, match="lock timeout"):
            shop.process(payment)
        assert 0.2 <= time.monotonic() - began < 3
        session.rollback()


def test_the_limits_leave_time_to_answer():
    """Waiting for the row and writing takes less than the ten seconds the least patient gateway gives."""
    assert LIMITS.lock + LIMITS.statement < timedelta(seconds=8)


def test_a_lock_that_is_released_in_time(shop, hold):
    """Then the callback goes on, and its instant is later than the wait."""
    payment = shop.payment("vnpay")
    session = hold(payment)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shop.process, payment)
        wait_until(lambda: shop.query(WAITING) or None, what="the callback waits for the row", timeout=10)
        released = shop.now().replace(tzinfo=None)
        session.rollback()
        assert waiting.result(20).outcome is WebhookOutcome.SETTLED
    assert shop.row(payment)["completedAt"] > released - timedelta(milliseconds=1)  # the column has no more digits


def test_a_payment_deleted_while_we_waited(shop, hold):
    """It is an unknown order then."""
    payment = shop.payment("vnpay")
    session = hold(payment)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shop.process, payment)
        wait_until(lambda: shop.query(WAITING) or None, what="the callback waits for the row", timeout=10)
        session.cursor().execute("DELETE FROM payments WHERE id = %s", (payment.id,))
        session.commit()
        assert waiting.result(20).reason == "unknown_order"


def test_a_standby(shop, database_url, unharmed):
    """A database that only reads is unavailable, and the connection to it is not used again: the address may move."""
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


def test_no_connection_left(shop, database_url, unharmed):
    """A server that takes no more connections is unavailable."""
    payment = shop.payment("vnpay")
    with unharmed(payment):
        shop.query("CREATE ROLE crowded LOGIN PASSWORD 'crowded' CONNECTION LIMIT 0; SELECT 1 AS done")
        try:
            with pytest.raises(DatabaseUnavailableError, match="too many connections"):
                shop.process(payment, engine=engine_with(database_url, user="crowded", password="crowded"))
        finally:
            shop.query("DROP ROLE crowded; SELECT 1 AS done")


def test_a_database_that_forbids_the_update(shop, unharmed):
    """No success is promised and no event or receipt stays where a trigger quietly keeps the payment as it is."""
    payment = shop.payment("vnpay")
    shop.query(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER keep BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION keep(); SELECT 1 AS done"
    )
    with unharmed(payment):
        with pytest.raises(DatabaseUnavailableError, match="kept the payment from being updated"):
            shop.process(payment)
        shop.query("DROP TRIGGER keep ON payments; SELECT 1 AS done")


def test_a_wrong_password(shop, database_url):
    """It is a matter of configuration, and no word of it is repeated anywhere."""
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
def test_a_database_url_that_names_nothing(shop, database_url, parts, words):
    """An unknown user, database or option is a matter of configuration too."""
    with pytest.raises(ConfigError, match="DATABASE_URL") as failure:
        shop.process(shop.payment("vnpay"), engine=engine_with(database_url, **parts))
    assert words in str(failure.value)
    assert urlsplit(database_url).password not in words_of(failure)


def test_a_database_without_payctls_schema(shop):
    """The error names the command that makes it, and the payment waits."""
    payment = shop.payment("vnpay")
    before = shop.row(payment)
    shop.query("DROP SCHEMA payctl CASCADE; SELECT 1 AS done")
    with pytest.raises(ConfigError, match="payctl") as failure:
        shop.process(payment)
    assert "`payctl db upgrade`" in failure.value.hint
    assert (shop.row(payment), shop.events()) == (before, [])


def test_a_database_without_payments(shop, empty_database_url):
    """Another database than the payment service's is told so."""
    with pytest.raises(ConfigError, match='"payments" does not exist') as failure:
        shop.process(shop.payment("vnpay"), engine=engine_with(empty_database_url))
    assert "DATABASE_URL" in failure.value.hint
