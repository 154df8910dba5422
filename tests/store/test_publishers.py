"""Test the search for publishers that hold a lock, have a session, or have written their names."""

from __future__ import annotations

from contextlib import ExitStack, closing

import psycopg2
import pytest

from ticketbottle_payctl.domain.causes import SeenPublisher
from ticketbottle_payctl.store.db.advisory_locks import MIGRATIONS, Namespace
from ticketbottle_payctl.store.inspect import publishers
from ticketbottle_payctl.store.inspect.publishers import APPLICATION, Publisher
from ticketbottle_payctl.store.outbox import without_brokers
from ticketbottle_payctl.store.outbox.shard_lock import NO_BROKERS_PLACE, REPLAY_PLACE

pytestmark = pytest.mark.postgres
HOLD = f"SELECT pg_advisory_xact_lock({Namespace.SHARDS:d}, {{}})"
NAMES = "INSERT INTO payctl.publishers (shard, owner, since) VALUES (%s, %s, clock_timestamp() + %s::interval)"


@pytest.fixture
def session(database_url):
    """Yield a function that opens a session, runs a statement and returns the session's process id."""
    with ExitStack() as opened:

        def run(sql, application=APPLICATION, **place):
            parameters = {"dsn": database_url, "application_name": application, **place}
            connection = opened.enter_context(closing(psycopg2.connect(**parameters)))
            connection.cursor().execute(sql)
            return connection.info.backend_pid

        yield run


@pytest.fixture
def other_database(clones, template_database):
    """Yield the name of another database on the server."""
    name = clones.create(template_database)
    yield name
    clones.drop(name)


@pytest.fixture
def names(engine):
    """Return a function that records a publisher that was seen at a time relative to now."""

    def run(place, owner, since="0"):
        with engine.begin() as connection:
            connection.exec_driver_sql(NAMES, (place, owner, since))

    return run


def test_only_a_lock_of_a_shard_in_this_database_is_a_publisher_s(reader, session, other_database):
    """Each shard that is locked in this database has one publisher. No other lock counts as a publisher's lock."""
    one = session(HOLD.format(1000), "one")
    two = session(HOLD.format(2002), "")
    for key in (2000, 1001):
        session(HOLD.format(key), "of another database", dbname=other_database)
    session(f"SELECT pg_advisory_xact_lock({Namespace.RUNS:d}, 3000)")
    session(f"SELECT pg_advisory_xact_lock({MIGRATIONS}), pg_advisory_xact_lock({Namespace.SHARDS << 32 | 3000})")
    session("LOCK TABLE outbox")
    address = "127.0.0.1"
    assert publishers.working(reader) == [Publisher(0, 1, one, "one", address), Publisher(1, 2, two, None, address)]


def test_a_role_that_may_not_see_other_sessions_sees_their_locks(reader, session):
    """A role that may not see other roles' sessions still sees which shards are locked, but no address."""
    pid = session(HOLD.format(1000))
    reader.exec_driver_sql("SET ROLE pg_signal_backend")
    assert publishers.working(reader) == [Publisher(0, 1, pid, APPLICATION, "")]


@pytest.mark.parametrize("socket", [False, True], ids=["TCP", "socket"])
def test_an_idle_session_of_a_busy_publisher_is_no_other_publisher(reader, session, socket):
    """A publisher's two sessions have the same address, so the publisher counts once, over a network or a socket."""
    place = {"host": reader.exec_driver_sql("SHOW unix_socket_directories").scalar_one()} if socket else {}
    pid = session(HOLD.format(1000), **place)
    session("SELECT 1", **place)
    assert publishers.seen(reader)[0] == [SeenPublisher(f"pid {pid}, {APPLICATION}", 1, 0.0, working=True)]


def test_the_last_used_session_of_an_address_is_named(reader, session, other_database):
    """If a publisher has several idle sessions, payctl names the session that was used last."""
    session("SELECT 1")
    last = session("SELECT 1")
    session("SELECT 1", "payctl")
    session("SELECT 1", dbname=other_database)
    assert [each.name for each in publishers.seen(reader)[0]] == [f"pid {last}, {APPLICATION}"]


@pytest.mark.parametrize(
    ("sessions", "running", "more"), [(0, 1, 0), (1, 1, 0), (3, 1, 0), (4, 1, 1), (6, 1, 1), (7, 1, 2), (6, 2, 0)]
)
def test_more_than_three_sessions_show_another_publisher(reader, session, sessions, running, more):
    """A publisher has at most three sessions. If there are more sessions, other publishers are on standby."""
    for _ in range(sessions):
        session("SELECT")
    session("SELECT", "payctl stats")
    assert publishers.on_standby(reader, running) == more


def test_a_session_from_another_address_shows_another_publisher(reader, session):
    """Sessions from two addresses belong to two publishers, even if each publisher has only one session."""
    session("SELECT")
    session("SELECT", host=reader.exec_driver_sql("SHOW unix_socket_directories").scalar_one())
    assert [publishers.on_standby(reader, running) for running in (1, 2)] == [1, 0]


def test_a_session_in_another_database_is_no_publisher(reader, session, other_database):
    """A publisher's session in another database on the server is not shown."""
    session("SELECT 1", dbname=other_database)
    assert publishers.seen(reader) == ([], True)


def test_a_publisher_is_never_seen_in_the_future(engine, reader, session, names):
    """If the clock was set back, a publisher counts as seen now. The name of a replay does not count as a publisher."""
    clock = """CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
        BEGIN ATOMIC SELECT '2000-01-01'::timestamptz; END"""
    with engine.begin() as connection:
        connection.exec_driver_sql(clock)
    reader.exec_driver_sql("SET search_path = public, pg_catalog")
    names(REPLAY_PLACE, "replay")
    names(1000, "host:1:a", "1 h")
    assert publishers.seen(reader)[0] == [SeenPublisher("host:1", 1, 0.0)]
    reader.exec_driver_sql("DELETE FROM payctl.publishers")
    reader.commit()  # a transaction keeps the list of sessions that it has read
    pid = session("SELECT 1")
    assert publishers.seen(reader)[0] == [SeenPublisher(f"pid {pid}, {APPLICATION}", None, 0.0)]


def test_only_the_publisher_that_had_no_brokers_reaches_them_again(reader, names):
    """The record of an outage ends only if the publisher that wrote it reaches its brokers.

    The publisher's name stays recorded.
    """
    names(1000, "host:1:a")
    without_brokers.note(reader, "host:1:a", "refused", ended=False)
    read = "SELECT shard, owner FROM payctl.publishers ORDER BY shard"
    away = [(NO_BROKERS_PLACE, "host:1:a cannot reach its brokers: refused"), (1000, "host:1:a")]
    without_brokers.clear(reader, "host:2:b")
    assert reader.exec_driver_sql(read).all() == away
    without_brokers.clear(reader, "host:1:a")
    assert reader.exec_driver_sql(read).all() == [
        (NO_BROKERS_PLACE, "host:1:a reached its brokers"),
        (1000, "host:1:a"),
    ]
