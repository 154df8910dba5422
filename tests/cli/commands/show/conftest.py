"""Fixtures for orders in every state, with the rows that the payment service, webhook and publisher write."""

from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256
from types import SimpleNamespace
from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.cli.commands.show.findings_to_close import DONE
from ticketbottle_payctl.sandbox.payment_service import insert_payment

HOUR = timedelta(hours=1)
_EVENT = text("""
    INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, published, "publishedAt", "createdAt",
        "retryCount", "lastError")
    SELECT :id, :payment, 'payment', :type, CAST(:payload AS jsonb), :published, CASE WHEN :published THEN at END, at,
        :retries, :error
    FROM (SELECT (clock_timestamp() - :age) AT TIME ZONE 'UTC' AS at) AS clock
""")
_RECEIPT = text("""
    INSERT INTO payctl.webhook_receipts (
        id, received_at, provider, order_ref, reference, gateway_transaction_id, amount, currency,
        outcome, result, reason, method, path, query, body, body_sha256, payment_id, event_id, payment_number)
    VALUES (CAST(:id AS uuid), clock_timestamp() - :age, :provider, :order_ref, :reference, :number, :amount, 'VND',
        :outcome, :result, :reason, :method, '/webhook', '', :body, :sha256, :payment, :event, :payment_number)
""")
_ENDS = {"COMPLETED": "completedAt", "FAILED": "failedAt", "CANCELLED": "cancelledAt"}


class Orders:
    """A writer that inserts one order. Each ``age`` is the time that has passed since the event or change."""

    def __init__(self, engine):
        self._engine = engine
        self.payment = None
        self.events = []
        self.receipts = []

    def pay(self, status="PENDING", *, age=HOUR, provider="MOMO", ended=None, **more):
        """Insert the payment. ``ended`` maps each earlier final status to the time that has passed since then."""
        with self._engine.begin() as connection:
            self.payment = insert_payment(connection, amount=320_000, provider=provider, status=status, age=age, **more)
            for other, at in (ended or {}).items():
                sql = f"UPDATE payments SET \"{_ENDS[other]}\" = (now() - %(age)s) AT TIME ZONE 'UTC'"  # noqa: S608
                connection.exec_driver_sql(f"{sql} WHERE id = %(id)s", {"age": at, "id": self.payment.id})
        return self

    def event(self, kind="COMPLETED", state="pending", *, age=HOUR, retries=0, error=None, id=None, size=0):  # noqa: A002
        """Insert an event for the payment."""
        event = id or str(uuid4())
        payload = {"order_code": self.payment.order_code, "padding": "x" * size} if self.payment else {}
        values = {
            "id": event,
            "payment": self.payment.id if self.payment else "gone",
            "type": kind if kind.startswith("?") else f"PAYMENT_{kind}",
            "payload": json.dumps(payload),
            "published": state == "published",
            "age": age,
            "retries": retries or 5 * (state == "dead"),
            "error": error,
        }
        with self._engine.begin() as connection:
            connection.execute(_EVENT, values)
        self.events.append(event)
        return self

    def callback(
        self, outcome="COMPLETED", result="settled", reason=None, *, amount=320_000, age=timedelta(minutes=3), **more
    ):
        """Insert a receipt for the payment.

        Callbacks with the same content have the same body, unless ``body`` is given.
        """
        payment = self.payment
        values = {
            "id": str(uuid4()),
            "age": age,
            "provider": "momo",
            "order_ref": payment.order_code if payment else "nobody's order",
            "reference": payment.reference if payment else "nobody's reference",
            "number": "4711",
            "amount": amount,
            "outcome": outcome,
            "result": result,
            "reason": reason,
            "method": "POST",
            "payment": payment.id if payment else None,
            "event": None,
        }
        values |= more
        values.setdefault("payment_number", values["number"])
        content = (outcome, values["order_ref"], values["number"], amount)
        values.setdefault("body", " ".join(map(str, content)).encode())
        values["sha256"] = sha256(values["body"]).digest()
        with self._engine.begin() as connection:
            connection.execute(_RECEIPT, values)
        self.receipts.append(values["id"])
        return self

    def unclear(self, reason, **more):
        """Insert a receipt for an unclear callback. The receipt has the order code but is not linked to a payment."""
        return self.callback("UNCLEAR", "refused", reason, amount=None, reference="", payment=None, number=None, **more)

    def named(self, text):
        """Replace the placeholders in the given string with the order's code and ids."""
        first = [*self.events, *[""] * 3]
        names = {"order": self.payment.order_code if self.payment else "", "receipt": (self.receipts or [""])[-1]}
        return text.format(**names, first=first[0], second=first[1])

    @property
    def name(self):
        """The name to pass to `payctl show`: the order code or, failing that, the id of a receipt or of an event."""
        return self.payment.order_code if self.payment else [*self.receipts, *self.events][0]


@pytest.fixture
def orders(engine):
    """Return a writer that inserts an order in any state."""
    return Orders(engine)


@pytest.fixture
def shown(ask, orders):
    """Return a function that runs `payctl show` for the order, and returns the parts of the JSON document."""

    def show(**environment):
        document = ask("show", orders.name, **environment)
        result = document["result"]
        return SimpleNamespace(
            document=document,
            verdict=result["verdict"],
            kinds=[each["kind"] for each in (result["verdict"], *result["also"])],
            commands=[each["command"] for each in result["next"]],
            exit_code=document["exit_code"],
        )

    return show


@pytest.fixture
def close(ask, orders):
    """Return a function that runs `payctl close` for the order and returns the document."""
    return lambda *options: ask("close", orders.name, "-y", "--reason", DONE, *options, PAYCTL_ACTOR="Lan")
