"""Read the payments, receipts and closing records of many orders at once, so that a job can check their money.

The events are not read. The outbox has no index on the payment, so reading the events of many payments would take too
long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import aware_value
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payments.history import PAYMENT, History, PaymentRow, closings_of
from ticketbottle_payctl.store.payments.receipt_rows import receipts_of, receipts_of_payments


def money_of(connection: Connection, asked: Mapping[str, Sequence[str]]) -> dict[str, History]:
    """Return these payments with their receipts and closing records. Leave out payments that no longer exist.

    ``asked`` maps each payment's id to the ids of receipts that belong to it.
    """
    sql = f"SELECT {PAYMENT} FROM payments WHERE id = ANY(%(ids)s)"  # noqa: S608 - built from constants only
    payments = [PaymentRow(*map(aware_value, row)) for row in connection.exec_driver_sql(sql, {"ids": list(asked)})]
    receipts = receipts_of_payments(connection, asked)
    subjects = {each.id: {each.id, *(receipt.subject for receipt in receipts[each.id])} for each in payments}
    closings = runs.closings(connection, sorted(set().union(*subjects.values())))
    return {
        each.id: History(
            each,
            receipts[each.id],
            (),
            (),
            tuple(closing for subject, closing in closings if subject in subjects[each.id]),
        )
        for each in payments
    }


def stray(connection: Connection, receipt_id: str) -> History | None:
    """Return the receipts and closing records of an order without a payment in the database.

    If a cleanup has deleted the receipts, return None.
    """
    named = connection.exec_driver_sql(
        "SELECT reference, order_ref FROM payctl.webhook_receipts WHERE id = %(id)s::uuid", {"id": receipt_id}
    ).one_or_none()
    if named is None:
        return None
    reference, order_ref = named
    receipts = receipts_of(connection, None, reference, order_ref, receipt_id)
    return History(None, receipts, (), (), closings_of(connection, None, receipts)) if receipts else None
