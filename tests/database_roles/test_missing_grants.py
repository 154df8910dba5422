"""Test what payctl says about missing grants and migrations, and which role can fix them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.documented_roles import PAGE
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.doctor import Subject
from ticketbottle_payctl.jobs.doctor.database import own_schema
from ticketbottle_payctl.jobs.doctor.grants import grants
from ticketbottle_payctl.store.db import migrations
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.inspect.sessions import sees_other_sessions

NO_SUBJECT = Subject(engine=None, kafka=None, producer=None, credentials=None, now=None)


def test_an_upgrade_as_another_role_names_the_role_that_runs_it(engine_as):
    """If an upgrade lacks a privilege, the hint names the owner of payctl's schema and advises no grant."""
    with pytest.raises(ConfigError, match="permission denied for schema payctl") as raised:
        migrations.upgrade(engine_as("operator"))
    assert raised.value.hint == "run it as payctl_owner: set DATABASE_URL=postgresql://payctl_owner@HOST:PORT/DATABASE"


@pytest.mark.parametrize(
    ("role", "remedy"),
    [
        ("operator", "as payctl_owner (set DATABASE_URL=postgresql://payctl_owner@HOST:PORT/DATABASE), run"),
        ("owner", None),
    ],
)
def test_the_doctor_names_the_role_that_runs_a_missing_migration(engine_as, role, remedy, monkeypatch):
    """If a migration is missing, the doctor's fix names the owner of payctl's schema, unless the role owns it."""
    later = [*migrations.known(), migrations.Migration(9999, "9999_later", "")]
    monkeypatch.setattr(migrations, "known", lambda: later)
    (finding,) = own_schema(replace(NO_SUBJECT, engine=lambda: engine_as(role)))
    assert (finding.fact, finding.remedy) == ("schema payctl lacks 9999_later", remedy)


@pytest.mark.parametrize(
    ("role", "tasks"),
    [
        ("owner", "db upgrade"),
        ("reconciler", "process-webhook · reconcile payments · watch-payments"),
        ("webhook", "process-webhook · watch-payments"),
        ("publisher", "publish-outbox · stats"),
        ("cleanup", "stats · cleanup"),
        ("watcher", "watch-payments"),
        (
            "operator",
            "publish-outbox · stats · stats --by provider · list and show · replay · cleanup · watch-payments",
        ),
    ],
)
def test_the_doctor_accepts_every_role_of_the_page(engine_as, role, tasks):
    """`payctl doctor` finds that each role in database-roles.md has all the privileges that its tasks need."""
    with transaction(engine_as(role), Limits()) as connection:
        (finding,) = grants(connection, NO_SUBJECT)
    assert (finding.status.value, finding.fact) == ("ok", f"role payctl_{role} can: {tasks}")


@pytest.mark.parametrize(
    ("revoked", "advised"),
    [
        (
            {"owner": "REVOKE INSERT ON payctl.webhook_receipts FROM payctl_webhook"},
            {"owner": 'GRANT INSERT ON payctl.webhook_receipts TO "payctl_webhook"'},
        ),
        (
            {"owner": "REVOKE USAGE ON SCHEMA payctl FROM payctl_webhook"},
            {"owner": 'GRANT USAGE ON SCHEMA payctl TO "payctl_webhook"'},
        ),
        (
            {
                "owner": "REVOKE INSERT ON payctl.webhook_receipts FROM payctl_webhook",
                "master": "REVOKE INSERT (payload) ON outbox FROM payctl_webhook",
            },
            {
                "owner": 'GRANT INSERT ON payctl.webhook_receipts TO "payctl_webhook"',
                "master": 'GRANT INSERT ("payload") ON "public".outbox TO "payctl_webhook"',
            },
        ),
    ],
)
def test_the_doctor_names_the_user_who_can_grant_what_is_missing(engine_as, revoked, advised):
    """For each owner, the doctor shows the SQL that grants exactly what is missing. The owner can run this SQL."""
    for owner, statement in revoked.items():
        with engine_as(owner).begin() as connection:
            connection.exec_driver_sql(statement)
    with transaction(engine_as("webhook"), Limits()) as connection:
        found = [one for one in grants(connection, NO_SUBJECT) if one.sql]
    for finding in found:
        owner = finding.remedy.removeprefix("as the user payctl_").removesuffix(", run")
        with engine_as(owner).begin() as connection:
            connection.exec_driver_sql(finding.sql)
    assert {one.remedy: one.sql for one in found} == {
        f"as the user payctl_{owner}, run": sql for owner, sql in advised.items()
    }
    with transaction(engine_as("webhook"), Limits()) as connection:
        assert [one.status.value for one in grants(connection, NO_SUBJECT)] == ["ok"]


def test_pg_monitor_lets_the_operator_see_all_sessions(engine_as):
    """With the optional grant from database-roles.md, the doctor no longer warns about other roles' sessions."""
    (grant,) = re.findall(r"^GRANT pg_monitor TO .*$", PAGE.read_text("utf-8"), re.MULTILINE)
    seen = []
    for statement in (grant, grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM ")):
        with engine_as("superuser").begin() as connection:
            connection.exec_driver_sql(statement)
        with transaction(engine_as("operator"), Limits()) as connection:
            seen.append(sees_other_sessions(connection))
    assert seen == [True, False]
