"""Test that an upgrade applies the missing migration steps together and once, and only to payctl's schema."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from psycopg2.extensions import parse_dsn

from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db import migrations
from ticketbottle_payctl.store.db.engine import make_engine
from ticketbottle_payctl.store.db.migrations import SchemaStatus, status, upgrade

STEPS = tuple(step.name for step in migrations.known())
CATALOG = """
    SELECT table_schema || '.' || table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns
    WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
    ORDER BY 1
"""


@pytest.fixture
def empty(empty_database_url):
    """Yield a database engine for an empty database."""
    engine = make_engine(DatabaseSettings(Secret(empty_database_url), pooled=False))
    yield engine
    engine.dispose()


def catalog(engine):
    """Return every column and index of the database as text."""
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(CATALOG).scalars())


def test_steps_are_numbered_without_gaps():
    """The migrations are numbered 1, 2, 3 and so on, in the order of their names."""
    steps = migrations.known()
    assert [step.version for step in steps] == list(range(1, len(steps) + 1))
    assert [step.name for step in steps] == sorted(step.name for step in steps)


def test_status_changes_nothing_and_upgrade_applies_every_step(empty):
    """For an empty database, `status` lists every migration step as pending, and `upgrade` applies all of them."""
    assert status(empty) == SchemaStatus((), STEPS)
    assert catalog(empty) == []
    assert upgrade(empty) == SchemaStatus((), STEPS)
    assert status(empty) == SchemaStatus(STEPS, ())


def test_a_second_upgrade_changes_nothing(empty):
    """A second upgrade finds every step applied and does not change the schema."""
    upgrade(empty)
    made = catalog(empty)
    assert upgrade(empty) == SchemaStatus(STEPS, ())
    assert catalog(empty) == made


def test_a_dry_run_of_the_upgrade_changes_nothing(empty):
    """A dry run of the upgrade executes and reports every step and then rolls back."""
    assert upgrade(empty, dry_run=True) == SchemaStatus((), STEPS)
    assert catalog(empty) == []
    assert upgrade(empty) == SchemaStatus((), STEPS)


def test_only_one_of_four_concurrent_upgrades_runs_the_steps(empty):
    """If four upgrades run at the same time, one applies all steps, and the other three find the steps applied."""
    barrier = Barrier(4)

    def run(_):
        barrier.wait(20)
        return upgrade(empty)

    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(run, range(4)))
    assert sorted(reports, key=lambda report: report.applied) == [
        SchemaStatus((), STEPS),
        *[SchemaStatus(STEPS, ())] * 3,
    ]
    with empty.connect() as connection:
        names = connection.exec_driver_sql("SELECT name FROM payctl.migrations ORDER BY version").scalars()
        assert tuple(names) == STEPS


def test_an_upgrade_applies_only_the_missing_steps(empty, monkeypatch):
    """If a database has only the first step, the upgrade applies only the missing steps."""
    everything = migrations.known()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "known", lambda: everything[:1])
        upgrade(empty)
    assert status(empty) == SchemaStatus(STEPS[:1], STEPS[1:])
    assert upgrade(empty) == SchemaStatus(STEPS[:1], STEPS[1:])
    assert status(empty).pending == ()


def test_a_failed_step_rolls_back_the_whole_upgrade(empty, monkeypatch):
    """All missing steps run in one transaction, so a failed step leaves the database unchanged."""
    broken = migrations.Migration(9999, "9999_broken", "CREATE TABLE payctl.half (id int); SELECT 1 / 0")
    steps = [*migrations.known(), broken]
    monkeypatch.setattr(migrations, "known", lambda: steps)
    with pytest.raises(Exception, match="division by zero"):
        upgrade(empty)
    assert catalog(empty) == []


def test_the_payment_services_tables_are_not_touched(engine):
    """The upgrade changes only the payctl schema and none of the payment service's tables."""
    before = [line for line in catalog(engine) if "payctl." not in line]
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA payctl CASCADE")
    upgrade(engine)
    assert [line for line in catalog(engine) if "payctl." not in line] == before


def test_migrations_without_a_server_are_unavailable():
    """`status` and `upgrade` raise DatabaseUnavailableError if no server answers."""
    nobody = make_engine(DatabaseSettings(Secret("postgresql://nobody:nothing@127.0.0.1:1/payments")))
    for job in (status, upgrade):
        with pytest.raises(DatabaseUnavailableError):
            job(nobody)


@pytest.mark.parametrize("owner", ["payctl_owner", "a@b", "a:b/c?d", "50%", "Lân"])
def test_the_url_logs_in_as_the_owner_whatever_the_role_s_name_is(owner):
    """The URL in the advice has the owner's name as its user name, even if the name has special characters."""
    url = migrations.url_of(owner).removeprefix("set DATABASE_URL=").replace("PORT", "5432")
    assert parse_dsn(url) == {"user": owner, "host": "HOST", "port": "5432", "dbname": "DATABASE"}
