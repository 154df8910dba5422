"""Find customers who paid but have no ticket, because an event is unpublished or missing, or a callback was refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import NOW, aware, stored
from ticketbottle_payctl.store.outbox import blocked, dead, states
from ticketbottle_payctl.store.outbox.needless_unknown import CLOSED_IF_COMPLETED
from ticketbottle_payctl.store.outbox.repeated import judged_repeated
from ticketbottle_payctl.store.outbox.selector import UNKNOWN_TYPE
from ticketbottle_payctl.store.payctl.transfers import reports_money, transfer
from ticketbottle_payctl.store.payments.closed_transfers import STILL_OPEN, TOLD

MOST_SHOWN = 20
"""The maximum number of orders to list for each kind. All orders are counted."""

WAITS_AFTER = timedelta(seconds=1)
"""Pending events that are older than this count as waiting. A publisher is probably sending newer events already."""

_CLOCKS_DIFFER = timedelta(hours=1)


class WithoutTicket(StrEnum):
    """The reasons why an order is open: the customer has paid but has no ticket, or money needs manual review."""

    PENDING = "pending"
    BLOCKED = "blocked"
    DEAD = "dead"
    NO_EVENT = "no_event"
    UNKNOWN_TYPE = "unknown_type"
    REFUSED = "refused"
    MONEY = "money"


class OpenOrder(NamedTuple):
    """An order that needs attention.

    The customer has paid or may have paid but has no ticket, or the payment needs manual review.

    ``id`` is the id of the event, payment or receipt that shows the fault. ``at`` is the time when the event was
    created, the payment was completed, or the callback arrived. ``amount`` is in whole VND. ``why`` is the event's last
    error, the unknown type of the payment's only event, the reason why the callback was refused, or the kind of the
    finding about money.
    """

    kind: WithoutTicket
    id: str
    order_code: str | None
    amount: int | None
    at: datetime
    why: str | None


class OpenOrders(NamedTuple):
    """The number of open orders, the sum of their amounts in whole VND, and the oldest of these orders.

    ``more`` is True if there may be more orders that were not read.
    """

    number: int
    amount: int
    oldest: tuple[OpenOrder, ...]
    more: bool = False


# If the payment's success was already sent, its customer does not wait for an event.
_UNPUBLISHED = f"""
    unpublished AS (
        SELECT o.id, o."aggregateId", o."eventType", o."createdAt", o."retryCount", o."lastError", o.published,
            o."publishedAt", {blocked.behind_dead("o.")} AS behind_dead
        FROM outbox AS o WHERE {states.unpublished("o.")}
    ), open AS MATERIALIZED (
        SELECT DISTINCT ON (o."aggregateId") o.id, o."aggregateId" AS payment, o."createdAt" AS at,
            CASE WHEN {states.has_retries("o.")} AND o.behind_dead THEN 'blocked'
                ELSE {states.name("o.")} END AS state,
            CASE WHEN o."retryCount" > 0 THEN left(o."lastError", 500) END AS error -- else it is from before a replay
        FROM unpublished AS o
        WHERE o."eventType" = 'PAYMENT_COMPLETED'
          AND (NOT {states.has_retries("o.")} OR o."createdAt" <= {NOW} - %(waits_after)s)
          AND (o.id IN (SELECT unnest(ARRAY(SELECT id FROM repeated)))) IS NOT TRUE
          AND (o."aggregateId" IN (SELECT unnest(ARRAY(SELECT key FROM sent_key)))) IS NOT TRUE
        ORDER BY o."aggregateId", o."createdAt", o.id COLLATE "C"
    )
    SELECT state, open.id, p."orderCode", p."amountCents", open.at, error, count(*) OVER (),
        COALESCE(sum(p."amountCents") OVER (), 0)::bigint
    FROM open LEFT JOIN payments AS p ON p.id = open.payment ORDER BY at, open.id LIMIT {MOST_SHOWN}
"""  # noqa: S608 - only constants are put in

# If a payment has no success event, an unpublished event of an unknown type may have been meant as one, unless a person
# has closed it. An index finds the unpublished events. The outbox has no index on the payment's id. Therefore the
# statement reads the events since the window's start once, and finds each payment's events with a hash join. If a
# receipt names the payment's success event, this event existed, so it is not missing. The status is not cast to text,
# because the planner would then expect too few payments and read the larger table into the hash table.
_NO_EVENT = f"""
    WITH unknown AS MATERIALIZED (
        SELECT DISTINCT ON (o."aggregateId") o."aggregateId" AS payment, o."eventType" AS type FROM outbox AS o
        WHERE {states.unpublished("o.")} AND {UNKNOWN_TYPE} AND NOT {CLOSED_IF_COMPLETED}
        ORDER BY o."aggregateId", o."createdAt", o.id COLLATE "C"
    )
    SELECT CASE WHEN u.payment IS NULL THEN 'no_event' ELSE 'unknown_type' END, p.id, p."orderCode", p."amountCents",
        p."completedAt", u.type, count(*) OVER (), sum(p."amountCents") OVER ()
    FROM payments AS p LEFT JOIN unknown AS u ON u.payment = p.id
    WHERE p.status = 'COMPLETED' AND p."completedAt" >= %(since)s AND p."completedAt" < %(until)s
      AND NOT EXISTS (SELECT FROM outbox AS o WHERE o."aggregateId" = p.id AND o."eventType" = 'PAYMENT_COMPLETED'
        AND o.published = ANY('{{t,f}}') AND o."createdAt" >= %(events_since)s)
      AND (u.payment IS NULL OR %(with_unknown)s)
      AND NOT EXISTS (SELECT FROM payctl.webhook_receipts AS r WHERE r.payment_id = p.id AND r.event_id IS NOT NULL
        AND r.outcome = 'COMPLETED')
    ORDER BY p."completedAt", p.id LIMIT {MOST_SHOWN}
"""  # noqa: S608 - only constants are put in

_REFUSED = f"""
    WITH told AS MATERIALIZED (
        SELECT DISTINCT ON (r.reference, {transfer("r.")}) {TOLD}
        FROM payctl.webhook_receipts AS r
        WHERE r.received_at >= %(since)s AND r.received_at < %(until)s AND r.result = 'refused'
          AND {reports_money("r.")} AND r.reason IS DISTINCT FROM 'refund'
        ORDER BY r.reference, {transfer("r.")}, r.received_at DESC, r.id
    ), {STILL_OPEN}, of_order AS (
        SELECT DISTINCT ON (COALESCE(payment, NULLIF(order_ref, ''), id::text)) id, order_code, order_ref, amount,
            received_at, reason
        FROM still_open WHERE status IS DISTINCT FROM 'COMPLETED'
        ORDER BY COALESCE(payment, NULLIF(order_ref, ''), id::text), received_at DESC, id
    )
    SELECT 'refused', id::text, COALESCE(order_code, order_ref), amount, received_at AT TIME ZONE 'UTC', reason,
        count(*) OVER (), COALESCE(sum(amount) OVER (), 0)::bigint
    FROM of_order ORDER BY received_at, id LIMIT {MOST_SHOWN}
"""  # noqa: S608 - only constants are put in


def unpublished(connection: Connection, max_retries: int) -> OpenOrders:
    """Return the orders whose PAYMENT_COMPLETED event is pending or dead now, and whose success is not published."""
    found = judged_repeated(with_closings=dead.rights(connection).closings)
    parameters = {"max_retries": max_retries, "waits_after": WAITS_AFTER}
    return _orders(connection, f"WITH {found}, {_UNPUBLISHED}", parameters)


def no_event(connection: Connection, since: datetime, until: datetime, *, with_unknown: bool = True) -> OpenOrders:
    """Return the payments that were completed in the window but have no PAYMENT_COMPLETED event.

    If such a payment has an unpublished event of an unknown type that no person has closed, its kind is UNKNOWN_TYPE.
    Without ``with_unknown``, these payments are left out.

    The window must be within the retention period, because a cleanup deletes older events.
    """
    parameters = {"since": stored(since), "until": stored(until), "events_since": stored(since - _CLOCKS_DIFFER)}
    return _orders(connection, _NO_EVENT, parameters | {"with_unknown": with_unknown})


def refused(connection: Connection, since: datetime, until: datetime) -> OpenOrders:
    """Return the orders with a refused callback in the window that reported money, unless the payment is COMPLETED now.

    Orders that a person has closed are left out.
    """
    return _orders(connection, _REFUSED, {"since": since, "until": until})


def _orders(connection: Connection, sql: str, parameters: dict[str, Any]) -> OpenOrders:
    rows = connection.exec_driver_sql(sql, parameters).all()
    return OpenOrders(rows[0][6], int(rows[0][7]), tuple(map(_order, rows))) if rows else OpenOrders(0, 0, ())


def _order(row: Sequence[Any]) -> OpenOrder:
    kind, row_id, order_code, amount, at, why = row[:6]
    return OpenOrder(WithoutTicket(kind), row_id, order_code, amount, aware(at), why)
