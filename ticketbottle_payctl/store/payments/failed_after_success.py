"""Find the paid orders whose failure event was sent after their success event.

The order service releases the tickets of such an order. The outbox has no index on the payment. Therefore the search
begins with the COMPLETED payments that failed at some time, and reads only the published events that were created next
to this time and next to the payment's completion.

A publisher sends the events of one claim in order. The search knows the claim by ``xmin``, the transaction that last
wrote the row. After a dump and restore, all rows have the ``xmin`` of the restore, so the search finds no order whose
events were sent before the restore.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from ticketbottle_payctl.domain.event import RELEASING
from ticketbottle_payctl.store.db.owner_time import aware, stored
from ticketbottle_payctl.store.outbox.repeated import MOST_READ, is_success
from ticketbottle_payctl.store.payctl.runs import IS_CLOSING, UNTIL
from ticketbottle_payctl.store.payments.open_orders import OpenOrder, WithoutTicket

MOST_PAYMENTS = 1_000
"""The maximum number of payments whose events are read.

If there are more payments, the search reads the events of the payments that were completed last.
"""

RELEASED_AFTER_SUCCESS = "released_after_success"
"""The reason of an order whose failure was sent after its success."""

BEFORE_WINDOW = timedelta(days=7)
"""How long before the window a payment may have been completed. By default, a cleanup deletes older events."""


def _near(at: str) -> str:
    """Return the SQL query for the published events that were created next to this instant."""
    sides = (
        f"""SELECT * FROM (
            SELECT e."aggregateId" AS key, e."eventType", e."publishedAt" AS sent, e.xmin AS claim FROM outbox AS e
            WHERE e.published = true AND e."createdAt" {side} {at}
            ORDER BY e."createdAt" {direction} LIMIT {MOST_READ}) AS side"""  # noqa: S608 - constants
        for side, direction in ((">=", "ASC"), ("<", "DESC"))
    )
    return " UNION ALL ".join(sides)


# One claim marks both events of a payment in any order, but the publisher sends them in order.
_FOUND = f"""
    WITH failed AS MATERIALIZED (
        SELECT p.id, p."orderCode" AS code, p."amountCents" AS amount, p."completedAt" AS completed,
            p."failedAt" AS failed
        FROM payments AS p
        WHERE p.status = 'COMPLETED' AND p."completedAt" >= %(completed_since)s AND p."completedAt" < %(until)s
            AND p."failedAt" IS NOT NULL
        ORDER BY p."completedAt" DESC LIMIT {MOST_PAYMENTS}
    ), failure AS MATERIALIZED (
        SELECT DISTINCT ON (p.id) p.id, p.code, p.amount, p.completed, f.sent, f.claim
        FROM failed AS p CROSS JOIN LATERAL ({_near("p.failed")}) AS f
        WHERE f.key = p.id AND f."eventType" = %(releasing)s AND f.sent >= %(since)s AND f.sent < %(until)s
        ORDER BY p.id, f.sent DESC
    )
    SELECT f.id, f.code, f.amount, f.sent FROM failure AS f
    WHERE EXISTS (
            SELECT FROM ({_near("f.completed")}) AS s
            WHERE s.key = f.id AND {is_success("s.")} AND s.sent < f.sent AND s.claim <> f.claim)
        AND NOT EXISTS (
            SELECT FROM payctl.run_items AS i WHERE i.item_id = f.id
                AND {IS_CLOSING} AND {UNTIL} >= f.sent AT TIME ZONE 'UTC')
    ORDER BY f.sent, f.id
"""  # noqa: S608 - only constants are put in


def failed_after_success(connection: Connection, since: datetime, until: datetime) -> list[OpenOrder]:
    """Return the paid orders whose failure was sent in the window and after their success, earliest first.

    Orders that a person has closed since are left out.
    """
    values = {
        "since": stored(since),
        "until": stored(until),
        "completed_since": stored(since - BEFORE_WINDOW),
        "releasing": RELEASING,
    }
    rows = connection.exec_driver_sql(_FOUND, values)
    return [
        OpenOrder(WithoutTicket.MONEY, key, code, amount, aware(sent), RELEASED_AFTER_SUCCESS)
        for key, code, amount, sent in rows
    ]
