"""Test that each test gets a database in its initial state, even if an earlier test has used this database."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from tests.servers.kept_databases import MOST_USES, KeptDatabases

OUTBOX = """
    INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload)
    SELECT 'event-' || n, 'payment', 'Payment', 'payment.completed', '{}' FROM generate_series(1, 300) AS n
"""
PUBLISHER = "INSERT INTO payctl.publishers (shard, owner) VALUES (0, 'a publisher')"

ROWS = {
    "rows": (OUTBOX, PUBLISHER),
    "rows that were updated and deleted": (OUTBOX, "UPDATE outbox SET published = true", "DELETE FROM outbox"),
    "rows that were rolled back": ("BEGIN", OUTBOX, "ROLLBACK"),
    "a vacuumed table": (OUTBOX, "VACUUM outbox"),
    "nothing": ("SELECT FROM outbox",),
    "another session's settings": ("SET enable_seqscan = off", "SELECT pg_advisory_lock(7)"),
}
MORE = {
    "a truncated table": (OUTBOX, "TRUNCATE outbox"),
    "a new table": ("CREATE TABLE notes (note text)",),
    "a new table that was rolled back": ("BEGIN", "CREATE TABLE notes (note text)", "ROLLBACK"),
    "a dropped column": ('ALTER TABLE outbox DROP COLUMN "lastError"',),
    "a renamed index": ('ALTER INDEX "outbox_published_createdAt_idx" RENAME TO other',),
    "a storage parameter": ("ALTER TABLE outbox SET (fillfactor = 50)",),
    "row security": ("ALTER TABLE outbox ENABLE ROW LEVEL SECURITY",),
    "a replica identity": ("ALTER TABLE outbox REPLICA IDENTITY FULL",),
    "a privilege on a table": ("GRANT SELECT ON outbox TO PUBLIC",),
    "a privilege on a schema": ("GRANT USAGE ON SCHEMA payctl TO PUBLIC",),
    "a privilege on the database": ("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",),
    "a default privilege": ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",),
    "a setting of the database": ("ALTER DATABASE {name} SET jit = off",),
    "a connection limit": ("ALTER DATABASE {name} CONNECTION LIMIT 5",),
    "a function": ("CREATE FUNCTION one() RETURNS int LANGUAGE sql RETURN 1",),
    "a trigger that is off": ("ALTER TABLE payctl.run_chunks DISABLE TRIGGER ALL",),
    "a publication": ("CREATE PUBLICATION events FOR TABLE outbox",),
    "a large object": ("SELECT lo_create(0)",),
    "the planner's statistics": (OUTBOX, "ANALYZE outbox"),
    "an analyzed empty table": ("ANALYZE outbox",),
    "a vacuumed empty table": ("VACUUM payctl.run_items",),
    "a migration that is not recorded": ("DELETE FROM payctl.migrations WHERE version = 7",),
    "new statistics": ("CREATE TABLE notes (note text)", "SELECT pg_stat_reset()"),
}


@pytest.fixture
def kept(postgres, clones, template_database):
    """Yield an object that has no database yet."""
    made = KeptDatabases(postgres, clones, template_database, longest_exit=5)
    yield made
    made.close()


@pytest.fixture
def run(postgres):
    """Return a function that executes SQL statements in a database and returns the last one's rows."""

    def execute(database, *statements):
        with closing(psycopg2.connect(postgres.url(database))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement.replace("{name}", database))
                return cursor.fetchall() if cursor.description else []

    return execute


@pytest.fixture
def state(run):
    """Return a function that returns the tables' size and statistics, and the recorded migrations."""
    tables = """
        SELECT c.oid::regclass::text, pg_total_relation_size(c.oid), c.relpages, c.reltuples, s.n_tup_ins, s.n_tup_upd,
            s.n_tup_del, s.n_live_tup, s.n_dead_tup, s.n_mod_since_analyze, s.last_vacuum, s.last_analyze, s.seq_scan
        FROM pg_class AS c JOIN pg_stat_user_tables AS s ON s.relid = c.oid ORDER BY 1
    """
    return lambda database: (run(database, tables), run(database, "SELECT * FROM payctl.migrations ORDER BY 1"))


@pytest.mark.parametrize("statements", ROWS.values(), ids=ROWS)
def test_a_database_whose_rows_changed_is_emptied(statements, kept, run, state):
    """If a test changed only rows, the next test reuses the database, which is reset to its initial state."""
    unused = kept.take()
    as_new = state(unused)
    name = kept.take()
    for _ in range(2):
        run(name, *statements)
        kept.give_back(name)
        assert kept.take() == name
        assert state(name) == as_new


@pytest.mark.parametrize("statements", MORE.values(), ids=MORE)
@pytest.mark.parametrize("used", [False, True], ids=["new", "used before"])
def test_a_database_with_any_other_change_is_dropped(statements, used, kept, run):
    """If a test changed more than rows, the next test gets a new database."""
    name = kept.take()
    if used:
        run(name, OUTBOX)
        kept.give_back(name)
        assert kept.take() == name
    run(name, *statements)
    kept.give_back(name)
    assert kept.take() != name
    assert run("postgres", f"SELECT FROM pg_database WHERE datname = '{name}'") == []


def test_a_database_with_an_open_session_is_dropped(kept, postgres):
    """A session that outlives its test cannot reach another test's database."""
    name = kept.take()
    with closing(psycopg2.connect(postgres.url(name))) as session:
        kept.give_back(name)
        with pytest.raises(psycopg2.OperationalError, match="terminat"), session.cursor() as cursor:
            cursor.execute("SELECT")
    assert kept.take() != name


@pytest.mark.parametrize("statement", [PUBLISHER, "CREATE TABLE notes (note text)"], ids=["a row", "a table"])
def test_a_database_that_is_written_after_its_test_is_dropped(statement, kept, run):
    """If a process that outlives its test writes something, the next test gets a new database."""
    name = kept.take()
    kept.give_back(name)
    run(name, statement)
    assert kept.take() != name


def test_a_database_is_dropped_after_many_tests(kept):
    """After ``MOST_USES`` tests, the next test gets a new database."""
    names = []
    for _ in range(MOST_USES + 1):
        names.append(kept.take())
        kept.give_back(names[-1])
    assert len(set(names[:MOST_USES])) == 1
    assert names[MOST_USES] != names[0]


def test_a_restarted_server_gets_new_databases(kept, postgres):
    """If a test restarts the server, the next test gets a new database."""
    name = kept.take()
    kept.give_back(name)
    postgres.restart("immediate")
    assert kept.take() != name
