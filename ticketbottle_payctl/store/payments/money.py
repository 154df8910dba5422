"""Read the payments, receipts and closings of many orders at once, to judge their money.

The events are not read. The outbox has no index on the payment, so reading the events of many payments would take too
long.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import aware_value
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payments.history import (
    PAYMENT,
    RECEIPT,
    History,
    PaymentRow,
    ReceiptRow,
    closings_of,
    receipts_of,
)

# Each part can use an index. UNION removes the receipts that several parts find.
_RECEIPTS = f"""
WITH p AS MATERIALIZED (
    SELECT id, "orderCode" AS code, "providerTransactionId" AS reference FROM payments WHERE id = ANY(%(ids)s)
), found AS (
    SELECT p.id AS of, r.id AS receipt FROM p JOIN payctl.webhook_receipts AS r ON r.payment_id = p.id
    UNION
    SELECT p.id, r.id FROM p JOIN payctl.webhook_receipts AS r ON r.reference = p.reference WHERE p.reference <> ''
    UNION
    SELECT p.id, r.id FROM p JOIN payctl.webhook_receipts AS r ON r.reference = '' AND r.order_ref = p.code
)
SELECT of, {RECEIPT} FROM found JOIN payctl.webhook_receipts AS r ON r.id = found.receipt ORDER BY r.received_at, r.id
"""  # noqa: S608 - built from constants only


def money_of(connection: Connection, payment_ids: Sequence[str]) -> list[History]:
    """Return these payments in the same order, with their receipts and closings.

    Leave out payments that no longer exist.
    """
    ids = {"ids": list(payment_ids)}
    sql = f"SELECT {PAYMENT} FROM payments WHERE id = ANY(%(ids)s)"  # noqa: S608 - built from constants only
    payments = {row[0]: PaymentRow(*map(aware_value, row)) for row in connection.exec_driver_sql(sql, ids)}
    receipts: dict[str, list[ReceiptRow]] = defaultdict(list)
    for payment_id, *row in connection.exec_driver_sql(_RECEIPTS, ids):
        receipts[payment_id].append(ReceiptRow(*row))
    subjects = {each: {each, *(receipt.subject for receipt in receipts[each])} for each in payments}
    closings = runs.closings(connection, sorted(set().union(*subjects.values())))
    return [
        History(
            payments[each],
            tuple(receipts[each]),
            (),
            (),
            tuple(closing for subject, closing in closings if subject in subjects[each]),
        )
        for each in payment_ids
        if each in payments
    ]


def stray(connection: Connection, receipt_id: str) -> History:
    """Return the receipts and closings of an order without a payment in this database."""
    reference, order_ref = connection.exec_driver_sql(
        "SELECT reference, order_ref FROM payctl.webhook_receipts WHERE id = %(id)s::uuid", {"id": receipt_id}
    ).one()
    receipts = receipts_of(connection, None, reference, order_ref, receipt_id)
    return History(None, receipts, (), (), closings_of(connection, None, receipts))
