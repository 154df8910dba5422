"""Find out which overdue payments a person has closed. Every command uses this code, so all commands agree.

A person closes an overdue payment after looking in the gateway's portal. The closing does not change the payment. It
stops counting when the gateway reports later that the payment is in progress, because then the gateway knows it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.gateway_names import GATEWAY
from ticketbottle_payctl.store.db.privileges import may_read_ours
from ticketbottle_payctl.store.payctl.runs import IS_CLOSING, OF_OVERDUE_PAYMENT

_MAY_READ = f"""({may_read_ours("run_items", "item_id", "outcome", "reason", "at")}
    AND {may_read_ours("webhook_receipts", "payment_id", "provider", "reason", "received_at")})"""


def is_closed(payment_id: str, gateway: str) -> str:
    """Return an SQL condition that is true if a person has closed an overdue payment.

    The arguments are SQL expressions for the payment's id and for payctl's name of its gateway.
    """
    return f"""EXISTS (
        SELECT FROM payctl.run_items AS i
        WHERE i.item_id = {payment_id} AND {IS_CLOSING} AND {OF_OVERDUE_PAYMENT} AND NOT EXISTS (
            SELECT FROM payctl.webhook_receipts AS later
            WHERE later.payment_id = i.item_id AND later.provider = {gateway} AND later.reason = 'pending'
                AND later.received_at > i.at))"""  # noqa: S608 - built from constants only


def may_read(connection: Connection) -> bool:
    """Return whether the role is allowed to read the closing records. Otherwise no payment counts as closed."""
    return bool(connection.exec_driver_sql(f"SELECT {_MAY_READ}").scalar_one())


def closed_among(connection: Connection, ids: Sequence[str]) -> frozenset[str]:
    """Return the ids of those of the given payments that are PENDING and that a person has closed.

    If the role is not allowed to read the closing records, no payment counts as closed.
    """
    if not ids or not may_read(connection):
        return frozenset()
    sql = f"""
        SELECT p.id FROM (SELECT id, {GATEWAY} AS gateway FROM payments
            WHERE id = ANY(%(ids)s) AND status::text = 'PENDING') AS p
        WHERE {is_closed("p.id", "p.gateway")}
    """  # noqa: S608 - built from constants only
    return frozenset(connection.exec_driver_sql(sql, {"ids": [*ids]}).scalars())
