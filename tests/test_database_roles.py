"""Test that the grants in docs/how-to/database-roles.md give each role exactly what its part of payctl needs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.documented_roles import PAGE, create_database, create_master, drop_roles
from tests.stand_ins import Gateways, serving
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.cleanup import cleanup
from ticketbottle_payctl.jobs.close_event import close_event, find_event
from ticketbottle_payctl.jobs.doctor import Subject
from ticketbottle_payctl.jobs.doctor.database import own_schema
from ticketbottle_payctl.jobs.doctor.grants import grants
from ticketbottle_payctl.jobs.measure_outbox import count_harmless_dead
from ticketbottle_payctl.jobs.order import close_findings, find_open
from ticketbottle_payctl.jobs.process_webhook import Trace, WebhookOutcome, process_webhook
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.jobs.reconcile.endpoints import status_endpoints
from ticketbottle_payctl.jobs.reconcile.settle_overdue import UnattendedOptions, settle_overdue
from ticketbottle_payctl.jobs.report import collect_report
from ticketbottle_payctl.jobs.runs import list_runs
from ticketbottle_payctl.jobs.stats import By, collect_stats
from ticketbottle_payctl.jobs.watch_payments import watch_payments
from ticketbottle_payctl.providers import by_name
from ticketbottle_payctl.providers.samples import sample
from ticketbottle_payctl.sandbox.payment_service import (
    insert_events,
    insert_payment,
    insert_payments_of_events,
)
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.db import migrations
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.inspect.sessions import sees_other_sessions
from ticketbottle_payctl.store.outbox import dead
from ticketbottle_payctl.store.payctl import receipts
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun
from ticketbottle_payctl.wiring import Services

NO_SUBJECT = Subject(engine=None, kafka=None, producer=None, credentials=None, now=None)


@pytest.fixture(scope="module")
def engine_as(postgres):
    """Yield a function that returns a database engine for a role, such as "webhook".

    The database has the grants from docs/how-to/database-roles.md.

    A role without superuser rights runs the page's SQL, like the RDS master user.
    """
    create_master(postgres)
    yield create_database(postgres, "roles").__getitem__
    postgres.drop_database("roles")
    drop_roles(postgres)


def test_the_operator_role_makes_a_report(engine_as):
    """The on-call operator's role can read everything that `payctl report` counts."""
    now = datetime.now(UTC)
    report = collect_report(
        engine_as("operator"), now - timedelta(hours=1), now, max_retries=5, retention=timedelta(days=7)
    )
    assert report.gaps == ()


def test_the_webhook_role_settles_a_payment(engine_as):
    """The webhook role can settle a callback and answer a repeated one with only its documented privileges."""
    callback = sample("zalopay")
    data = json.loads(json.loads(callback.request.body)["data"])
    with engine_as("superuser").begin() as connection:
        insert_payment(connection, amount=data["amount"], reference=data["app_trans_id"])
    reports = [
        process_webhook(
            engine_as("webhook"), callback.request, by_name("zalopay"), callback.credentials, trace=Trace("one")
        )
        for _ in range(2)
    ]
    assert [report.outcome for report in reports] == [WebhookOutcome.SETTLED, WebhookOutcome.ALREADY_SETTLED]
    with transaction(engine_as("webhook"), Limits()) as connection:
        assert receipts.find_request(connection, reports[0].receipt_id).request == callback.request


@pytest.mark.parametrize(("role", "recorded"), [("reconciler", True), ("webhook", False)])
def test_settling_by_hand_is_recorded_if_the_role_is_allowed_to_write_records(engine_as, role, recorded):
    """The reconciler role is allowed to record a run. The webhook role is not, but it still settles the payment."""
    callback = sample("momo")
    data = json.loads(callback.request.body)
    with engine_as("superuser").begin() as connection:
        connection.exec_driver_sql('DELETE FROM payments WHERE "providerTransactionId" = %s', (data["orderId"],))
        insert_payment(connection, provider="MOMO", amount=data["amount"], reference=data["orderId"])
    run = NewRun(str(uuid4()), "process-webhook", Actor("me", "here"))
    report = process_webhook(engine_as(role), callback.request, by_name("momo"), callback.credentials, run=run)
    assert (report.outcome, report.run_id) == (WebhookOutcome.SETTLED, run.id if recorded else None)
    with transaction(engine_as("superuser"), Limits()) as connection:
        found = connection.exec_driver_sql("SELECT status FROM payctl.runs WHERE id = %s::uuid", (run.id,)).scalars()
        assert list(found) == (["done"] if recorded else [])


def test_the_publisher_role_publishes(engine_as, mock_kafka):
    """The publisher role's documented privileges are enough to claim and release events and to record the publisher."""
    with engine_as("superuser").begin() as connection:
        insert_events(connection, 3)
        insert_events(connection, 1, event_type="PAYMENT_UNHEARD_OF")
    producer = Producer(producer_config(KafkaSettings(mock_kafka.bootstrap)))
    report = publish_outbox(engine_as("publisher"), producer, PublishOptions())
    producer.close()
    assert (report.counts.published >= 3, report.counts.dead) == (True, 1)


@pytest.mark.parametrize("role", ["cleanup", "operator"])
def test_the_cleanup_and_operator_roles_clean_up(engine_as, role, tmp_path):
    """The cleanup and operator roles can archive and delete events with only the privileges from database-roles.md.

    Only the operator's run is recorded.
    """
    with engine_as("superuser").begin() as connection:
        insert_events(connection, 2, state="published", age=timedelta(days=8))
    run = NewRun(str(uuid4()), "cleanup", Actor("me", "here"))
    archive = tmp_path / "events.ndjson.gz"
    report = cleanup(engine_as(role), retention=timedelta(days=7), max_retries=5, archive=archive, run=run)
    assert (report.deleted, report.archived) == (2, 2)
    assert report.run_id == (run.id if role == "operator" else None)


@pytest.mark.parametrize("role", ["publisher", "cleanup", "operator"])
def test_three_roles_may_read_the_outboxs_statistics(engine_as, role):
    """Three roles can run `payctl stats` with only the privileges from database-roles.md."""
    assert collect_stats(engine_as(role), max_retries=5, by=By.ERROR).total >= 0


def test_the_watcher_role_measures_the_gateways(engine_as):
    """payctl_watcher can count recent payments and callbacks with only the privileges from database-roles.md."""
    with engine_as("superuser").begin() as connection:
        insert_payment(connection, provider="MOMO", reference="watched")
    assert "momo" in {one.gateway for one in watch_payments(engine_as("watcher"))}


def test_the_reconciler_role_settles_overdue_payments(engine_as):
    """The reconciler role can query a gateway, settle and record the run with only its documented privileges."""
    with engine_as("superuser").begin() as connection:
        payment = insert_payment(connection, provider="MOMO", reference="overdue", age=timedelta(hours=1))
    with serving(Gateways(states={"overdue": "paid"})) as gateways:
        services = Services(gateways.environment)
        endpoints = status_endpoints(services.environ, services.credentials, production=False)
        limits = UnattendedOptions(10, timedelta(seconds=20), rate=1000)
        who = Actor("payctl-prod-reconcile-payments", "lambda")
        report = settle_overdue(engine_as("reconciler"), endpoints, limits, who)
    assert report.done[payment.id].outcome == "settled"
    (run,) = (one for one in list_runs(engine_as("operator"), 50).runs if one.id == report.run_id)
    assert (run.status, run.who, run.db_role) == ("done", who, "payctl_reconciler")


def test_the_reconciler_role_counts_the_payments_that_a_person_has_closed(engine_as):
    """A closed payment needs no person, but the reconciler still asks about it, and settles it if it was paid."""
    with engine_as("superuser").begin() as connection:
        connection.exec_driver_sql("UPDATE payments SET status = 'FAILED' WHERE status = 'PENDING'")
        payments = [
            insert_payment(connection, provider="MOMO", reference=name, age=timedelta(hours=1))
            for name in ("closed", "paid")
        ]
    now = datetime.now(UTC)
    for payment in payments:
        found = find_open(engine_as("operator"), payment.id, max_retries=5, now=now)
        run = NewRun(str(uuid4()), "close", Actor("me", "here"), reason="not in the portal")
        close_findings(engine_as("operator"), replace(found, answer="not_found"), run)
    with serving(Gateways(states={"closed": "unknown", "paid": "paid"})) as gateways:
        services = Services(gateways.environment)
        endpoints = status_endpoints(services.environ, services.credentials, production=False)
        limits = UnattendedOptions(10, timedelta(seconds=20), rate=1000)
        report = settle_overdue(engine_as("reconciler"), endpoints, limits, Actor("payctl", "lambda"))
    assert (report.counts["closed"], report.counts["not_found"], report.counts["settled"]) == (1, 0, 1)
    assert report.done[payments[1].id].status_after == "COMPLETED"


@pytest.fixture
def without_grants(engine_as):
    """Revoke the cleanup role's privileges to read closed events, and grant them again after the test."""
    grants = ("SELECT (id, status) ON payments", "SELECT (item_id, outcome, reason) ON payctl.run_items")
    with engine_as("superuser").begin() as connection:
        for each in grants:
            connection.exec_driver_sql(f"REVOKE {each} FROM payctl_cleanup")
    yield
    with engine_as("superuser").begin() as connection:
        for each in grants:
            connection.exec_driver_sql(f"GRANT {each} TO payctl_cleanup")


@pytest.mark.parametrize("role", ["publisher", "cleanup"])
def test_two_roles_count_the_dead_events_that_do_no_harm(engine_as, role):
    """The publisher and cleanup roles are allowed to read a payment's id and status.

    Therefore they recognise harmless dead events.
    """
    dead_failures(engine_as, 1)
    assert count_harmless_dead(engine_as(role), 5) == 1


@pytest.mark.usefixtures("without_grants")
def test_a_role_that_may_not_read_payments_counts_every_dead_event_as_harmful(engine_as):
    """A role without the privilege to read a payment's id and status recognises no harmless dead event."""
    dead_failures(engine_as, 1)
    assert count_harmless_dead(engine_as("cleanup"), 5) == 0


def dead_failures(engine_as, number):
    """Replace all events by dead failure events of completed payments."""
    with engine_as("superuser").begin() as connection:
        connection.exec_driver_sql("DELETE FROM outbox")
        insert_events(connection, number, state="dead", event_type="PAYMENT_FAILED")
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")


def close_one(engine_as):
    """Close the first of the dead events."""
    with engine_as("superuser").connect() as connection:
        event_id = connection.exec_driver_sql("SELECT min(id) FROM outbox").scalar_one()
    event = find_event(engine_as("operator"), event_id, 5)
    close_event(engine_as("operator"), event, NewRun(str(uuid4()), "close", Actor("me", "here")), 5, "payctl show")


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_cleanup_role_leaves_out_the_dead_events_that_a_person_has_closed(engine_as, dry_run):
    """The scheduled cleanup counts closed dead events separately, reports only the others, and deletes none of them."""
    dead_failures(engine_as, 2)
    close_one(engine_as)
    report = cleanup(engine_as("cleanup"), retention=timedelta(0), max_retries=5, dry_run=dry_run)
    assert (report.dead, report.closed, report.closings_known) == (2, 1, True)
    assert (report.counts["closed"], [group.events for group in report.groups]) == (1, [1])
    with engine_as("superuser").connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM outbox").scalar_one() == 2


@pytest.mark.usefixtures("without_grants")
def test_a_cleanup_that_may_not_read_the_closings_says_so(engine_as, caplog):
    """A cleanup works without the privilege to read closing records, but then it counts closed events as open.

    The log line says that its number includes closed events.
    """
    caplog.set_level("INFO", logger="ticketbottle_payctl")
    dead_failures(engine_as, 2)
    close_one(engine_as)
    with engine_as("superuser").begin() as connection:
        insert_events(connection, 1, state="published", age=timedelta(days=8))
    report = cleanup(engine_as("cleanup"), retention=timedelta(days=7), max_retries=5)
    assert (report.deleted, report.dead, report.closed, report.closings_known) == (1, 2, 0, False)
    assert "closed" not in report.counts
    (alert,) = [each.payctl_fields for each in caplog.records if each.getMessage() == "outbox_dead_events"]
    assert (alert["events"], alert["includes_closed"]) == (2, True)


def test_a_role_that_may_not_read_why_an_event_was_closed_counts_no_closing(engine_as):
    """A role without the new privilege to read the reason of a closing counts the closed event as open."""
    dead_failures(engine_as, 1)
    close_one(engine_as)
    counted = []
    for statement in (
        "REVOKE SELECT (reason) ON payctl.run_items FROM",
        "GRANT SELECT (reason) ON payctl.run_items TO",
    ):
        with engine_as("superuser").begin() as connection:
            connection.exec_driver_sql(f"{statement} payctl_publisher")
        with engine_as("publisher").connect() as connection:
            counted.append((dead.count(connection, 5).closed, dead.harmless(connection, 5)))
    assert counted == [(0, 1), (1, 1)]


def test_the_publisher_role_leaves_out_the_dead_events_that_a_person_has_closed(engine_as, mock_kafka):
    """A publisher with the documented privileges, `stats` and `errors` count the same closed dead event."""
    dead_failures(engine_as, 2)
    close_one(engine_as)
    producer = Producer(producer_config(KafkaSettings(mock_kafka.bootstrap)))
    obstacles = publish_outbox(engine_as("publisher"), producer, PublishOptions()).obstacles
    producer.close()
    assert (obstacles.dead, obstacles.dead_failures, obstacles.dead_closed) == (2, 2, 1)
    stats = collect_stats(engine_as("publisher"), max_retries=5, explain=True)
    assert (stats.dead, stats.superseded, stats.closed) == (2, 2, 1)


@pytest.mark.parametrize(("role", "seen"), [("publisher", True), ("cleanup", False), ("operator", True)])
def test_a_role_sees_why_events_wait(engine_as, role, seen):
    """Each role can see dead events and other sessions' locks.

    Every role except cleanup can see when a publisher last ran.
    """
    with engine_as("superuser").begin() as connection:
        connection.exec_driver_sql("DELETE FROM outbox")
        insert_events(connection, 1, state="dead", age=timedelta(hours=1))
        insert_events(connection, 2, age=timedelta(minutes=30))
        connection.exec_driver_sql(
            """UPDATE outbox SET "aggregateId" = 'one' WHERE id = (SELECT max(id) FROM outbox)"""
        )
        connection.exec_driver_sql("""UPDATE outbox SET "aggregateId" = 'one' WHERE "retryCount" > 0""")
    with transaction(engine_as("superuser"), Limits(), commit=False) as holder:
        holder.exec_driver_sql("SELECT 1 FROM outbox FOR UPDATE")
        report = collect_stats(engine_as(role), max_retries=5, explain=True)
    said = " | ".join(cause.fact for cause in report.causes)
    assert "is dead: unknown event type" in said
    assert "locked by pid" in said
    assert "payctl" in said
    report = collect_stats(engine_as(role), max_retries=5, explain=True)
    hidden = "this role cannot see when the last one ran" in " | ".join(cause.fact for cause in report.causes)
    assert hidden is not seen


@pytest.mark.parametrize("role", ["webhook", "publisher", "cleanup", "watcher", "reconciler", "operator"])
def test_every_role_may_read_the_schema_status(engine_as, role):
    """Every role that docs/how-to/database-roles.md describes can run `payctl db status`."""
    assert migrations.status(engine_as(role)).pending == ()


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


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("owner", "SELECT 1 FROM payments"),
        ("owner", "UPDATE outbox SET published = true"),
        ("webhook", 'UPDATE payments SET "amountCents" = 1'),
        ("webhook", "UPDATE outbox SET published = true"),
        ("webhook", "DELETE FROM outbox"),
        ("webhook", "UPDATE payctl.webhook_receipts SET body = ''"),
        ("publisher", 'SELECT "amountCents" FROM payments'),
        ("publisher", "SELECT 1 FROM payctl.webhook_receipts"),
        ("publisher", "SELECT before FROM payctl.run_items"),
        ("publisher", "UPDATE outbox SET payload = '{}'"),
        ("publisher", "DELETE FROM outbox"),
        ("cleanup", 'SELECT "amountCents" FROM payments'),
        ("cleanup", "SELECT before FROM payctl.run_items"),
        ("cleanup", "SELECT 1 FROM payctl.webhook_receipts"),
        ("cleanup", "UPDATE outbox SET published = true"),
        ("watcher", 'SELECT id, "orderCode", "amountCents" FROM payments'),
        ("watcher", "SELECT body FROM payctl.webhook_receipts"),
        ("watcher", "UPDATE payments SET status = 'FAILED'"),
        ("watcher", "SELECT 1 FROM outbox"),
        ("operator", "UPDATE payments SET status = 'FAILED'"),
        ("operator", "DELETE FROM payctl.webhook_receipts"),
    ],
)
def test_a_role_cannot_do_what_the_page_does_not_grant(engine_as, role, statement):
    """If a role lacks a privilege, the database refuses the statement and payctl raises ConfigError."""
    with pytest.raises(ConfigError, match="lacks a privilege"), transaction(engine_as(role), Limits()) as connection:
        connection.exec_driver_sql(statement)
