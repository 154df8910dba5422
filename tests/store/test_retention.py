"""Test the search for events and receipts from before a given time, and the order of their deletion."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.store.conftest import NOON
from ticketbottle_payctl.domain.event import START
from ticketbottle_payctl.store.outbox import retention
from ticketbottle_payctl.store.outbox.retention import Amount, Expired

pytestmark = pytest.mark.postgres
MILLISECOND, MICROSECOND, HOUR = timedelta(milliseconds=1), timedelta(microseconds=1), timedelta(hours=1)
_EVENT = 'UPDATE outbox SET "createdAt" = %s, "publishedAt" = %s, published = %s WHERE id = %s'


@pytest.fixture
def send(engine):
    """Return a function that inserts an event that was published ``after`` noon and created an hour before."""

    def run(name, after, *, marked=True):
        Orders(engine).event(id=name, state="published")
        at = NOON.replace(tzinfo=None) + after
        with engine.begin() as connection:
            connection.exec_driver_sql(_EVENT, (at - HOUR, at, marked, name))
        return name

    return run


@pytest.fixture
def connection(engine):
    """Yield a connection that does not wait for locks, and whose transaction is rolled back after the test."""
    with engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '1s'")
        yield connection


def left(connection, table="outbox"):
    """Return the ids of the rows of a table, sorted."""
    return sorted(connection.exec_driver_sql(f"SELECT id::text FROM {table}").scalars())  # noqa: S608


@pytest.mark.parametrize("half_marked", [False, True])
def test_only_events_from_before_the_horizon_have_expired(send, connection, half_marked):
    """An event has expired if it was published before the horizon. Half-marked events are selected separately."""
    for marked in (True, False):
        for name, after in (("before", -MILLISECOND), ("at", 0 * HOUR), ("behind", MILLISECOND)):
            send(f"{name} {marked}", after, marked=marked)
    wanted = Expired(NOON, half_marked)
    measured = retention.measure(connection, wanted)
    assert (measured.rows, measured.bytes > 0, retention.count(connection, wanted, 9)) == (1, True, 1)
    everything = left(connection)
    found = retention.delete_next(connection, wanted, START, 9, whole=False)
    assert (found.found, found.deleted, found.bytes > 0) == (1, 1, True)
    assert found.last[1] == f"before {not half_marked}"
    assert left(connection) == [name for name in everything if name != found.last[1]]


def test_an_event_without_a_time_of_publication_expires_by_its_creation(send, execute, connection):
    """A published event without ``"publishedAt"`` has expired if it was created before the horizon."""
    for name, after in (("before", HOUR - MILLISECOND), ("at", HOUR)):
        send(name, after)
    execute('UPDATE outbox SET "publishedAt" = NULL')
    found = retention.delete_next(connection, Expired(NOON), START, 9, whole=False)
    assert (found.deleted, left(connection)) == (1, ["at"])


def test_a_batch_has_the_oldest_events_and_ends_at_its_last_one(send, connection):
    """A batch deletes the oldest expired events up to the limit, and the next batch begins after them."""
    names = [send(name, number * MILLISECOND) for number, name in enumerate(("d", "b", "c", "a"))]
    wanted = Expired(NOON + HOUR)
    assert [retention.count(connection, wanted, limit) for limit in (3, 9)] == [3, 4]
    after = START
    for done in (2, 4):
        found = retention.delete_next(connection, wanted, after, 2, whole=True)
        assert (found.found, found.deleted, found.last[1]) == (2, 2, names[done - 1])
        assert [line.partition('"id":"')[2][0] for line in found.lines] == names[done - 2 : done]
        assert left(connection) == sorted(names[done:])
        after = found.last


def test_a_batch_leaves_out_the_events_that_another_session_has_locked(send, engine, connection):
    """A batch deletes the unlocked expired events and does not wait for the locked ones."""
    names = [send(name, number * MILLISECOND) for number, name in enumerate("abc")]
    with engine.connect() as other:
        other.exec_driver_sql("SELECT FROM outbox WHERE id = 'a' FOR UPDATE")
        found = retention.delete_next(connection, Expired(NOON + HOUR), START, 2, whole=False)
    assert (found.found, found.deleted, left(connection)) == (2, 2, names[:1])


def test_without_expired_events_nothing_is_deleted(send, connection):
    """If no event has expired, the batch is empty, and the measured size is zero."""
    send("behind", HOUR)
    assert retention.measure(connection, Expired(NOON)) == Amount(0, 0)
    assert retention.delete_next(connection, Expired(NOON), START, 9, whole=True) == (0, 0, 0, None, [], False)


def test_the_oldest_receipts_from_before_an_instant_are_deleted(engine, call, connection):
    """The receipts that arrived before a given time are deleted, oldest first, up to the limit."""
    orders = Orders(engine)
    for after in (-2 * HOUR, -HOUR, -MICROSECOND, 0 * HOUR, HOUR):
        call(orders, after)
    assert retention.count_receipts(connection, NOON) == 3
    for limit, deleted, kept in ((2, 2, 3), (1, 1, 2), (9, 0, 2)):
        assert retention.delete_receipts(connection, NOON, limit) == deleted
        assert left(connection, "payctl.webhook_receipts") == sorted(orders.receipts[-kept:])


def test_locked_receipts_are_not_deleted(engine, call, connection):
    """Receipts that another session has locked are skipped without waiting for the lock."""
    orders = Orders(engine)
    for after in (-2 * HOUR, -HOUR):
        call(orders, after)
    with engine.connect() as other:
        other.exec_driver_sql("SELECT FROM payctl.webhook_receipts ORDER BY received_at LIMIT 1 FOR UPDATE")
        assert retention.delete_receipts(connection, NOON, 2) == 1
    assert left(connection, "payctl.webhook_receipts") == orders.receipts[:1]
