"""Test the roles of docs/how-to/database-roles.md in two databases of a server. PUBLIC cannot use the schemas."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest

from tests.documented_roles import PAGE, create_database, create_master, drop_roles
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.jobs.cleanup import cleanup
from ticketbottle_payctl.jobs.process_webhook import WebhookOutcome, process_webhook
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.jobs.watch_payments import watch_payments
from ticketbottle_payctl.providers import by_name
from ticketbottle_payctl.providers.samples import sample
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment
from ticketbottle_payctl.settings import KafkaSettings

SCHEMAS = {"first_of_two": "public", "second_of_two": "tickets"}
"""The schema of the payment service's tables in each database. PUBLIC has no privilege on it."""


@pytest.fixture(scope="module")
def engines(postgres):
    """Map each of the two databases to the engines of the roles."""
    (word,) = re.findall(r"leave out the `([A-Z ]+)` lines", PAGE.read_text("utf-8"))
    create_master(postgres)
    yield {
        name: create_database(
            postgres, name, schema=schema, private=True, leave_out=rf"^{word} .*;$" if number else None
        )
        for number, (name, schema) in enumerate(SCHEMAS.items())
    }
    for name in SCHEMAS:
        postgres.drop_database(name)
    drop_roles(postgres)


@pytest.fixture(params=SCHEMAS)
def engine_as(engines, request):
    """Return a function that returns an engine for a role in the database."""
    return engines[request.param].__getitem__


@pytest.mark.parametrize(("role", "gateway"), [("webhook", "zalopay"), ("reconciler", "momo")])
def test_a_role_settles_a_payment_in_a_closed_schema(engine_as, role, gateway):
    """The webhook and reconciler roles can settle a payment in a schema that is closed to PUBLIC."""
    callback = sample(gateway)
    data = json.loads(callback.request.body)
    data = json.loads(data["data"]) if gateway == "zalopay" else data
    reference = data["app_trans_id"] if gateway == "zalopay" else data["orderId"]
    with engine_as("superuser").begin() as connection:
        insert_payment(connection, provider=gateway.upper(), amount=data["amount"], reference=reference)
    report = process_webhook(engine_as(role), callback.request, by_name(gateway), callback.credentials)
    assert report.outcome is WebhookOutcome.SETTLED


def test_the_publisher_role_publishes_from_a_closed_schema(engine_as, mock_kafka):
    """The publisher role can publish the events of the outbox in a schema that is closed to PUBLIC."""
    with engine_as("superuser").begin() as connection:
        insert_events(connection, 3)
    producer = Producer(producer_config(KafkaSettings(mock_kafka.bootstrap)))
    report = publish_outbox(engine_as("publisher"), producer, PublishOptions())
    producer.close()
    assert report.counts.published >= 3


@pytest.mark.parametrize("role", ["cleanup", "operator"])
def test_a_role_cleans_up_in_a_closed_schema(engine_as, role):
    """The cleanup and operator roles can delete published events in a schema that is closed to PUBLIC."""
    with engine_as("superuser").begin() as connection:
        insert_events(connection, 2, state="published", age=timedelta(days=8))
    assert cleanup(engine_as(role), retention=timedelta(days=7), max_retries=5).deleted == 2


def test_the_watcher_role_counts_payments_in_a_closed_schema(engine_as):
    """The watcher role can count the payments in a schema that is closed to PUBLIC."""
    with engine_as("superuser").begin() as connection:
        insert_payment(connection, provider="VNPAY", reference="watched")
    assert "vnpay" in {one.gateway for one in watch_payments(engine_as("watcher"))}
