"""Find out which reported transfers of money a person has closed. Every command uses this code, so all commands agree.

A closing record names a payment, a receipt, or the gateway's name for an order. The record covers each transfer of the
order that was first reported at or before the record's ``until``. All receipts count, including those from before a
command's time window, because a gateway may repeat an old callback.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.privileges import may_read_ours, may_read_payments
from ticketbottle_payctl.store.payctl.runs import IS_CLOSING, UNTIL
from ticketbottle_payctl.store.payctl.transfers import reports_money, transfer

TOLD = f"""r.id, r.provider, r.payment_id, r.order_ref, r.reference, r.received_at, r.reason, r.result, r.amount,
    r.body_sha256, {reports_money("r.")} AS money, {transfer("r.")} AS transfer"""
"""The columns of ``told``, which contains the receipts ``r`` that a statement asks about."""

_CLOSED_UNTIL = f"(SELECT max({UNTIL}) FROM payctl.run_items AS i WHERE i.item_id = {{}} AND {IS_CLOSING})"  # noqa: S608

# A gateway may repeat a callback thousands of times, so no step compares the repeats with each other. The copies are
# read once, and window functions sort them. A join of two common table expressions could compare each pair of rows.
#
# Receipts about one transfer have the same reference, which has an index. An unreadable callback has no reference, so
# "apart" separates its transfers. An early callback has no payment, but a later callback of the same order, or with the
# same bytes, may have it.
STILL_OPEN = f"""
asked AS MATERIALIZED (
    SELECT t.*, CASE WHEN t.reference = '' AND place = 1 THEN (
            SELECT r.payment_id FROM payctl.webhook_receipts AS r
            WHERE r.body_sha256 = t.body_sha256 AND r.provider = t.provider AND r.received_at > t.received_at
                AND r.payment_id IS NOT NULL LIMIT 1) END AS read_later
    FROM (SELECT *, row_number() OVER (PARTITION BY provider, body_sha256 ORDER BY received_at) AS place FROM told) AS t
), copies AS MATERIALIZED (
    SELECT {TOLD}, NULL::bigint AS place, NULL::text AS read_later
    FROM (SELECT DISTINCT reference FROM told WHERE reference <> '') AS n
        JOIN payctl.webhook_receipts AS r ON r.reference = n.reference
    UNION ALL
    SELECT {TOLD}, NULL, NULL FROM payctl.webhook_receipts AS r
    WHERE (SELECT count(*) FROM told WHERE reference = '') > 0 AND r.reference = ''
        AND ({transfer("r.")} IN (SELECT transfer FROM told WHERE reference = '')) IS TRUE  -- needs a hash table
    UNION ALL
    SELECT * FROM asked
), judged AS MATERIALIZED (
    SELECT *, min(received_at) OVER of_transfer AS since,
        COALESCE(payment_id, max(read_later) OVER (PARTITION BY reference, provider, body_sha256),
            CASE WHEN reference <> '' THEN max(payment_id) OVER of_gateway END) AS named,
        GREATEST(max({_CLOSED_UNTIL.format("COALESCE(NULLIF(order_ref, ''), c.id::text)")}) OVER of_order,
            max({_CLOSED_UNTIL.format("payment_id")}) OVER of_transfer) AS closed_until
    FROM (SELECT *, CASE WHEN reference = '' THEN transfer END AS apart FROM copies) AS c
    WINDOW of_order AS (PARTITION BY reference, apart), of_gateway AS (PARTITION BY reference, apart, provider),
        of_transfer AS (PARTITION BY reference, apart, provider, transfer)
), still_open AS (
    SELECT j.id, j.provider, j.order_ref, j.received_at, j.reason, j.result, j.amount, j.money,
        p.id AS payment, p."orderCode" AS order_code, p.status::text AS status, p.provider AS made_for
    FROM judged AS j LEFT JOIN LATERAL (
        SELECT id, "orderCode", status, provider FROM payments WHERE id = j.named
        UNION ALL
        SELECT id, "orderCode", status, provider FROM payments WHERE j.named IS NULL AND "orderCode" = j.order_ref
    ) AS p ON true
    WHERE j.place IS NOT NULL
        AND COALESCE(GREATEST(j.closed_until, {_CLOSED_UNTIL.format("p.id")}) < j.since, true)
)
"""  # noqa: S608 - only constants are put in
"""Common table expressions that find each transfer's payment.

The last expression, ``still_open``, leaves out the closed transfers.

The expressions need ``told``, which has the columns :data:`TOLD`. The cost grows linearly with the number of receipts.
"""

_CLOSED = f"""
    WITH told AS MATERIALIZED (
        SELECT {TOLD} FROM payctl.webhook_receipts AS r WHERE r.id = ANY(%(ids)s::uuid[])
    ), {STILL_OPEN}
    SELECT id::text FROM told EXCEPT SELECT id::text FROM still_open
"""  # noqa: S608 - only constants are put in
MAY_READ = f"""({may_read_ours("run_items", "item_id", "outcome", "after")}
    AND {may_read_payments("id", "orderCode", "status", "provider")})"""
"""An SQL condition that is true if the role is allowed to read the payments and the closing records.

The role must also be allowed to read the receipts.
"""


def closed_among(connection: Connection, ids: Sequence[str]) -> frozenset[str]:
    """Return the ids of the given receipts whose transfers a person has closed.

    The role must be allowed to read the receipts. If the role is not allowed to read the payments or the closing
    records, no transfer counts as closed.
    """
    if not ids or not connection.exec_driver_sql(f"SELECT {MAY_READ}").scalar_one():
        return frozenset()
    return frozenset(connection.exec_driver_sql(_CLOSED, {"ids": [*ids]}).scalars())
