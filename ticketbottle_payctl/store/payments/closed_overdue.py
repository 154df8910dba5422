"""Find out which overdue payments a person has closed. Every command uses this code, so all commands agree.

A person closes an overdue payment after looking in the gateway's portal. The closing does not change the payment. It
stops counting when the payment's own gateway calls back later, because then the gateway knows the payment.

A person can also close a callback of the payment's own gateway. Then the payment needs no further check until the
gateway reports another transfer or a new problem. A repeat of a closed callback does not count, as in
`closed_transfers`.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from ticketbottle_payctl.domain.callback import IgnoredBecause
from ticketbottle_payctl.store.db.gateway_names import GATEWAY
from ticketbottle_payctl.store.db.privileges import may_read_all_of_ours, may_read_ours
from ticketbottle_payctl.store.payctl.runs import ASKED_AT, IS_CLOSING, OF_OVERDUE_PAYMENT, UNTIL
from ticketbottle_payctl.store.payctl.transfers import transfer
from ticketbottle_payctl.store.payments.receipt_rows import names

_MAY_READ = f"""({may_read_ours("run_items", "item_id", "outcome", "reason", "before", "after", "at")}
    AND {may_read_all_of_ours("webhook_receipts")})"""

# `receipts_of_payments` has the same rules for receipts without a payment's id. Each subquery can use an index. There
# are few closing records, so this search starts from them.
_IS_NEWS = "r.provider = c.gateway AND r.received_at > c.asked_at"
_WITHOUT_FINDING = tuple(each.value for each in (IgnoredBecause.PING, IgnoredBecause.AGREEMENT, IgnoredBecause.PENDING))
_IS_NEW_FINDING = f"""r.provider = c.provider AND r.received_at > c.until AND r.reason NOT IN {_WITHOUT_FINDING}
    AND NOT EXISTS (SELECT FROM payctl.webhook_receipts AS e
        WHERE e.reference = r.reference AND e.received_at <= c.until AND {transfer("e.")} = {transfer("r.")})"""
CLOSINGS = f"""
    closed_overdue AS MATERIALIZED (
        SELECT c.id, c.created_at FROM (
            SELECT p.id, p."orderCode" AS code, p."providerTransactionId" AS reference, p."createdAt" AS created_at,
                {GATEWAY} AS gateway, i.asked_at
            FROM (SELECT item_id, max({ASKED_AT}) AS asked_at FROM payctl.run_items AS i
                WHERE {IS_CLOSING} AND {OF_OVERDUE_PAYMENT} GROUP BY item_id) AS i
            JOIN payments AS p ON p.id = i.item_id WHERE p.status = 'PENDING') AS c
        WHERE NOT EXISTS (SELECT FROM payctl.webhook_receipts AS r WHERE r.payment_id = c.id AND {_IS_NEWS})
            AND NOT EXISTS (SELECT FROM payctl.webhook_receipts AS r
                WHERE r.reference = ANY({names("c")}) AND r.reference <> '' AND r.payment_id IS NULL AND {_IS_NEWS})
            AND NOT EXISTS (SELECT FROM payctl.webhook_receipts AS r
                WHERE r.order_ref = c.code AND r.reference = '' AND r.payment_id IS NULL AND {_IS_NEWS})
            AND NOT EXISTS (SELECT FROM payctl.webhook_receipts AS o
                JOIN payctl.webhook_receipts AS r ON r.reference = o.reference
                WHERE o.payment_id = c.id AND o.provider = c.gateway AND o.reference <> ''
                    AND r.payment_id IS NULL AND {_IS_NEWS})
    ), closed_callbacks AS MATERIALIZED (
        SELECT c.item_id, c.payment_id, c.reference, c.order_ref, c.provider FROM (
            SELECT i.item_id, p."orderCode" AS code, r.payment_id, r.reference, r.order_ref, r.provider,
                {UNTIL} AS until
            FROM payctl.run_items AS i JOIN payctl.webhook_receipts AS r ON r.id = (i.before ->> 'receipt')::uuid
            LEFT JOIN payments AS p ON p.id = i.item_id WHERE {IS_CLOSING}) AS c
        WHERE NOT EXISTS (SELECT FROM (
            SELECT * FROM payctl.webhook_receipts WHERE payment_id = c.item_id
            UNION ALL SELECT * FROM payctl.webhook_receipts WHERE reference = NULLIF(c.reference, '')
            UNION ALL SELECT * FROM payctl.webhook_receipts WHERE order_ref = NULLIF(c.order_ref, '') AND reference = ''
            UNION ALL SELECT * FROM payctl.webhook_receipts WHERE order_ref = c.code AND reference = ''
        ) AS r WHERE {_IS_NEW_FINDING})
    )
"""  # noqa: S608 - built from constants only
"""The SQL of two parts of a WITH clause: the closed overdue payments, and the closed callbacks.

A closed callback is left out if its gateway has reported another transfer or a new problem since.
"""


def has_closed_callback(row: str) -> str:
    """Return an SQL condition that is true if a person has closed a callback of the payment's own gateway.

    The row needs the columns ``id``, ``code``, ``reference`` and ``gateway``, and the statement needs ``CLOSINGS``.
    """
    return f"""(({row}.id, {row}.gateway) IN (SELECT item_id, provider FROM closed_callbacks)
        OR ({row}.reference, {row}.gateway) IN (
            SELECT reference, provider FROM closed_callbacks WHERE payment_id IS NULL AND reference <> '')
        OR ({row}.code, {row}.gateway) IN (
            SELECT order_ref, provider FROM closed_callbacks WHERE payment_id IS NULL))"""  # noqa: S608 - constants


def is_closed(row: str) -> str:
    """Return an SQL condition that is true if a person has closed an overdue payment or one of its callbacks.

    The row and the statement need the same as for :func:`has_closed_callback`.
    """
    return f"({row}.id IN (SELECT id FROM closed_overdue) OR {has_closed_callback(row)})"  # noqa: S608 - constants


def may_read(connection: Connection) -> bool:
    """Return whether the role is allowed to read the closing records. Otherwise no payment counts as closed."""
    return bool(connection.exec_driver_sql(f"SELECT {_MAY_READ}").scalar_one())


def closed_among(connection: Connection, ids: Sequence[str]) -> frozenset[str]:
    """Return the ids of the given PENDING payments that a person has closed.

    If the role is not allowed to read the closing records, no payment counts as closed.
    """
    if not ids or not may_read(connection):
        return frozenset()
    sql = f"""
        WITH {CLOSINGS}
        SELECT p.id FROM (
            SELECT id, "orderCode" AS code, "providerTransactionId" AS reference, {GATEWAY} AS gateway
            FROM payments WHERE id = ANY(%(ids)s) AND status = 'PENDING') AS p
        WHERE {is_closed("p")}
    """  # noqa: S608 - built from constants only
    return frozenset(connection.exec_driver_sql(sql, {"ids": [*ids]}).scalars())
