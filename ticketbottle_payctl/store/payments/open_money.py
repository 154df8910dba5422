"""Find payments whose money a person may have to look at. A job judges them, as ``payctl show`` does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from ticketbottle_payctl.store.payctl.runs import IS_CLOSED

_ONCE_SETTLED = "('settled', 'already_settled')"

# The search begins with the receipts of the window, whose time has an index. The outbox has no index on the payment.
# A payment that was paid after it ended has a receipt that settled it. What a person has closed since is left out.
_FOUND = f"""
WITH told AS MATERIALIZED (
    SELECT payment_id, order_ref, received_at, result, payment_number, reason = ANY(%(reasons)s) AS for_a_person
    FROM payctl.webhook_receipts
    WHERE received_at >= %(since)s AND received_at < %(until)s
        AND (reason = ANY(%(reasons)s) OR (outcome = 'COMPLETED' AND result IN {_ONCE_SETTLED}))
), near AS (
    SELECT p.id, t.order_ref, t.received_at AS at FROM told AS t JOIN payments AS p ON p.id = t.payment_id
    WHERE t.for_a_person
    UNION ALL
    SELECT p.id, t.order_ref, t.received_at FROM told AS t JOIN payments AS p ON p."orderCode" = t.order_ref
    WHERE t.for_a_person AND t.payment_id IS NULL
    UNION ALL
    SELECT t.payment_id, t.order_ref, t.received_at FROM told AS t
    WHERE t.result = 'already_settled' AND EXISTS (
        SELECT FROM payctl.webhook_receipts AS r WHERE r.payment_id = t.payment_id AND r.outcome = 'COMPLETED'
            AND r.result IN {_ONCE_SETTLED} AND r.payment_number <> t.payment_number)
    UNION ALL
    SELECT p.id, t.order_ref, p."completedAt" AT TIME ZONE 'UTC'
    FROM told AS t JOIN payments AS p ON p.id = t.payment_id
    WHERE t.result = 'settled' AND LEAST(p."failedAt", p."cancelledAt") < p."completedAt"
)
SELECT id FROM near WHERE NOT {IS_CLOSED.format(subjects="ARRAY[near.id, near.order_ref]", since="near.at")}
GROUP BY id ORDER BY min(at), id LIMIT %(most)s
"""  # noqa: S608 - only constants are put in


def perhaps_open(
    connection: Connection, since: datetime, until: datetime, reasons: Sequence[str], most: int
) -> list[str]:
    """Return the ids of payments whose money a callback of the window is about, the oldest callback first.

    A callback counts if it has one of the ``reasons``, reports a second transfer, or settled a payment that had ended.
    """
    values = {"since": since, "until": until, "reasons": list(reasons), "most": most}
    return list(connection.exec_driver_sql(_FOUND, values).scalars())
