"""The payment service's ``payments``: find one and hold it, and write what settling decided."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sqlalchemy import Connection

from ticketbottle_payctl.domain.event import NewEvent
from ticketbottle_payctl.domain.payment import Payment, Status, Transition
from ticketbottle_payctl.store import receipts
from ticketbottle_payctl.store.receipts import Receipt

# By reference first, then by order code. The production table has no index on "providerTransactionId", so the row
# where both agree is looked for first: it is the usual one, and the unique index on "orderCode" finds it.
# The instant is read outside the locking subquery: after a wait for the row, not before it.
_LOCK = """
SELECT held.*, date_trunc('milliseconds', clock_timestamp() AT TIME ZONE 'UTC') AS now
FROM (
    SELECT id, "orderCode", "amountCents", currency::text, provider, "providerTransactionId", status::text,
           "failedAt", "cancelledAt"
    FROM payments
    WHERE id = (
        SELECT found.id FROM (
            SELECT id FROM payments WHERE "orderCode" = %(order_code)s AND "providerTransactionId" = %(reference)s
            UNION ALL
            (SELECT id FROM payments WHERE "providerTransactionId" = %(reference)s ORDER BY "createdAt" DESC, id)
            UNION ALL
            SELECT id FROM payments WHERE "orderCode" = %(order_code)s
        ) AS found LIMIT 1)
    FOR NO KEY UPDATE
) AS held
"""

# Guard: the status is still what was decided upon. The event, its context and the receipt are written in the same
# statement, so a change of state without its event cannot be committed.
_SETTLE = """
WITH settled AS (
    UPDATE payments
    SET status = %(after)s::"PaymentStatus", "updatedAt" = %(at)s,
        "completedAt" = CASE %(after)s WHEN 'COMPLETED' THEN %(at)s::timestamp ELSE "completedAt" END,
        "failedAt" = CASE %(after)s WHEN 'FAILED' THEN %(at)s::timestamp ELSE "failedAt" END,
        "cancelledAt" = CASE %(after)s WHEN 'CANCELLED' THEN %(at)s::timestamp ELSE "cancelledAt" END
    WHERE id = %(payment_id)s AND status = %(before)s::"PaymentStatus"
    RETURNING id
), appended AS (
    INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, "createdAt")
    SELECT %(event_id)s, id, %(aggregate_type)s, %(event_type)s, %(payload)s::jsonb, %(at)s FROM settled
), context AS (
    INSERT INTO payctl.event_context (event_id, correlation_id, traceparent)
    SELECT %(event_id)s, %(correlation_id)s, %(traceparent)s FROM settled
    WHERE %(correlation_id)s IS NOT NULL OR %(traceparent)s IS NOT NULL
), receipt AS (
"""
_SETTLED = ") SELECT count(*) FROM settled"


def lock(connection: Connection, reference: str, order_code: str) -> tuple[Payment, datetime] | None:
    """Find the payment a callback is about and hold its row; with it the database's instant (UTC) under the lock.

    Looked up by what it was created with, then by its order code. None where there is no such payment.
    """
    row = connection.exec_driver_sql(_LOCK, {"reference": reference, "order_code": order_code}).one_or_none()
    if row is None:
        return None
    payment = Payment(
        id=row[0],
        order_code=row[1],
        amount=row[2],
        currency=row[3],
        provider=row[4],
        reference=row[5],
        status=Status(row[6]),
        failed_at=_utc(row[7]),
        cancelled_at=_utc(row[8]),
    )
    return payment, row[9].replace(tzinfo=UTC)


def settle(
    connection: Connection, transition: Transition, event: NewEvent, receipt: Receipt, traceparent: str | None = None
) -> bool:
    """Write the change of state, its one outbox event and the receipt, in one statement.

    False where the row no longer was what the transition starts from; then nothing but the receipt was written.
    """
    parameters = receipts.parameters(receipt) | {
        "before": transition.before.value,
        "after": transition.after.value,
        "at": transition.at.replace(tzinfo=None),
        "event_id": event.id,
        "aggregate_type": event.aggregate_type,
        "event_type": event.event_type,
        "payload": json.dumps(event.payload),
        "traceparent": traceparent,
    }
    return bool(connection.exec_driver_sql(_SETTLE + receipts.INSERT + _SETTLED, parameters).scalar_one())


def _utc(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at else None
