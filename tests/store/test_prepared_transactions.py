"""Test that payctl finds locks and snapshots without a session, of prepared transactions and replication slots."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from ticketbottle_payctl.store.db.advisory_locks import Namespace
from ticketbottle_payctl.store.inspect import publishers, sessions

pytestmark = pytest.mark.postgres


@pytest.fixture
def two_phases(postgres):
    """Run the server with prepared transactions and logical decoding."""
    postgres.restart(settings={"max_prepared_transactions": "3", "wal_level": "logical"})
    yield
    postgres.restart(settings={"max_prepared_transactions": "0", "wal_level": "replica"})


@pytest.fixture
def prepare(two_phases, postgres, clones, template_database, database_url):  # noqa: ARG001 - restarts the server
    """Yield a function that prepares a transaction in this or another database. At the end, roll all of them back."""
    other = clones.create(template_database)
    prepared = []

    def run(name, sql="DELETE FROM outbox", *, elsewhere=False):
        url = postgres.url(other) if elsewhere else database_url
        _execute(url, f"BEGIN; {sql}; PREPARE TRANSACTION '{name}'")
        prepared.append((url, name))

    yield run
    for url, name in prepared:
        _execute(url, f"ROLLBACK PREPARED '{name}'")
    clones.drop(other)


def _execute(url, sql):
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(sql)


@pytest.fixture
def slots(two_phases, database_url):  # noqa: ARG001 - restarts the server
    """Create a logical slot, which holds a snapshot, and a physical slot, which holds no snapshot.

    Drop them at the end.
    """
    _execute(database_url, "SELECT pg_create_logical_replication_slot('decoding', 'pgoutput')")
    _execute(database_url, "SELECT pg_create_physical_replication_slot('empty')")
    yield
    _execute(database_url, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


@pytest.mark.usefixtures("slots")
def test_prepared_transactions_and_slots_hold_snapshots(engine, prepare):
    """Prepared transactions of this database and idle slots with a snapshot are listed, oldest first."""
    prepare("old")
    prepare("of another database", elsewhere=True)
    prepare("young")
    with engine.connect() as connection:
        found = sessions.snapshot_holders(connection, -1)
        assert [(each.kind, each.name, each.pid, each.state) for each in found] == [
            ("prepared transaction", "old", None, None),
            ("prepared transaction", "young", None, None),
            ("replication slot", "decoding", None, "inactive"),
        ]
        assert found[0].seconds > found[1].seconds
        assert [each.name for each in sessions.snapshot_holders(connection, 3600)] == ["decoding"]


def test_a_publisher_whose_transaction_is_prepared_holds_its_shard(engine, prepare):
    """A shard's lock counts even if a prepared transaction holds it."""
    prepare("left", f"SELECT pg_advisory_xact_lock({Namespace.SHARDS:d}, 1000)")
    with engine.connect() as connection:
        assert [(each.shard, each.pid) for each in publishers.working(connection)] == [(0, None)]
