"""Find orders whose payments may need manual review.

A job then checks these orders by the same rules as ``payctl show``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.payctl.runs import IS_CLOSING, UNTIL
from ticketbottle_payctl.store.payctl.transfers import transfer
from ticketbottle_payctl.store.payments.closed_transfers import STILL_OPEN, TOLD

_ONCE_SETTLED = "('settled', 'already_settled')"

# The search begins with the receipts of the window, whose time has an index. The outbox has no index on the payment. A
# payment that was paid after it had failed or been cancelled has a receipt that settled it. Transfers that a person has
# closed since are left out.
_FOUND = f"""
WITH told AS MATERIALIZED (
    SELECT DISTINCT ON (r.reference, {transfer("r.")}) {TOLD}
    FROM payctl.webhook_receipts AS r
    WHERE r.received_at >= %(since)s AND r.received_at < %(until)s AND (
        r.reason = ANY(%(reasons)s) OR (
            r.outcome = 'COMPLETED' AND r.result = 'already_settled' AND EXISTS (
                SELECT FROM payctl.webhook_receipts AS o WHERE o.payment_id = r.payment_id AND o.outcome = 'COMPLETED'
                    AND o.result IN {_ONCE_SETTLED} AND o.payment_number <> r.payment_number)))
    ORDER BY r.reference, {transfer("r.")}, r.received_at
), settled AS MATERIALIZED (
    SELECT r.id, r.payment_id, r.order_ref, r.received_at FROM payctl.webhook_receipts AS r
    WHERE r.received_at >= %(since)s AND r.received_at < %(until)s AND r.outcome = 'COMPLETED' AND r.result = 'settled'
), {STILL_OPEN}, near AS (
    SELECT payment, COALESCE(payment, NULLIF(order_ref, ''), id::text) AS subject, id, received_at AS at
    FROM still_open
    WHERE NOT (result = 'refused' AND money AND reason <> 'refund' AND status IS DISTINCT FROM 'COMPLETED')
        AND (money OR COALESCE(status, '') NOT IN ('FAILED', 'CANCELLED'))
    UNION ALL
    SELECT p.id, p.id, r.id, r.received_at
    FROM settled AS r JOIN payments AS p ON p.id = r.payment_id
    WHERE LEAST(p."failedAt", p."cancelledAt") < p."completedAt" AND NOT EXISTS (
        SELECT FROM payctl.run_items AS i WHERE i.item_id = ANY(ARRAY[p.id, r.order_ref])
            AND {IS_CLOSING} AND {UNTIL} >= p."completedAt" AT TIME ZONE 'UTC')
)
SELECT payment, array_agg(id::text ORDER BY at, id) FROM near
GROUP BY payment, subject ORDER BY min(at), subject LIMIT %(most)s
"""  # noqa: S608 - only constants are put in


class PerhapsOpen(NamedTuple):
    """An order that may be open, with the receipts that show this, earliest first.

    If the database has no payment for the order, only the receipts identify it.
    """

    payment_id: str | None
    receipt_ids: Sequence[str]


def perhaps_open(
    connection: Connection, since: datetime, until: datetime, reasons: Sequence[str], most: int
) -> list[PerhapsOpen]:
    """Return at most ``most`` orders that have a callback in the window, oldest callback first.

    A callback counts if it has one of the ``reasons``, reports a second transfer, or settled a payment that had failed
    or been cancelled. Leave out the transfers that a person has closed, and the orders that
    :func:`~ticketbottle_payctl.store.payments.open_orders.refused` counts.
    """
    values = {"since": since, "until": until, "reasons": list(reasons), "most": most}
    return [PerhapsOpen(*row) for row in connection.exec_driver_sql(_FOUND, values)]
