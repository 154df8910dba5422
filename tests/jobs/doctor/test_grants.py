"""Test that the doctor checks a database role's privileges and suggests grants for the missing ones."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.jobs.doctor.test_database import subject_of
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.doctor import Status, diagnose
from ticketbottle_payctl.jobs.stats import collect_stats
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine

pytestmark = pytest.mark.postgres


@pytest.fixture
def engine_as(engine, database_url):
    """Yield a function that creates a role with the given grants and returns an engine for the role.

    The role is dropped after the test.
    """
    role = f"role_{urlsplit(database_url).path[1:]}"
    opened = []

    def log_in(*grants):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'of-this-test'")
            for grant in grants:
                connection.exec_driver_sql(grant.format(role=role))
        parts = urlsplit(database_url)
        own = parts._replace(netloc=f"{role}:of-this-test@{parts.hostname}:{parts.port}")
        opened.append(make_engine(DatabaseSettings(Secret(urlunsplit(own)), pooled=False)))
        return opened[-1]

    yield log_in
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_role_with_every_privilege_of_one_task_is_ok(engine_as):
    """If a role has all the privileges that a task needs, the doctor's finding is ok and names this task."""
    limited = engine_as("GRANT SELECT ON outbox TO {role}")
    (finding,) = diagnose(subject_of(limited), ["grants"]).findings
    assert (finding.status, finding.fact.endswith("can: stats")) == (Status.OK, True)


def test_the_advised_grant_adds_the_missing_privileges_of_a_role(engine_as, engine):
    """If a role lacks privileges for a task, the GRANT statements that the doctor suggests add them."""
    limited = engine_as("GRANT SELECT ON outbox TO {role}", "GRANT UPDATE (published) ON outbox TO {role}")
    findings = diagnose(subject_of(limited), ["grants"]).findings
    publish = next(finding for finding in findings if "publish-outbox" in finding.fact)
    assert 'it lacks UPDATE on outbox ("publishedAt")' in publish.fact
    with engine.begin() as connection:
        connection.exec_driver_sql(publish.sql)
    (repaired,) = diagnose(subject_of(limited), ["grants"]).findings
    assert repaired.fact.endswith("can: publish-outbox · stats")


def test_a_role_that_lacks_one_privilege_gets_advice_for_one_task(engine_as):
    """If a role lacks a single privilege for a task, the doctor suggests a fix only for this task."""
    limited = engine_as(
        "GRANT SELECT, UPDATE ON payments TO {role}",
        "GRANT INSERT ON outbox TO {role}",
        "GRANT USAGE ON SCHEMA payctl TO {role}",
        "GRANT SELECT, INSERT ON payctl.webhook_receipts TO {role}",
    )
    about = [
        finding.fact for finding in diagnose(subject_of(limited), ["grants"]).findings if "part of" in finding.fact
    ]
    assert len(about) == 1
    assert "part of process-webhook; it lacks INSERT on payctl.event_context" in about[0]


def test_a_role_without_any_privilege_is_a_failure(engine_as):
    """If a role has no privileges, the doctor reports a failure, and the other checks do not raise an error."""
    report = diagnose(subject_of(engine_as()), ["grants", "schema", "publishers", "index", "snapshot"])
    status = {finding.check: finding.status for finding in report.findings}
    assert (status["grants"], status["schema"]) == (Status.FAIL, Status.FAIL)
    assert (status["index"], status["publishers"], status["snapshot"]) == (Status.OK, Status.OK, Status.WARN)


@pytest.fixture
def without_usage(engine, engine_as):
    """Yield an engine for a role with privileges on the tables but not on the schema. Restore the schema at the end."""
    limited = engine_as("GRANT SELECT ON outbox, payments TO {role}", "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    yield limited
    with engine.begin() as connection:
        connection.exec_driver_sql("GRANT USAGE ON SCHEMA public TO PUBLIC")


@pytest.mark.parametrize("check", ["grants", "columns"])
def test_a_role_without_usage_on_the_schema_gets_the_grant(without_usage, engine, check):
    """The doctor names the schema that the role cannot use. It does not say that a table is missing."""
    (finding,) = diagnose(subject_of(without_usage), [check]).findings
    assert finding.status == Status.FAIL
    assert finding.fact.startswith("role role_")
    assert finding.fact.endswith(" has no USAGE on schema public")
    with engine.begin() as connection:
        connection.exec_driver_sql(finding.sql)
    repaired = diagnose(subject_of(without_usage), [check]).findings
    assert Status.FAIL not in {each.status for each in repaired}


def test_a_command_without_usage_on_the_schema_names_the_grant(without_usage, engine):
    """A command's error names the missing USAGE privilege and the statement that grants it."""
    with pytest.raises(ConfigError, match=r" has no USAGE on schema public$") as raised:
        collect_stats(without_usage, max_retries=5)
    said, statement = raised.value.hint.removesuffix(", run in psql"), raised.value.sql
    with engine.begin() as connection:
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        assert said == f"as the user {connection.exec_driver_sql(owner).scalar_one()}"
        connection.exec_driver_sql(statement)
    assert collect_stats(without_usage, max_retries=5).pending == 0


@pytest.mark.parametrize("name", ["absent", "public"])
def test_a_schema_without_the_tables_is_not_a_missing_usage(engine, database_url, name):
    """If the tables are missing, the error still says so, whether or not the schema exists."""
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE outbox RENAME TO elsewhere")
    other = make_engine(DatabaseSettings(Secret(f"{database_url}?schema={name}"), pooled=False))
    with pytest.raises(ConfigError, match=r"^payctl's tables or columns are missing"):
        collect_stats(other, max_retries=5)
