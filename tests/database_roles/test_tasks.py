"""Test that the grants in docs/how-to/database-roles.md give each role exactly what its part of payctl needs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.stand_ins import Gateways, serving
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.cleanup import cleanup
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
)
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.db import migrations
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payctl import receipts
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun
from ticketbottle_payctl.wiring import Services


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
