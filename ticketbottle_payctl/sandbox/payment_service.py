"""Create tables, payments and outbox rows as the payment service does.

The demo, the tests and the benchmarks use this module. As in production, amounts are in whole VND, and all times are in
UTC, without a time zone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from typing import TYPE_CHECKING, Final, Literal
from uuid import uuid4

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Connection

EventState = Literal["pending", "published", "dead", "sent_unmarked"]
"""An event's state. ``sent_unmarked`` means that the event is half-marked, as the old service left it."""

_INSERT_PAYMENT: Final = text("""
    INSERT INTO payments (
        id, "orderCode", "amountCents", currency, provider, "providerTransactionId", "idempotencyKey",
        "redirectUrl", "paymentUrl", status, metadata, "createdAt", "updatedAt",
        "completedAt", "failedAt", "cancelledAt")
    SELECT
        :id, :order_code, :amount, 'VND', :provider, :reference, :idempotency_key,
        'https://shop.invalid/thanks', 'https://pay.invalid/checkout', CAST(:status AS "PaymentStatus"),
        CAST(:metadata AS jsonb), at, at,
        CASE :status WHEN 'COMPLETED' THEN at END,
        CASE :status WHEN 'FAILED' THEN at END,
        CASE :status WHEN 'CANCELLED' THEN at END
    FROM (SELECT (clock_timestamp() - :age) AT TIME ZONE 'UTC' AS at) AS clock
""")

_INSERT_EVENTS: Final = text("""
    WITH clock AS MATERIALIZED (
        SELECT (clock_timestamp() - :age) AT TIME ZONE 'UTC' AS newest
    ), made AS (
        SELECT i, newest - (:count - i) * interval '1 millisecond' AS at,
               md5(:run || CASE WHEN :aggregates > 0 THEN i % :aggregates ELSE i END) AS hash
        FROM clock, generate_series(1, :count) AS i
        OFFSET 0  -- keeps the planner from computing these columns once per use
    ), worded AS (
        SELECT *, hash::uuid::text AS payment_id, jsonb_build_object(
            'payment_id', hash::uuid, 'order_code', 'TB-DEMO-20261123-' || upper(left(hash, 8)),
            'amount_cents', 250000, 'currency', 'VND', 'provider', 'ZALOPAY',
            'transaction_id', '261123_' || left(hash, 12),
            :at_field, to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) AS payload
        FROM made
        OFFSET 0
    ), measured AS (
        SELECT *, :payload_bytes - octet_length(payload::text) - 15 AS missing FROM worded OFFSET 0
    )
    INSERT INTO outbox (
        id, "aggregateId", "aggregateType", "eventType", payload, published, "publishedAt", "createdAt",
        "retryCount", "lastError")
    SELECT gen_random_uuid(), payment_id, :aggregate_type, :event_type,
        CASE WHEN missing < 0 THEN payload ELSE payload || jsonb_build_object('padding', repeat('x', missing)) END,
        :published, CASE WHEN :sent THEN at + interval '1 second' END, at, :retry_count, :last_error
    FROM measured
""")

_INSERT_PAYMENTS_OF_EVENTS: Final = text("""
    INSERT INTO payments (
        id, "orderCode", "amountCents", currency, provider, "providerTransactionId", "idempotencyKey",
        "redirectUrl", "paymentUrl", status, "createdAt", "updatedAt", "completedAt")
    SELECT DISTINCT ON ("aggregateId") "aggregateId", payload->>'order_code', 250000, 'VND', 'ZALOPAY',
        payload->>'transaction_id', "aggregateId", 'https://shop.invalid/thanks', 'https://pay.invalid/checkout',
        CAST(replace("eventType", 'PAYMENT_', '') AS "PaymentStatus"), "createdAt", "createdAt",
        CASE "eventType" WHEN 'PAYMENT_COMPLETED' THEN "createdAt" END
    FROM outbox
    WHERE "eventType" IN ('PAYMENT_COMPLETED', 'PAYMENT_FAILED', 'PAYMENT_CANCELLED')
    ORDER BY "aggregateId", "createdAt" DESC
    ON CONFLICT DO NOTHING
""")


@dataclass(frozen=True, slots=True)
class SandboxPayment:
    """A new payment. ``reference`` is the payment's ``"providerTransactionId"``."""

    id: str
    order_code: str
    amount: int
    provider: str
    reference: str


def create_tables(connection: Connection) -> None:
    """Create the payment service's enums, tables and indexes in the connection's current schema."""
    connection.exec_driver_sql(resources.files(__package__).joinpath("payment_service.sql").read_text("utf-8"))


def insert_payment(  # noqa: PLR0913 - a factory: every argument has a default and a name
    connection: Connection,
    *,
    id: str | None = None,  # noqa: A002 - the column's name
    order_code: str | None = None,
    amount: int = 250_000,
    provider: str = "ZALOPAY",
    reference: str | None = None,
    status: str = "PENDING",
    metadata: Mapping[str, object] | None = None,
    age: timedelta = timedelta(0),
) -> SandboxPayment:
    """Insert and return a payment as the payment service does when a customer starts to pay.

    ``provider`` is in upper case: ZALOPAY, PAYOS, VNPAY or MOMO. If no id, order code or reference is given, a unique
    one is generated.
    """
    made = SandboxPayment(
        id=id or str(uuid4()),
        order_code=order_code or f"TB-DEMO-20261123-{uuid4().hex[:8].upper()}",
        amount=amount,
        provider=provider,
        reference=reference or f"261123_{uuid4().hex[:12]}",
    )
    values = {
        "id": made.id,
        "order_code": made.order_code,
        "amount": made.amount,
        "provider": made.provider,
        "reference": made.reference,
        "idempotency_key": str(uuid4()),
        "status": status,
        "metadata": None if metadata is None else json.dumps(metadata),
        "age": age,
    }
    connection.execute(_INSERT_PAYMENT, values)
    return made


def insert_events(  # noqa: PLR0913 - a factory: every argument has a default and a name
    connection: Connection,
    count: int,
    *,
    event_type: str = "PAYMENT_COMPLETED",
    aggregate_type: str = "payment",
    state: EventState = "pending",
    aggregates: int = 0,
    payload_bytes: int = 300,
    age: timedelta = timedelta(0),
    retry_count: int | None = None,
    last_error: str | None = None,
) -> None:
    """Insert ``count`` outbox rows in one statement. Their creation times are a millisecond apart.

    The newest row is ``age`` old.

    The events are assigned to ``aggregates`` payments in turn. If ``aggregates`` is 0, each event has its own payment.
    Shorter payloads are padded to ``payload_bytes``. If ``retry_count`` is None, a dead row has a retry count of 5.
    """
    dead = state == "dead"
    values = {
        "count": count,
        "run": uuid4().hex,
        "aggregates": aggregates,
        "event_type": event_type,
        "aggregate_type": aggregate_type,
        "at_field": f"{event_type.removeprefix('PAYMENT_').lower()}_at",
        "payload_bytes": payload_bytes,
        "age": age,
        "published": state == "published",
        "sent": state in {"published", "sent_unmarked"},
        "retry_count": retry_count if retry_count is not None else 5 * dead,
        "last_error": last_error or ("unknown event type" if dead else None),
    }
    connection.execute(_INSERT_EVENTS, values)


def insert_payments_of_events(connection: Connection) -> int:
    """Insert the missing payments for all outbox rows. Return how many were inserted.

    A payment's status comes from its latest event.
    """
    return connection.execute(_INSERT_PAYMENTS_OF_EVENTS).rowcount
