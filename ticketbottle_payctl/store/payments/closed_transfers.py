"""Find out which reported transfers of money a person has closed. Every command uses this code, so all commands agree.

A closing names a payment, the gateway's name for an order, or a receipt. It covers each transfer of the order that was
first reported at or before its ``until``. All receipts count, including those from before a command's time window,
because a gateway may repeat an old callback.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.privileges import may_read_ours, may_read_payments
from ticketbottle_payctl.store.payctl.runs import IS_CLOSING
from ticketbottle_payctl.store.payctl.transfers import transfer

READ_LATER = """
read_later AS MATERIALIZED (
    SELECT t.id, min(r.payment_id) AS payment
    FROM told AS t JOIN payctl.webhook_receipts AS r ON r.body_sha256 = t.body_sha256 AND r.provider = t.provider
    WHERE t.reference = '' AND r.payment_id IS NOT NULL
        AND r.received_at > (SELECT min(received_at) FROM told WHERE reference = '')
    GROUP BY t.id
)
"""
"""A common table expression that finds the payments of unreadable callbacks whose bytes payctl could read later.

It reads all receipts since the earliest unreadable one in the window. For this, ``told`` must also have
``body_sha256``.
"""

# Receipts about one transfer have the same reference, which has an index. An unreadable callback has no reference. Few
# receipts are unreadable, so a hash join compares the bytes. An early callback has no payment, but a later callback of
# the same order may have it.
WITH_PAYMENTS = f"""
known AS MATERIALIZED (
    SELECT t.*, p.id AS payment, p."orderCode" AS order_code, p.status::text AS status, p.provider AS made_for
    FROM told AS t LEFT JOIN LATERAL (
        SELECT COALESCE(t.payment_id, (SELECT l.payment FROM read_later AS l WHERE l.id = t.id),
            (SELECT r.payment_id FROM payctl.webhook_receipts AS r
                WHERE r.reference = NULLIF(t.reference, '') AND r.provider = t.provider AND r.payment_id IS NOT NULL
                LIMIT 1)) AS id
    ) AS named ON true LEFT JOIN LATERAL (
        SELECT id, "orderCode", status, provider FROM payments WHERE id = named.id
        UNION ALL
        SELECT id, "orderCode", status, provider FROM payments WHERE named.id IS NULL AND "orderCode" = t.order_ref
    ) AS p ON true
), same AS (
    SELECT k.id, k.payment, r.received_at, r.payment_id AS named, COALESCE(NULLIF(r.order_ref, ''), r.id::text) AS name,
        {transfer("r.")} = k.transfer AS is_same
    FROM known AS k JOIN payctl.webhook_receipts AS r ON r.reference = k.reference WHERE k.reference <> ''
    UNION ALL
    SELECT k.id, k.payment, r.received_at, r.payment_id, COALESCE(NULLIF(r.order_ref, ''), r.id::text), true
    FROM known AS k JOIN payctl.webhook_receipts AS r ON r.reference = '' AND {transfer("r.")} = k.transfer
    WHERE k.reference = ''
), first AS MATERIALIZED (
    SELECT id, min(received_at) FILTER (WHERE is_same) AS since,
        array_agg(DISTINCT name) || array_agg(DISTINCT named) FILTER (WHERE is_same) || payment AS names
    FROM same GROUP BY id, payment
), still_open AS (
    SELECT k.* FROM known AS k JOIN first USING (id)
    WHERE NOT EXISTS (
        SELECT FROM payctl.run_items AS i WHERE i.item_id = ANY(first.names) AND {IS_CLOSING} >= first.since)
)
"""  # noqa: S608 - only constants are put in
"""Common table expressions that find each transfer's payment, and leave out the closed transfers: ``still_open``.

They need ``read_later`` and ``told``. ``told`` has one row for each transfer, with a receipt's columns and
``transfer``.
"""

_CLOSED = f"""
    WITH told AS MATERIALIZED (
        SELECT r.id, r.provider, r.payment_id, r.order_ref, r.reference, r.received_at, r.body_sha256,
            {transfer("r.")} AS transfer
        FROM payctl.webhook_receipts AS r WHERE r.id = ANY(%(ids)s::uuid[])
    ), {READ_LATER}, {WITH_PAYMENTS}
    SELECT id::text FROM told WHERE id NOT IN (SELECT id FROM still_open)
"""  # noqa: S608 - only constants are put in
MAY_READ = f"""({may_read_ours("run_items", "item_id", "outcome", "after")}
    AND {may_read_payments("id", "orderCode", "status", "provider")})"""
"""The SQL condition that the role is allowed to read what shows whether a transfer is closed.

The role must also be allowed to read the receipts.
"""


def closed_among(connection: Connection, ids: Sequence[str]) -> frozenset[str]:
    """Return the ids of those given receipts whose transfer a person has closed.

    The role must be allowed to read the receipts. If it is not allowed to read the payments or the records of closings,
    no transfer counts as closed.
    """
    if not ids or not connection.exec_driver_sql(f"SELECT {MAY_READ}").scalar_one():
        return frozenset()
    return frozenset(connection.exec_driver_sql(_CLOSED, {"ids": [*ids]}).scalars())
