"""Find the paid orders whose failure event was sent.

If the failure was sent after the success, the order service has released the tickets. If it was sent before, the order
service may have refused the success, as it does for a failed order. If the payment itself failed before it was
completed, the money came too late, which is a finding of its own.

The outbox has no index on the payment. Therefore the search begins with the COMPLETED payments that failed at some
time, and reads only the published events that were created next to this time and next to the payment's completion.

A publisher sends the events of one claim in order. The search knows the claim by ``xmin``, the transaction that last
wrote the row. After a dump and restore, all rows have the ``xmin`` of the restore. The search then assumes that each
payment's events were sent in order, and finds no late money whose failure was sent after the success.
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

FAILED_BEFORE_SUCCESS = "failed_before_success"
"""The reason of an order whose failure was sent before its success, although its payment had not failed before."""

BEFORE_WINDOW = timedelta(days=7)
"""How long before the window a payment may have been completed. By default, a cleanup deletes older events."""


def _near(at: str) -> str:
    """Return the SQL query for the published events that were created next to this instant."""
    sides = (
        f"""SELECT * FROM (
            SELECT e."aggregateId" AS key, e."eventType", e."createdAt" AS created, e."publishedAt" AS sent,
                e.xmin AS claim
            FROM outbox AS e
            WHERE e.published = true AND e."createdAt" {side} {at}
            ORDER BY e."createdAt" {direction} LIMIT {MOST_READ}) AS side"""  # noqa: S608 - constants
        for side, direction in ((">=", "ASC"), ("<", "DESC"))
    )
    return " UNION ALL ".join(sides)


# One claim marks both events of a payment in any order, but the publisher sends them in order.
_FOUND = f"""
    WITH failed AS MATERIALIZED (
        SELECT p.id, p."orderCode" AS code, p."amountCents" AS amount, p."completedAt" AS completed,
            p."failedAt" AS failed, LEAST(p."failedAt", p."cancelledAt") < p."completedAt" AS late
        FROM payments AS p
        WHERE p.status = 'COMPLETED' AND p."completedAt" >= %(completed_since)s AND p."completedAt" < %(until)s
            AND p."failedAt" IS NOT NULL
        ORDER BY p."completedAt" DESC LIMIT {MOST_PAYMENTS}
    ), failure AS MATERIALIZED (
        SELECT p.id, p.code, p.amount, p.completed, p.late, f.created, f.sent, f.claim
        FROM failed AS p CROSS JOIN LATERAL ({_near("p.failed")}) AS f
        WHERE f.key = p.id AND f."eventType" = %(releasing)s AND (f.sent >= %(since)s OR NOT p.late)
    ), sent AS (
        SELECT f.id, f.code, f.amount, f.late, GREATEST(f.sent, s.sent) AS both,
            CASE WHEN s.claim = f.claim THEN NOT f.late AND f.created > s.created ELSE f.sent > s.sent END AS after
        FROM failure AS f CROSS JOIN LATERAL (
            SELECT s.created, s.sent, s.claim FROM ({_near("f.completed")}) AS s
            WHERE s.key = f.id AND {is_success("s.")} ORDER BY s.sent LIMIT 1) AS s
    ), last AS (
        SELECT DISTINCT ON (s.id) s.id, s.code, s.amount, s.both, s.after FROM sent AS s
        WHERE s.after OR NOT s.late
        ORDER BY s.id, s.after DESC, s.both DESC
    )
    SELECT l.id, l.code, l.amount, l.both, CASE WHEN l.after THEN %(after)s ELSE %(before)s END FROM last AS l
    WHERE l.both >= %(since)s AND l.both < %(until)s
        AND NOT EXISTS (
            SELECT FROM payctl.run_items AS i WHERE i.item_id = l.id
                AND {IS_CLOSING} AND {UNTIL} >= l.both AT TIME ZONE 'UTC')
    ORDER BY l.both, l.id
"""  # noqa: S608 - only constants are put in


def sent_failures(connection: Connection, since: datetime, until: datetime) -> list[OpenOrder]:
    """Return the paid orders whose failure and success were both sent, earliest first.

    The later of the two was sent in the window. Orders that a person has closed since are left out.
    """
    values = {
        "since": stored(since),
        "until": stored(until),
        "completed_since": stored(since - BEFORE_WINDOW),
        "releasing": RELEASING,
        "after": RELEASED_AFTER_SUCCESS,
        "before": FAILED_BEFORE_SUCCESS,
    }
    rows = connection.exec_driver_sql(_FOUND, values)
    return [
        OpenOrder(WithoutTicket.MONEY, key, code, amount, aware(both), why) for key, code, amount, both, why in rows
    ]
