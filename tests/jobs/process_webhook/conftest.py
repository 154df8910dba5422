"""Fixtures for callbacks: a merchant with keys for every gateway, and the rows of a real database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from uuid import uuid4

import pytest
from sqlalchemy.engine import Engine

from tests.stand_ins import reference_of
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.jobs.process_webhook import WebhookReport, process_webhook
from ticketbottle_payctl.providers import by_name, credentials
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment, insert_payment
from ticketbottle_payctl.secret import Secret

TABLES = ("payments", "outbox", "payctl.webhook_receipts", "payctl.event_context", "payctl.publishers")
KEYS = environment()


def keys_of(provider, **changes):
    """Return the merchant's keys for one gateway. ``changes`` overrides variables, and the value None removes a key."""
    values = {**KEYS, **changes}
    return credentials(by_name(provider), lambda name: (Secret(values[name]),) if values.get(name) else ())


@dataclass(frozen=True)
class Shop:
    """The payment service and payctl's webhook job, which share one database."""

    engine: Engine

    def payment(self, provider="zalopay", **values) -> SandboxPayment:
        """Insert a payment with a reference in the gateway's format, and return it."""
        order_code = values.pop("order_code", None) or f"TB-ROCK_HN-20261123-{uuid4().hex[:8].upper()}"
        values.setdefault("reference", reference_of(provider, order_code))
        with self.engine.begin() as connection:
            return insert_payment(connection, provider=provider.upper(), order_code=order_code, **values)

    def process(self, sent: SandboxPayment | Request, scenario=Scenario.PAID, **options) -> WebhookReport:
        """Process the callback for a payment, or process the given request.

        By default, the last part of the request's path names the gateway.
        """
        request = sent if isinstance(sent, Request) else callback(sent, scenario)
        name = options.pop("provider", None) or request.path.rsplit("/", 1)[-1]
        keys = options.pop("keys", None) or keys_of(name)
        engine = options.pop("engine", self.engine)
        return process_webhook(engine, request, by_name(name), keys, **options)

    def query(self, sql, *parameters):
        """Run a statement on a separate connection, commit, and return the rows as dictionaries."""
        with self.engine.connect() as connection:
            rows = [dict(row) for row in connection.exec_driver_sql(sql, parameters).mappings()]
            connection.commit()
        return rows

    def tables(self):
        """Return all rows of all tables."""
        return {table: self.query(f"SELECT t.*, t.xmin::text FROM {table} AS t ORDER BY 1") for table in TABLES}  # noqa: S608

    def row(self, payment):
        """Return the payment's row."""
        return self.query("SELECT * FROM payments WHERE id = %s", payment.id)[0]

    def events(self, payment=None):
        """Return the outbox rows of one payment or of all payments, from the oldest to the newest."""
        everything = self.query('SELECT * FROM outbox ORDER BY "createdAt", id')
        return [row for row in everything if payment is None or row["aggregateId"] == payment.id]

    def receipts(self):
        """Return the receipts in order of arrival."""
        return self.query("SELECT * FROM payctl.webhook_receipts ORDER BY received_at")

    def now(self):
        """Return the database server's time in UTC."""
        return self.query("SELECT clock_timestamp() AS at")[0]["at"].astimezone(UTC)


@pytest.fixture
def shop(engine):
    """Return a shop that uses the test's database."""
    return Shop(engine)


@pytest.fixture
def keys():
    """Return a function that returns a merchant's keys for one gateway, with changes."""
    return keys_of
