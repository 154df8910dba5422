"""Test interrupted claims on a server whose transaction numbers have started again at least once.

A row has only the last 32 bits of a transaction's number, so the claim adds the number's epoch.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from tests.conftest import POSTGRES, engine_of, new_postgres
from tests.store.outbox.conftest import ALL, ids
from ticketbottle_payctl.sandbox.payment_service import create_tables
from ticketbottle_payctl.sandbox.postgres_binaries import find_binaries, server_account
from ticketbottle_payctl.sandbox.server import as_account
from ticketbottle_payctl.store.db.migrations import upgrade
from ticketbottle_payctl.store.outbox import claim as outbox

EPOCH = 3

pytestmark = pytest.mark.postgres


@pytest.fixture
def engine():
    """Yield an engine for a database on an own server in a later epoch."""
    server = new_postgres()
    url = server.create_database("payments")
    engine = engine_of(url)
    with engine.begin() as connection:
        create_tables(connection)
        data = connection.exec_driver_sql("SHOW data_directory").scalar_one()
    upgrade(engine)
    engine.dispose()
    server.stop()
    command = [str(find_binaries(POSTGRES).directory / "pg_resetwal"), "-e", str(EPOCH), "-D", data]
    subprocess.run(command, check=True, capture_output=True, cwd="/", **as_account(server_account()))
    server.restart()
    yield engine
    engine.dispose()
    server.close()


@pytest.mark.parametrize(("end", "interrupted"), [("rollback", True), ("commit", False)])
def test_an_interrupted_claim_is_seen_in_a_later_epoch(engine, add, end, interrupted):
    """In any epoch, a claim finds an earlier claim that was rolled back. A committed row lock does not count."""
    add("a")
    with engine.connect() as other:
        number = other.exec_driver_sql("SELECT pg_current_xact_id()::text::bigint").scalar_one()
        assert number >> 32 == EPOCH
        if interrupted:
            assert outbox.claim(other, replace(ALL, limit=1)).events
        else:
            other.exec_driver_sql("SELECT 1 FROM outbox FOR UPDATE")
        getattr(other, end)()
    with engine.connect() as connection:
        claimed = outbox.claim(connection, ALL)
    assert (ids(claimed), claimed.interrupted) == (["a"], interrupted)
