from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

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
    """An engine on a database with nothing in it."""
    engine = make_engine(DatabaseSettings(Secret(empty_database_url), pooled=False))
    yield engine
    engine.dispose()


def catalog(engine):
    """Every column and index there is."""
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(CATALOG).scalars())


def test_steps_are_numbered_without_gaps():
    """Their numbers are their order."""
    steps = migrations.known()
    assert [step.version for step in steps] == list(range(1, len(steps) + 1))
    assert [step.name for step in steps] == sorted(step.name for step in steps)


def test_before_and_after(empty):
    """The status names what is missing and changes nothing; the upgrade brings it all."""
    assert status(empty) == SchemaStatus((), STEPS)
    assert catalog(empty) == []
    assert upgrade(empty) == SchemaStatus((), STEPS)
    assert status(empty) == SchemaStatus(STEPS, ())


def test_an_upgrade_twice_is_an_upgrade_once(empty):
    """The second finds nothing to do."""
    upgrade(empty)
    made = catalog(empty)
    assert upgrade(empty) == SchemaStatus(STEPS, ())
    assert catalog(empty) == made


def test_a_dry_run_leaves_nothing(empty):
    """It runs every step, says which, and rolls back."""
    assert upgrade(empty, dry_run=True) == SchemaStatus((), STEPS)
    assert catalog(empty) == []
    assert upgrade(empty) == SchemaStatus((), STEPS)


def test_upgrades_at_once(empty):
    """One of them does it, the others find it done; each step ran once."""
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


def test_an_upgrade_from_any_step(empty, monkeypatch):
    """A database that has the first steps gets the others."""
    everything = migrations.known()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "known", lambda: everything[:1])
        upgrade(empty)
    assert status(empty) == SchemaStatus(STEPS[:1], STEPS[1:])
    assert upgrade(empty) == SchemaStatus(STEPS[:1], STEPS[1:])
    assert status(empty).pending == ()


def test_a_step_that_fails_leaves_none_of_its_fellows(empty, monkeypatch):
    """All that are missing run in one transaction."""
    broken = migrations.Migration(9999, "9999_broken", "CREATE TABLE payctl.half (id int); SELECT 1 / 0")
    steps = [*migrations.known(), broken]
    monkeypatch.setattr(migrations, "known", lambda: steps)
    with pytest.raises(Exception, match="division by zero"):
        upgrade(empty)
    assert catalog(empty) == []


def test_the_payment_services_tables_are_not_touched(engine):
    """Payctl runs no DDL on them: what it made is all in its own schema."""
    before = [line for line in catalog(engine) if "payctl." not in line]
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA payctl CASCADE")
    upgrade(engine)
    assert [line for line in catalog(engine) if "payctl." not in line] == before


def test_an_upgrade_without_a_server():
    """It is unavailable, like any other job's."""
    nobody = make_engine(DatabaseSettings(Secret("postgresql://nobody:nothing@127.0.0.1:1/payments")))
    for job in (status, upgrade):
        with pytest.raises(DatabaseUnavailableError):
            job(nobody)
