"""Test that publishing needs few round trips, little log volume, few rows and little memory. No test measures time."""

from __future__ import annotations

import json
import time
import tracemalloc
from dataclasses import replace
from datetime import timedelta

import psycopg2
import pytest
from sqlalchemy import event

from tests.jobs.publish_outbox.conftest import READ, Clockwork, Outbox, new_producer
from ticketbottle_payctl.domain.event import START
from ticketbottle_payctl.jobs.publish_outbox.pipeline import LIMITS
from ticketbottle_payctl.sandbox.mock_kafka import MockKafka
from ticketbottle_payctl.store.db.engine import transaction
from ticketbottle_payctl.store.outbox import claim as store
from ticketbottle_payctl.store.outbox.claim import Claim

INDEX = "outbox_published_createdAt_idx"
PENDING = Claim(after=START, limit=1000, max_retries=5)


@pytest.fixture(scope="module")
def cluster():
    """Yield a separate cluster, because these tests send too many messages for the shared cluster."""
    with MockKafka() as cluster:
        for topic in READ:
            cluster.create_topic(topic)
        yield cluster


@pytest.fixture
def outbox(engine, cluster, read_all):
    """Yield an empty outbox with a separate producer and cluster."""
    producer = new_producer(cluster.bootstrap)
    yield Outbox(engine, cluster.bootstrap, producer, read_all, {})
    producer.close()


@pytest.fixture
def administer(database_url):
    """Yield a function that runs a statement without a transaction."""
    session = psycopg2.connect(database_url)
    session.autocommit = True

    def run(sql):
        with session.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None

    yield run
    session.close()


@pytest.fixture
def round_trips(engine):
    """Return a list that gets one entry for each message to the database server.

    BEGIN does not add an entry, because it is sent with the first statement.
    """
    counted = []
    for name in ("commit", "rollback", "before_cursor_execute"):
        event.listen(engine, name, lambda *_, name=name: counted.append(name))
    return counted


def test_a_batch_takes_three_round_trips(outbox, round_trips):
    """A batch takes three round trips, and a publisher run takes a few more.

    In the first round trip, the publisher takes the lock, sets the limits and finds the end of the next claim. In the
    second it claims the batch, and in the third it commits. At the end of a run, the publisher needs four round trips
    to look for obstacles, and two to mark itself as ended.
    """
    outbox.insert(12_000)
    counts = []
    for batches in (4, 8):
        round_trips.clear()
        outbox.publish(max_batches=batches)
        counts.append(len(round_trips))
    assert counts[1] - counts[0] == 4 * 3
    assert counts[0] - 4 * 3 <= 4 + 4 + 2


def test_an_idle_poll_takes_three_round_trips_and_writes_nothing(outbox, round_trips):
    """Each poll of an idle publisher loop takes three round trips and does not use a transaction id."""
    looks = {}
    clockwork = Clockwork(waits=20)

    def note(name):
        next_transaction = outbox.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")[0][0]
        looks[name] = (len(round_trips), next_transaction)

    clockwork.at = {5: lambda: note("before"), 15: lambda: note("after")}
    outbox.run(clockwork, loop=True)
    asking = 2  # the two statements of the first note(), which the second note() counts
    assert looks["after"][0] - looks["before"][0] == 10 * 3 + asking
    assert looks["after"][1] - looks["before"][1] < 10  # autovacuum can use some transaction ids


@pytest.fixture
def only_changes_are_logged(administer):
    """Turn full_page_writes off, because page images in the write-ahead log would hide a second write of a row."""
    administer("ALTER SYSTEM SET full_page_writes = off")
    administer("SELECT pg_reload_conf()")
    while administer("SHOW full_page_writes") != "off":
        time.sleep(0.01)
    yield
    administer("ALTER SYSTEM RESET full_page_writes")
    administer("SELECT pg_reload_conf()")


@pytest.mark.usefixtures("only_changes_are_logged")
def test_publishing_writes_little_more_log_than_an_update(outbox, administer):
    """Publishing writes at most 10% more write-ahead log than a plain UPDATE of the same rows."""
    outbox.insert(6000)
    administer("CREATE TABLE bare (LIKE outbox INCLUDING ALL)")
    administer("INSERT INTO bare SELECT * FROM outbox")
    for table in ("outbox", "bare"):
        administer(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        administer(f"VACUUM (ANALYZE, FREEZE) {table}")

    def written(work):
        administer("CHECKPOINT")
        before = administer("SELECT pg_current_wal_insert_lsn()")
        work()
        return administer(f"SELECT pg_current_wal_insert_lsn() - '{before}'::pg_lsn")

    bare = written(
        lambda: administer("UPDATE bare SET published = true, \"publishedAt\" = clock_timestamp() AT TIME ZONE 'UTC'")
    )
    ours = written(outbox.publish)
    assert ours <= bare * 11 / 10


def test_memory_does_not_grow_with_the_backlog(outbox):
    """A publisher run does not need more memory for eight times as many events."""
    outbox.insert(2000)
    outbox.publish(batch_size=200)  # fill the caches
    peaks = []
    for count in (2000, 16_000):
        outbox.insert(count)
        tracemalloc.start()
        outbox.publish(batch_size=200)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_500_000  # the sample of lags grows up to its limit


def plan_of(outbox, wanted):
    """Execute a claim and return the nodes of its query plan."""
    plan = carried_out(outbox, store._claim_sql(store._where(wanted), False), wanted)  # noqa: SLF001, FBT003
    assert "Tid Scan" in {node["Node Type"] for node in plan}
    return plan


def plan_of_end(outbox, wanted):
    """Execute the query that finds the end of the next claim, and return the nodes of its plan."""
    return carried_out(outbox, store._end_sql(store._where(wanted), "0"), wanted)  # noqa: SLF001


def carried_out(outbox, sql, wanted):
    """Run a statement with the publisher's limits, roll back, and return the nodes of the statement's plan."""
    with transaction(outbox.engine, LIMITS, commit=False) as connection:
        rows = connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}",
            store._parameters(wanted),  # noqa: SLF001
        ).scalar_one()
    plan = rows[0] if isinstance(rows, list) else json.loads(rows)[0]
    return list(nodes(plan["Plan"]))


def nodes(plan):
    """Yield the nodes of a query plan, starting with the top node."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def looked_at(plan):
    """Return how many index entries and blocks the search for pending events has read."""
    assert not {node["Node Type"] for node in plan} & {"Seq Scan", "Bitmap Heap Scan", "Sort"}
    (scan,) = [node for node in plan if node.get("Index Name") == INDEX]
    return (
        scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0),
        scan["Shared Hit Blocks"] + scan["Shared Read Blocks"],
    )


def test_a_claim_uses_the_index_with_fresh_statistics(outbox, administer):
    """With fresh table statistics, a claim uses the index and reads only the rows that it needs."""
    outbox.insert(5000, state="published")
    outbox.insert(5000)
    administer("ANALYZE outbox")
    rows, _ = looked_at(plan_of(outbox, PENDING))
    assert rows <= 1001


WANTED = pytest.mark.parametrize(
    "wanted",
    [
        PENDING,
        replace(PENDING, excluded=[f"k{n}" for n in range(1000)]),
        replace(PENDING, types=("PAYMENT_COMPLETED",)),
        replace(PENDING, shards=4),
    ],
    ids=["plain", "held", "types", "shards"],
)


def range_of(outbox, wanted):
    """Return the claim that a publisher makes in advance for the next full range."""
    with transaction(outbox.engine, LIMITS, commit=False) as connection:
        end = store.end_of_next(connection, wanted, "0")
    assert end is not None
    return replace(wanted, end=end)


@WANTED
def test_a_claim_ahead_uses_the_index_with_stale_statistics(outbox, administer, wanted):
    """With stale statistics, a claim in advance uses the index and does not read more rows than its range contains."""
    outbox.insert(200, state="published")
    administer("ALTER TABLE outbox SET (autovacuum_enabled = off)")
    administer("ANALYZE outbox")
    outbox.insert(8000)
    for plan in (plan_of_end(outbox, wanted), plan_of(outbox, range_of(outbox, wanted))):
        rows, _ = looked_at(plan)
        assert rows <= 1100 * wanted.shards


def test_a_claim_ahead_reads_no_dead_event_outside_its_range(outbox, administer):
    """A claim in advance does not read dead events before or after its range."""
    outbox.insert(10_000, state="dead", age=timedelta(hours=2), payload_bytes=0)
    outbox.insert(3500, age=timedelta(hours=1))
    outbox.insert(10_000, state="dead", age=timedelta(minutes=30), payload_bytes=0)
    administer("ANALYZE outbox")
    wanted = PENDING
    for _ in range(2):
        wanted = replace(wanted, after=range_of(outbox, wanted).end)
    assert looked_at(plan_of_end(outbox, wanted))[0] <= 1010
    rows, buffers = looked_at(plan_of(outbox, range_of(outbox, wanted)))
    assert rows <= 1010
    assert buffers < 1500


@WANTED
def test_a_claim_uses_the_index_with_stale_statistics(outbox, administer, wanted):
    """A claim uses the index even if the table statistics are stale."""
    outbox.insert(200, state="published")
    administer("ALTER TABLE outbox SET (autovacuum_enabled = off)")
    administer("ANALYZE outbox")
    outbox.insert(8000)
    rows, _ = looked_at(plan_of(outbox, wanted))
    assert rows <= 1100 * wanted.shards


def test_only_the_first_claim_reads_ten_thousand_dead_events(outbox, administer):
    """Only the first claim reads ten thousand old dead events, because the next claim starts after them."""
    outbox.insert(10_000, state="dead", age=timedelta(hours=1), payload_bytes=0)
    outbox.insert(3000)
    administer("ANALYZE outbox")
    first, _ = looked_at(plan_of(outbox, PENDING))
    assert first >= 10_000
    with transaction(outbox.engine, LIMITS, commit=False) as connection:
        claimed = store.claim(connection, PENDING).events
    rows, buffers = looked_at(plan_of(outbox, replace(PENDING, after=claimed[-1].position)))
    assert rows <= 1010
    assert buffers < 1500


def test_a_claim_reads_no_published_row_while_vacuum_is_held_back(outbox, administer, database_url):
    """A claim does not read published rows, even if another session's old snapshot keeps vacuum from removing them."""
    outbox.insert(6000)
    administer("ANALYZE outbox")
    old = psycopg2.connect(database_url)
    old.set_session(isolation_level="REPEATABLE READ")
    old.cursor().execute("SELECT count(*) FROM outbox")
    outbox.publish(max_batches=4)
    last = [row for row in outbox.rows() if row.published][-1]
    rows, buffers = looked_at(plan_of(outbox, replace(PENDING, after=(last.created_at, last.id))))
    old.close()
    assert rows <= 1010
    assert buffers < 1500
