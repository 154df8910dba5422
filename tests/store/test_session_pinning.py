"""Test that payctl's jobs send no statement that pins a session in RDS Proxy.

https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/rds-proxy-pinning.html#rds-proxy-pinning.postgres
"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.stand_ins import Gateways, serving
from tests.wire import Wire
from ticketbottle_payctl import providers
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.jobs.cleanup import cleanup
from ticketbottle_payctl.jobs.process_webhook import WebhookOutcome, process_webhook
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.jobs.reconcile.endpoints import status_endpoints
from ticketbottle_payctl.jobs.reconcile.settle_overdue import UnattendedOptions, settle_overdue
from ticketbottle_payctl.jobs.watch_payments import watch_payments
from ticketbottle_payctl.sandbox.callbacks import callback, environment
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings, KafkaSettings
from ticketbottle_payctl.store.db.engine import make_engine
from ticketbottle_payctl.store.payctl.runs import Actor
from ticketbottle_payctl.wiring import Services

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]

PINS = re.compile(
    r"(?:^|;)\s*(?:SET|RESET|PREPARE|EXECUTE|DEALLOCATE|DISCARD|DECLARE|LISTEN|UNLISTEN|LOAD|LOCK)\b"
    r"|\bCREATE\s+TEMP|\b(?:nextval|setval)\s*\(|\bpg_(?:try_)?advisory_(?:lock|unlock)",
    re.IGNORECASE,
)
"""A pattern for statements that always pin a session. Locks that end with their transaction do not pin a session."""

LARGEST = 16 * 1024
"""The size, in bytes, above which any statement pins its session."""


def webhook(engine, _kafka):
    """Settle a payment with a callback, and then process the same callback again."""
    with engine.begin() as connection:
        payment = insert_payment(connection, provider="ZALOPAY", reference="261123_1")
    keys = environment()
    credentials = providers.credentials(providers.by_name("zalopay"), lambda name: (Secret(keys[name]),))
    for _ in range(2):
        report = process_webhook(engine, callback(payment), providers.by_name("zalopay"), credentials)
    assert report.outcome is WebhookOutcome.ALREADY_SETTLED


def watch(engine, _kafka):
    """Count the gateways' payments and callbacks."""
    with engine.begin() as connection:
        insert_payment(connection, provider="MOMO", reference="watched")
    assert watch_payments(engine)


def clean(engine, _kafka):
    """Delete old events."""
    with engine.begin() as connection:
        insert_events(connection, 3, state="published", age=timedelta(days=30))
    assert cleanup(engine, retention=timedelta(days=7), max_retries=5).deleted == 3


def reconcile(engine, _kafka):
    """Settle an overdue payment, and record the run."""
    with engine.begin() as connection:
        insert_payment(connection, provider="MOMO", reference="overdue", age=timedelta(hours=1))
    with serving(Gateways(states={"overdue": "paid"})) as gateways:
        services = Services(gateways.environment)
        endpoints = status_endpoints(services.environ, services.credentials, production=False)
        limits = UnattendedOptions(10, timedelta(seconds=20), rate=1000)
        report = settle_overdue(engine, endpoints, limits, Actor("payctl", "lambda"))
    assert report.counts["settled"] == 1


def publish(engine, kafka):
    """Publish a full batch."""
    with engine.begin() as connection:
        insert_events(connection, 1000)
    producer = Producer(producer_config(KafkaSettings(kafka.bootstrap)))
    report = publish_outbox(engine, producer, PublishOptions())
    producer.close()
    assert report.counts.published == 1000


@pytest.fixture
def wire(postgres):
    """Yield a recording proxy in front of the server."""
    with_ends = Wire(postgres.port)
    yield with_ends
    with_ends.close()


@pytest.fixture
def sent(wire, postgres, database_url, mock_kafka):
    """Yield a function that runs a job and returns the queries that the job sent to the database."""
    url = database_url.replace(f":{postgres.port}/", f":{wire.port}/")
    engine = make_engine(DatabaseSettings(Secret(url)))

    def run(job):
        job(engine, mock_kafka)
        return list(wire.queries)

    yield run
    engine.dispose()


@pytest.mark.parametrize("job", [webhook, watch, clean, reconcile, publish])
def test_no_statement_of_a_job_changes_the_session(sent, job):
    """Every setting and every advisory lock that a job uses ends with the transaction."""
    queries = sent(job)
    assert [query for query in queries if PINS.search(query)] == []
    settings = re.findall(r"set_config\((.*?)\)", "".join(queries))
    assert settings
    assert [each for each in settings if not each.endswith(", true")] == []


@pytest.mark.parametrize("job", [webhook, watch, clean, reconcile, publish])
def test_the_settings_of_a_transaction_are_one_statement_of_its_first_message(sent, job):
    """A transaction sends its settings once, in one message with BEGIN and its first statement."""
    queries = sent(job)
    begun = [query for query in queries if re.match(r"BEGIN\b", query)]
    assert begun
    assert [query for query in queries if "set_config" in query] == begun
    for query in begun:
        begin, settings, statement = re.split(r";\s*", query, maxsplit=2)
        assert (begin, settings.startswith("SELECT set_config("), statement.strip() != "") == ("BEGIN", True, True)
        assert "set_config" not in statement


@pytest.mark.parametrize("job", [webhook, watch, clean, reconcile, publish])
def test_a_job_s_statements_are_too_short_to_pin_a_session(sent, job):
    """Even for a full batch, each of a job's statements is shorter than half of the length that pins a session."""
    assert max(len(query.encode()) for query in sent(job)) < LARGEST / 2
