"""Find a payment, lock its row, and write the decision that ``domain.settlement.settle`` made."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import Connection

from ticketbottle_payctl.domain.callback import Callback, Unclear
from ticketbottle_payctl.domain.late_commits import WRITE_WITHIN
from ticketbottle_payctl.domain.new_event import NewEvent
from ticketbottle_payctl.domain.payment import Payment, is_of_gateway, status_of
from ticketbottle_payctl.domain.settlement import Transition
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.store.db.engine import fetch
from ticketbottle_payctl.store.db.owner_time import NOW, aware, stored
from ticketbottle_payctl.store.payctl import receipts
from ticketbottle_payctl.store.payctl.receipts import Receipt
from ticketbottle_payctl.store.payments import lookup

# COALESCE stops at the first match. The first search needs both the reference and the order code, which is the usual
# case and uses an index. The second search uses only the reference, and the third only the order code. The instant is
# read outside the locking subquery. Therefore it is read after the wait for the lock.
_FIND = """
{walk}SELECT held.*, date_trunc('milliseconds', {now}) AS now{learned}
FROM (
    SELECT id, "orderCode", "amountCents", currency::text, provider, "providerTransactionId", status::text,
           "failedAt", "cancelledAt"
    FROM payments
    WHERE id = COALESCE(
        {ways})
    {lock}
) AS held
"""


def _find_sql(*, walk: bool, lock: bool) -> str:
    ways = [lookup.BOTH, *[lookup.BY_NUMBER][:walk], lookup.BY_REFERENCE, lookup.BY_ORDER_CODE]
    return _FIND.format(
        walk=lookup.WALK if walk else "",
        learned=", (SELECT payments FROM reference), (SELECT indexed FROM reference)" if walk else "",
        now=NOW,
        ways=",\n        ".join(f"({way})" for way in ways),
        lock="FOR NO KEY UPDATE" if lock else "",
    )


_LOCK_DIRECTLY, _LOCK_BY_WALK = (_find_sql(walk=walk, lock=True) for walk in (False, True))
_FIND_DIRECTLY, _FIND_BY_WALK = (_find_sql(walk=walk, lock=False) for walk in (False, True))

# The statement checks that the status is still the one that the decision was based on, and that the event was written
# in time. The clock is read after all rows are written, so a slow write counts too. The event's instant is ahead of the
# clock if the payment's previous event is ahead of it. The event, its context and the receipt are in one statement, so
# no change of status is committed without its event.
_SETTLE = f"""
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
    SELECT %(event_id)s, id, %(aggregate_type)s, %(event_type)s, %(payload)s::jsonb, %(at)s FROM settled RETURNING 1
), context AS (
    INSERT INTO payctl.event_context (event_id, correlation_id, traceparent)
    SELECT %(event_id)s, %(correlation_id)s, %(traceparent)s FROM settled
    WHERE %(correlation_id)s IS NOT NULL OR %(traceparent)s IS NOT NULL RETURNING 1
), receipt AS (
    {receipts.INSERT} RETURNING 1
), written AS MATERIALIZED (
    SELECT (SELECT count(*) FROM settled) AS payments, (SELECT count(*) FROM appended),
        (SELECT count(*) FROM context), (SELECT count(*) FROM receipt)
) SELECT payments, {NOW} < %(at)s::timestamp + %(within)s FROM written
"""  # noqa: S608 - a constant of ours


def lock(connection: Connection, callback: Callback) -> tuple[Payment, datetime] | None:
    """Lock the row of a callback's payment. Return the payment, and the database's time (UTC) after locking.

    The payment is found by its reference, or by its order code if no payment has this reference. If no payment is
    found, return None.
    """
    return _found(connection, callback, _LOCK_DIRECTLY, _LOCK_BY_WALK)


def find(connection: Connection, callback: Unclear) -> Payment | None:
    """Return the payment that an unclear callback refers to, if it belongs to the callback's gateway.

    Do not lock it.
    """
    found = _found(connection, callback, _FIND_DIRECTLY, _FIND_BY_WALK)
    return found[0] if found and is_of_gateway(found[0], callback.provider) else None


def _found(
    connection: Connection, callback: Callback | Unclear, directly: str, by_walk: str
) -> tuple[Payment, datetime] | None:
    walk = lookup.needs_walk(connection, callback)
    rows = fetch(connection, by_walk if walk else directly, lookup.parameters(callback))
    if not rows:
        return None
    (row,) = rows
    if walk:
        lookup.learn(connection, row[10], indexed=row[11])
    payment = Payment(
        id=row[0],
        order_code=row[1],
        amount=row[2],
        currency=row[3],
        provider=row[4],
        reference=row[5],
        status=status_of(row[6]),
        failed_at=aware(row[7]),
        cancelled_at=aware(row[8]),
    )
    return payment, aware(row[9])


def settle(connection: Connection, transition: Transition, event: NewEvent, receipt: Receipt) -> None:
    """Write the payment's new status, its outbox event, the event's trace and the receipt in one statement.

    This must be the last statement in the transaction. :mod:`ticketbottle_payctl.domain.late_commits` defines the
    transaction's idle limit.

    Raises:
        DatabaseUnavailableError: the event was written more than ``WRITE_WITHIN`` after the transition's instant, or a
            trigger or policy in the database prevented the update of the payment. The caller must then roll back.
    """
    parameters = receipts.parameters(receipt) | {
        "before": transition.before.value,
        "after": transition.after.value,
        "at": stored(transition.at),
        "within": WRITE_WITHIN,
        "aggregate_type": event.aggregate_type,
        "event_type": event.event_type,
        "payload": json.dumps(event.payload),
    }
    ((settled, in_time),) = fetch(connection, _SETTLE, parameters)
    if not in_time:
        message = "the database was too slow: publishers could miss the payment's event"
        raise DatabaseUnavailableError(message, hint="try again; find out what slows down the database or this process")
    if settled != 1:
        message = "the database did not update the payment"
        raise DatabaseUnavailableError(
            message, hint="check whether the payments table has a trigger or a row-level security policy"
        )
