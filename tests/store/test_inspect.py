"""Test that payctl reads the right entries of PostgreSQL's catalogue, and leaves out similar entries."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import timedelta

import psycopg2
import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.inspect import server, sessions, tables
from ticketbottle_payctl.store.inspect.server import ZoneSetting
from ticketbottle_payctl.store.inspect.tables import PAYCTL, Index, Privilege

pytestmark = pytest.mark.postgres
MINUTE = timedelta(minutes=1)


@pytest.fixture
def role(database_url, execute):
    """Yield the name of a new role without privileges."""
    name = f"of_{database_url.rpartition('/')[2].partition('?')[0]}"
    execute(f"CREATE ROLE {name}")
    yield name
    execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.fixture
def other_database(postgres, clones, template_database):
    """Yield a connection to another database on the server."""
    name = clones.create(template_database)
    with closing(psycopg2.connect(postgres.url(name))) as connection:
        yield connection
    clones.drop(name)


def test_sessions_with_an_old_snapshot_are_named_oldest_first(engine, reader, other_database):
    """Sessions in this database that hold a snapshot or a transaction id are listed, but idle sessions are not."""
    with ExitStack() as opened:
        writer, looker, idle = [opened.enter_context(engine.connect()) for _ in range(3)]
        pids = [each.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() for each in (writer, looker, idle)]
        for each in (writer, looker, idle):
            each.rollback()
        idle.exec_driver_sql("SELECT 1")
        writer.exec_driver_sql("SELECT txid_current()")
        looker.exec_driver_sql("DECLARE events CURSOR FOR SELECT id FROM outbox")
        looker.exec_driver_sql("SELECT set_config('application_name', '', false)")
        other_database.cursor().execute("SELECT txid_current()")
        reader.exec_driver_sql("SELECT txid_current()")
        found = sessions.snapshot_holders(reader, -1)
        assert [(each.kind, each.name, each.pid, each.state) for each in found] == [
            ("session", "payctl (postgres)", pids[0], "idle in transaction"),
            ("session", "unnamed (postgres)", pids[1], "idle in transaction"),
        ]
        assert sessions.snapshot_holders(reader, 3600) == []
        looker.exec_driver_sql("SELECT set_config('application_name', 'payctl', false)")


def test_the_labels_of_an_enum_are_in_their_order(reader, execute):
    """The labels of an enum column are in the order of the type. Other columns have no labels."""
    assert tables.labels(reader, "payments", "status") == execute(
        'SELECT unnest(enum_range(NULL::"PaymentStatus"))::text'
    )
    assert tables.labels(reader, "payments", "orderCode") == []
    assert tables.labels(reader, "outbox", "status") == []


def test_the_columns_of_a_table_are_those_that_exist(reader, execute):
    """The columns of a table are in order, without dropped and system columns. A default makes a column optional."""
    execute("""
        CREATE TABLE things (
            id int GENERATED ALWAYS AS IDENTITY, dropped int, name text NOT NULL, size int NOT NULL DEFAULT 1, note text
        );
        ALTER TABLE things DROP COLUMN dropped
    """)
    assert tables.columns(reader, "things") == [
        ("id", "integer", False),
        ("name", "text", True),
        ("size", "integer", False),
        ("note", "text", False),
    ]
    assert tables.columns(reader, "nothing") == []


def test_the_indexes_of_a_table_have_their_columns_in_order(reader, execute):
    """A table's indexes are sorted by name, and their columns are in order. Other tables' indexes are not listed."""
    execute("""
        CREATE TABLE things (a int, b int, c int);
        CREATE TABLE others (a int PRIMARY KEY);
        CREATE INDEX two ON things (c, a);
        CREATE INDEX part ON things (b) WHERE a > 0;
        CREATE INDEX broken ON things (a);
        CREATE INDEX unready ON things (a);
        UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass;
        UPDATE pg_index SET indisready = false WHERE indexrelid = 'unready'::regclass
    """)
    assert tables.indexes(reader, "things") == [
        Index("broken", ("a",), valid=False, partial=False),
        Index("part", ("b",), valid=True, partial=True),
        Index("two", ("c", "a"), valid=True, partial=False),
        Index("unready", ("a",), valid=False, partial=False),
    ]


def test_a_privilege_on_a_table_of_payctl_needs_its_schema(reader, execute, role):
    """A privilege on a table of payctl counts only if the role can use the schema, or if the schema is not checked."""
    execute(f"GRANT SELECT ON payctl.runs TO {role}; GRANT SELECT (id) ON outbox TO {role}")
    wanted = [
        Privilege("payctl.runs", "SELECT"),
        Privilege("payctl.runs", "INSERT"),
        Privilege("outbox", "SELECT", "id"),
        Privilege("outbox", "SELECT", "payload"),
        Privilege("outbox", "SELECT"),
    ]
    unknown = [Privilege("payctl.nothing", "SELECT"), Privilege("outbox", "SELECT", "nothing")]
    reader.exec_driver_sql(f"SET ROLE {role}")
    assert not tables.may_use_payctl(reader)
    held = tables.privileges(reader, [*wanted, *unknown])
    assert held == dict(zip(wanted, [False, False, True, False, False], strict=True))
    held = tables.privileges(reader, [*wanted, *unknown], without_usage=True)
    assert held == dict(zip(wanted, [True, False, True, False, False], strict=True))
    execute(f"GRANT USAGE ON SCHEMA payctl TO {role}")
    assert tables.may_use_payctl(reader)
    assert tables.privileges(reader, wanted)[wanted[0]]


def test_the_owner_of_payctl_s_schema_is_named(reader, execute, role):
    """The owners of payctl's schema and tables are returned. A missing schema or table has no owner."""
    execute(f"ALTER SCHEMA payctl OWNER TO {role}")
    found = tables.owners(reader, [PAYCTL, "outbox", "payctl.runs", "nothing", "payctl.nothing"])
    assert found == {PAYCTL: role, "outbox": "postgres", "payctl.runs": "postgres"}
    execute("ALTER SCHEMA payctl OWNER TO postgres")


def test_a_role_may_create_tables_if_it_may_create_the_missing_schema(reader, execute, role):
    """A role can create payctl's tables if it can create tables in the schema, or can create the missing schema."""
    reader.exec_driver_sql(f"SET ROLE {role}")
    assert not tables.may_create(reader)
    execute(f"GRANT CREATE ON SCHEMA payctl TO {role}")
    assert tables.may_create(reader)
    execute("DROP SCHEMA payctl CASCADE")
    assert not tables.may_create(reader)
    execute(f"DO $$ BEGIN EXECUTE 'GRANT CREATE ON DATABASE ' || current_database() || ' TO {role}'; END $$")
    assert tables.may_create(reader)


def test_the_time_zones_of_this_database_s_sessions_are_listed(reader, execute, role, other_database):
    """Time zones that are set for a role, for this database or for both are listed, but not other settings."""
    (name,) = execute("SELECT current_database()")
    execute(f"""
        ALTER ROLE {role} SET timezone = 'Asia/Tokyo';
        ALTER ROLE {role} IN DATABASE {name} SET TimeZone = 'Asia/Seoul';
        ALTER ROLE {role} SET work_mem = '5MB';
        ALTER DATABASE {name} SET timezone = 'UTC'
    """)
    with other_database, other_database.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        cursor.execute(f"ALTER ROLE {role} IN DATABASE {cursor.fetchone()[0]} SET timezone = 'Asia/Dubai'")
    assert server.zone_settings(reader) == [
        ZoneSetting(None, name, "UTC"),
        ZoneSetting(role, None, "Asia/Tokyo"),
        ZoneSetting(role, name, "Asia/Seoul"),
    ]


@pytest.mark.parametrize(("pending", "published"), [(9, 3), (3, 9)])
def test_the_newest_event_may_be_ahead_of_the_clock(engine, reader, pending, published):
    """The newest event's time is compared with the clock, whether the event is published or not."""
    assert server.seconds_ahead(reader) == 0
    Orders(engine).event(age=-pending * MINUTE).event(age=-2 * MINUTE)
    Orders(engine).event(age=-published * MINUTE, state="published").event(age=-MINUTE, state="published")
    assert 8 * 60 < server.seconds_ahead(reader) <= 9 * 60


def test_statistics_of_a_table_have_its_last_analyze(reader, execute):
    """The statistics of a table say how many rows it has, and when it was last analysed."""
    execute("ALTER TABLE outbox SET (autovacuum_enabled = false)")
    before = tables.housekeeping(reader, "outbox")
    assert (before.last_analyze, before.options, before.autovacuum) == (None, ("autovacuum_enabled=false",), True)
    reader.rollback()
    execute("ANALYZE outbox")
    assert tables.housekeeping(reader, "outbox").last_analyze is not None
    assert tables.housekeeping(reader, "payments").options == ()
    assert tables.housekeeping(reader, "nothing") is None


@pytest.mark.parametrize("reverse", [False, True])
def test_the_last_analyze_is_the_later_one_of_the_two_kinds(reader, execute, reverse):
    """A table's last ANALYZE is its last manual or automatic one, whichever is later."""
    first, last = sorted(("2026-11-28", "2026-11-29"), reverse=reverse)
    execute(f"""
        CREATE VIEW public.pg_stat_all_tables AS SELECT relid, n_live_tup, n_dead_tup,
            timestamptz '{first}' AS last_analyze, timestamptz '{last}' AS last_autoanalyze
        FROM pg_catalog.pg_stat_all_tables
    """)  # noqa: S608 - constants only
    reader.exec_driver_sql("SET search_path = public, pg_catalog")  # by default, pg_catalog is first
    assert f"{tables.housekeeping(reader, 'outbox').last_analyze:%F}" == "2026-11-29"
