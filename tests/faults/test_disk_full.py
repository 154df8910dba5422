"""Test that payctl survives if the disk of the database, the broker or an archive is full.

In each test, the disk later has free space again.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from tests.checker import Verdict, audit, rows_of
from tests.checker.archive import ArchiveFaults, archived_rows, judge_archive
from tests.conftest import POSTGRES, engine_of, started_or_skipped
from tests.faults.business import TOPICS, Business
from tests.faults.shop import Command
from tests.servers.apache_kafka import ApacheKafka
from tests.servers.small_disk import SmallDisk
from ticketbottle_payctl.sandbox.payment_service import create_tables, insert_events
from ticketbottle_payctl.sandbox.postgres import Postgres
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.store.db.migrations import upgrade

pytestmark = pytest.mark.timeout(180)

TIGHT = {"max_wal_size": "32MB", "min_wal_size": "32MB"}
"""PostgreSQL settings that limit the write-ahead log's size, so that the log fits on the small disk."""

GROW = {
    "the tables": "INSERT INTO heap SELECT repeat('x', 900) FROM generate_series(1, 1000)",
    "the log": "SELECT pg_switch_wal() FROM pg_logical_emit_message(false, 'heap', repeat('x', 900000))",
}
FULL = "No space left on device"


@pytest.fixture
def disk(made):
    """Yield a function that mounts a small file system. The function takes the size in megabytes."""
    started = []

    def mount(megabytes):
        started.append(made(lambda: SmallDisk(megabytes)))
        return started[-1]

    yield mount
    for one in started:
        one.close()


@pytest.fixture
def small_server(disk):
    """Yield a small disk, and a PostgreSQL server with its data and write-ahead log on this disk."""
    place = disk(160)
    server = started_or_skipped(lambda: Postgres(binaries=POSTGRES, within=place.path, settings=TIGHT))
    engine = engine_of(server.create_database("payments"))
    with engine.begin() as connection:
        create_tables(connection)
        # Autovacuum would return the space of the rolled-back inserts to the file system.
        connection.exec_driver_sql("CREATE UNLOGGED TABLE heap (content text) WITH (autovacuum_enabled = false)")
    upgrade(engine)
    audit.install(engine)
    yield place, server, engine
    engine.dispose()
    server.close()


def until_it_fails(engine, sql):
    """Repeat a statement until the server has no disk space left for it."""
    with suppress(DBAPIError), engine.connect() as connection:
        while True:
            connection.exec_driver_sql(sql)


@pytest.mark.postgres
@pytest.mark.parametrize("what", GROW)
def test_a_full_disk_of_the_database_loses_nothing(small_server, mock_kafka, what):
    """While the database's disk is full, callbacks are refused, and no unsent event is marked as published.

    If a table cannot grow, the statement fails. If the write-ahead log cannot grow, the whole server crashes.
    """
    place, server, engine = small_server
    business = Business(engine, mock_kafka.bootstrap)
    with business.running():
        business.wait_for(20)
        place.fill()

        def is_noticed():
            until_it_fails(engine, GROW[what])  # repeated, because a checkpoint can remove log files
            # If the log is full, the server is down. Then perhaps no payment is stored, and so no callback fails.
            return business.failures or (what == "the log" and business.refused)

        wait_until(is_noticed, what="a callback is not answered", timeout=30)
        place.free()
        if what == "the log":  # the server has ended all sessions, or stopped if it could not recover
            server.restart("immediate")
        business.wait_for(20)
    verdict = business.verdict()
    assert verdict == Verdict(duplicates=verdict.duplicates)
    assert {row.retry_count for row in rows_of(engine)} == {0}
    if what == "the tables":
        assert {error.message for error in business.failures} == {"the database server's disk is full"}


@pytest.mark.kafka
@pytest.mark.xdist_group("kafka")
def test_a_full_disk_of_the_broker_loses_nothing(engine, disk):
    """A full disk stops Apache Kafka, but payctl loses no events and still settles callbacks.

    Events do not use up retries while they wait for Kafka to run again.
    """
    audit.install(engine)
    place = disk(64)
    small = {"log.segment.bytes": "1048576"}
    kafka = started_or_skipped(lambda: ApacheKafka(within=place.path, settings=small))
    try:
        kafka.recreate_topics(TOPICS)
        business = Business(engine, kafka.bootstrap, pause=0.1)
        with business.running():
            business.wait_for(20)
            place.fill()
            wait_until(lambda: not kafka.running, what="the broker has ended", timeout=60)
            business.wait_for(20)
            assert business.pending() > 0
            place.free()
            kafka.revive()
        verdict = business.verdict()
    finally:
        kafka.close()
    assert verdict == Verdict(duplicates=verdict.duplicates)
    assert business.failures == []
    assert {row.retry_count for row in rows_of(engine)} == {0}


@pytest.mark.postgres
def test_a_full_disk_of_an_archive_deletes_nothing(shop, disk):
    """If the archive's disk is full, the cleanup deletes nothing, exits with 4, and says what to do.

    Once there is enough space, the cleanup archives and deletes the events.
    """
    place = disk(1)
    archive = place.path / "archive.ndjson.gz"
    with shop.engine.begin() as connection:
        insert_events(connection, 20, state="published", age=timedelta(days=9), payload_bytes=5000)
    place.fill()
    words = ("cleanup", "--archive", str(archive), "-y", "--reason", "a test")
    done = shop.run(Command(words))
    said = done.stderr.decode()
    assert (done.returncode, FULL in said, "free some disk space" in said) == (4, True, True), said
    assert len(rows_of(shop.engine)) == 20
    place.free()
    shop.good(Command(words))
    kept = archived_rows(shop.engine, archive)
    assert (len(kept), rows_of(shop.engine)) == (20, [])
    assert judge_archive(audit.read(shop.engine), [], kept) == ArchiveFaults()
