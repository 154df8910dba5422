"""Test the doctor's findings about databases with known faults."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import psycopg2
import pytest
from sqlalchemy import text

from ticketbottle_payctl.domain.causes import Command
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.doctor import CHECKS, Status, Subject, diagnose
from ticketbottle_payctl.jobs.doctor.model import fail
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db import migrations
from ticketbottle_payctl.store.db.engine import Limits, make_engine, transaction
from ticketbottle_payctl.store.inspect import sessions
from ticketbottle_payctl.store.outbox import shard_lock
from ticketbottle_payctl.store.outbox.shard_lock import Entry

pytestmark = pytest.mark.postgres

IN_DATABASE = [name for name in CHECKS if name not in {"kafka", "keys"}]


def absent():
    """Raise ConfigError, as if the setting were missing."""
    message = "not configured"
    raise ConfigError(message)


def subject_of(engine, **changes):
    """Return a doctor subject with only a database."""
    known = {
        "engine": lambda: engine,
        "kafka": absent,
        "producer": absent,
        "credentials": lambda _: {},
        "now": lambda: datetime.now(UTC),
    }
    return Subject(**{**known, **changes})


@pytest.fixture
def found(engine):
    """Return a function that runs the given checks of the doctor and returns their findings."""

    def look(*only, **changes):
        return diagnose(subject_of(engine, **changes), only).findings

    return look


@pytest.fixture
def broken(engine):
    """Return a function that breaks the database with SQL statements, as the owner of the tables."""

    def run(*statements):
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    return run


def test_a_healthy_database_has_only_ok_findings(engine):
    """In a healthy database, all of the doctor's findings are ok."""
    report = diagnose(subject_of(engine), IN_DATABASE)
    assert [finding for finding in report.findings if finding.status is not Status.OK] == []
    assert list(dict.fromkeys(finding.check for finding in report.findings)) == IN_DATABASE
    assert report.healthy


def test_the_doctor_s_database_connection_is_read_only(engine):
    """The doctor works with a read-only database connection."""
    read_only = engine.execution_options(postgresql_readonly=True)
    assert diagnose(subject_of(read_only), IN_DATABASE).healthy


@pytest.mark.parametrize(
    ("statement", "check", "status", "words"),
    [
        ('ALTER TABLE outbox DROP COLUMN "lastError"', "columns", "fail", 'outbox."lastError" does not exist'),
        ('ALTER TABLE outbox ALTER "publishedAt" TYPE timestamptz', "columns", "fail", "timestamp with time zone"),
        ("ALTER TABLE outbox ADD tenant text NOT NULL", "columns", "fail", "outbox.tenant is required"),
        ("ALTER TABLE outbox RENAME TO outbox_v1", "columns", "fail", "table outbox does not exist"),
        ("ALTER TYPE \"PaymentStatus\" RENAME VALUE 'FAILED' TO 'REFUSED'", "columns", "fail", "cannot be FAILED"),
        ('DROP INDEX "outbox_published_createdAt_idx"', "index", "fail", "has no index"),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"outbox_published_createdAt_idx\"'::regclass",
            "index",
            "fail",
            "is not valid",
        ),
        ("ALTER TABLE outbox SET (autovacuum_enabled = false)", "vacuum", "warn", "rows"),
        ("DELETE FROM payctl.migrations WHERE version = 2", "schema", "fail", "lacks 0002_publishers"),
        ("INSERT INTO payctl.migrations VALUES (9999, '9999_x')", "schema", "warn", "9999_x, unknown to this version"),
    ],
)
def test_each_database_fault_has_a_finding_with_its_repair(statement, check, status, words, broken, found):
    """For each database fault, the doctor reports a fact, its meaning, and the command or SQL for the repair."""
    broken(statement)
    findings = [finding for finding in found(check) if finding.status is not Status.OK]
    assert [finding.status.value for finding in findings] == [status]
    assert words in findings[0].fact
    assert findings[0].meaning
    assert findings[0].remedy or findings[0].command or findings[0].sql


def test_the_advised_sql_turns_vacuum_on_where_it_is_off(broken, found):
    """If vacuum is off for the outbox only, the doctor's SQL turns it on for the outbox, and not for the server."""
    broken("ALTER TABLE outbox SET (autovacuum_enabled = false)")
    (finding,) = found("vacuum")
    assert finding.sql.startswith(
        'VACUUM (ANALYZE) "public".outbox; ALTER TABLE "public".outbox SET (autovacuum_enabled = true,'
    )
    assert ("ALTER SYSTEM" in finding.sql, finding.remedy) == (False, "as the tables' owner")


def test_the_check_of_vacuum_refers_to_the_check_that_explains_a_missing_outbox(broken, found):
    """If the outbox does not exist, the vacuum check fails and names the check that says what to do."""
    broken("ALTER TABLE outbox RENAME TO outbox_v1")
    (finding,) = found("vacuum")
    assert (finding.status, finding.fact) == (Status.FAIL, "table outbox does not exist")
    assert finding.meaning == "see the result of the columns check"


def test_the_doctor_names_the_newest_migration(found):
    """In an up-to-date database, the schema's finding names this version's last migration."""
    (finding,) = found("schema")
    assert finding.fact == f"schema payctl is at {migrations.known()[-1].name}"


def test_the_meaning_of_a_missing_migration_is_true_for_a_migration_that_creates_only_indexes(broken, found):
    """If only a migration that creates indexes is missing, the doctor does not say that tables are missing."""
    broken("DELETE FROM payctl.migrations WHERE version = 8; DROP INDEX payctl.run_items_closed")
    (finding,) = found("schema")
    (missing,) = (step.name for step in migrations.known() if step.version == 8)
    meaning = "commands can fail or be slow, because they use what these migrations create"
    command = Command(("db", "upgrade"), changes=True)
    assert finding == fail("schema", f"schema payctl lacks {missing}", meaning, None, command)


def test_the_doctor_names_the_server_s_version(found, engine):
    """The doctor's first finding has the server's version as the server itself prints it."""
    with engine.connect() as connection:
        version = connection.exec_driver_sql("SHOW server_version").scalar_one().split()[0]
    (finding,) = found("database")
    assert finding.fact.startswith(f"PostgreSQL {version}, database ")


def test_the_advised_sql_creates_the_missing_index(broken, found, database_url):
    """The SQL statement that the doctor suggests for a missing index creates this index."""
    broken('DROP INDEX "outbox_published_createdAt_idx"')
    remedy = found("index")[0].sql
    with closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(remedy)
    assert found("index")[0].status is Status.OK


@pytest.fixture
def payments(engine):
    """Return a function that inserts a payment for a provider and sets the estimated row count of the table."""

    def make(rows, provider):
        with engine.begin() as connection:
            insert_payment(connection, provider=provider)
            sql = text("UPDATE pg_class SET reltuples = :rows WHERE oid = 'payments'::regclass")
            connection.execute(sql, {"rows": rows})

    return make


@pytest.mark.parametrize(
    ("rows", "provider", "keys", "status"),
    [
        (10_000, "PAYOS", "k", "ok"),
        (10_001, "PAYOS", "k", "warn"),
        (100_000, "pay-os", "", "warn"),
        (100_001, "pay-os", "", "fail"),
        (100_001, "MOMO", "k", "fail"),
        (1_000_000, "MOMO", "", "warn"),
    ],
)
def test_the_doctor_requires_an_index_on_the_reference_for_payos(
    rows, provider, keys, status, payments, found, database_url
):
    """The doctor requires an index on payment references if the shop uses PayOS and the table is large."""
    payments(rows, provider)
    credentials = {"checksum_key": (Secret(keys),) if keys else ()}
    (finding,) = found("reference-index", credentials=lambda _: credentials)
    assert (finding.check, finding.status.value) == ("reference-index", status)
    assert f"about {rows:,} rows" in finding.fact
    if status == "ok":
        return
    with closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(finding.sql)
    assert found("reference-index")[0].fact == "payments_providerTransactionId_idx exists and is valid"


def test_the_advised_sql_replaces_an_invalid_index_on_the_reference(payments, broken, found, database_url):
    """The SQL that the doctor suggests replaces an invalid index, as left by a failed CREATE INDEX CONCURRENTLY."""
    broken(
        'CREATE INDEX "payments_providerTransactionId_idx" ON payments ("providerTransactionId")',
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"payments_providerTransactionId_idx\"'::regclass",
    )
    payments(200_000, "PAYOS")
    (finding,) = found("reference-index")
    assert (finding.status, "REINDEX INDEX CONCURRENTLY" in finding.sql) == (Status.FAIL, True)
    with closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(finding.sql)
    assert found("reference-index")[0].status is Status.OK


def test_the_doctor_counts_the_half_marked_rows_of_the_replaced_service(engine, found):
    """The doctor counts the half-marked rows and names the command that repairs them."""
    with engine.begin() as connection:
        insert_events(connection, 7, state="sent_unmarked")
        insert_events(connection, 3)
        insert_events(connection, 3, state="published")
    (finding,) = found("old-service")
    assert finding.fact.startswith("7 events")
    assert (finding.command.options, finding.command.rows) == (("--fix-published-flags",), 7)


def test_events_7_hours_ahead_show_a_writer_in_local_time(engine, found):
    """If events are 7 hours in the future, the doctor says that their writer uses local time."""
    with engine.begin() as connection:
        insert_events(connection, 1, age=timedelta(hours=-7))
    (finding,) = found("time-zone")
    assert (finding.status, "7 h in the future" in finding.fact) == (Status.FAIL, True)


def test_the_doctor_names_a_role_with_a_local_time_zone(database_url, engine, found):
    """The doctor names a role whose sessions use local time, and suggests an SQL statement that sets UTC."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE shop_{urlsplit(database_url).path[1:]}")
        role = f"shop_{urlsplit(database_url).path[1:]}"
        connection.exec_driver_sql(f"ALTER ROLE {role} SET timezone TO 'Asia/Ho_Chi_Minh'")
    (finding,) = found("time-zone")
    assert finding.fact == f"sessions of {role} start in the time zone Asia/Ho_Chi_Minh"
    with engine.begin() as connection:
        connection.exec_driver_sql(finding.sql)
    assert found("time-zone")[0].status is Status.OK
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP ROLE {role}")


def test_the_doctor_names_a_database_with_a_local_time_zone(database_url, engine, found):
    """If the database's sessions start in local time, the doctor suggests an SQL statement that sets UTC."""
    name = urlsplit(database_url).path[1:]
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE \"{name}\" SET timezone TO 'Asia/Ho_Chi_Minh'")
    engine.dispose()
    (finding,) = found("time-zone")
    assert (finding.status, finding.fact.endswith(" start in the time zone Asia/Ho_Chi_Minh")) == (Status.WARN, True)
    with engine.begin() as connection:
        connection.exec_driver_sql(finding.sql)
    engine.dispose()
    assert found("time-zone")[0].status is Status.OK


CLOCKS = [(0, "ok"), (1.9, "warn"), (-29.1, "warn"), (30.9, "fail"), (-3600, "fail")]


@pytest.mark.parametrize(("seconds", "status"), CLOCKS)
def test_the_doctor_reports_a_difference_between_two_clocks(seconds, status, found):
    """If the doctor's clock and the server's clock differ by more than a second, the doctor warns.

    If they differ by more than half a minute, the check fails.
    """
    (finding,) = found("clock", now=lambda: datetime.now(UTC) + timedelta(seconds=seconds))
    assert finding.status.value == status


def test_the_doctor_names_a_running_publisher(engine, found):
    """The doctor names a running publisher's shard and process, and warns about an unexpected number of shards.

    A publisher has only one finding, even though it uses two sessions to hold its shard.
    """
    with transaction(engine, Limits()) as connection, transaction(engine, Limits()) as second:
        assert shard_lock.enter(connection, 1, 2, 0, "us") is Entry.TAKEN_OVER
        second.exec_driver_sql(f"SELECT {shard_lock.keeping(1, 2, 1)}")
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        (other,) = found("publishers")
        (same,) = found("publishers", shards=2)
    assert f"shard 1 of 2: pid {pid}, payctl" in same.fact
    assert (same.status, other.status) == (Status.OK, Status.WARN)
    assert "PAYCTL_SHARDS=2" in other.remedy


def test_the_doctor_names_the_session_with_an_old_snapshot(engine):
    """If a session holds an old snapshot, the doctor names its process, state and application."""
    with transaction(engine, Limits()) as holder:
        holder.exec_driver_sql("CREATE TEMPORARY TABLE t ()")
        pid = holder.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with transaction(engine, Limits()) as connection:
            (found,) = sessions.snapshot_holders(connection, older_than=0)
    assert (found.kind, found.pid, found.state) == ("session", pid, "idle in transaction")
    assert found.name.startswith("payctl (")


@pytest.fixture
def two_phases(postgres):
    """Run the database server with prepared transactions enabled."""
    postgres.restart(settings={"max_prepared_transactions": "1"})
    yield
    postgres.restart(settings={"max_prepared_transactions": "0"})


@pytest.mark.usefixtures("two_phases")
def test_a_prepared_transaction_holds_a_snapshot_after_its_session_has_ended(engine, database_url):
    """The doctor's list of old snapshots includes a prepared transaction only if the transaction is old enough."""
    with closing(psycopg2.connect(database_url)) as other, other.cursor() as cursor:
        cursor.execute("DELETE FROM outbox; PREPARE TRANSACTION 'left'")
    with transaction(engine, Limits(), commit=False) as connection:
        old, young = (sessions.snapshot_holders(connection, older_than=seconds) for seconds in (0, 60))
    with closing(psycopg2.connect(database_url)) as other, other.cursor() as cursor:
        other.autocommit = True
        cursor.execute("ROLLBACK PREPARED 'left'")
    assert [(each.kind, each.name, each.pid) for each in old] == [("prepared transaction", "left", None)]
    assert young == []


def test_an_unreachable_database_is_one_finding():
    """If the database is unreachable, the doctor marks the other database checks as not run instead of failed."""
    engine = make_engine(DatabaseSettings(Secret("postgresql://payctl:canary@127.0.0.1:1/payments")))
    report = diagnose(subject_of(engine))
    failed = [finding.check for finding in report.findings if finding.status is Status.FAIL]
    assert failed == ["database", "kafka"]
    assert "checks not run: columns, grants" in report.findings[0].meaning
    assert "canary" not in str(report)
    (only,) = diagnose(subject_of(engine), ["database"]).findings
    assert (only.status, only.meaning) == (Status.FAIL, "nothing works without the database")
