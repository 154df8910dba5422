"""Read the receipts of payments, and of callbacks for which this database has no payment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from ticketbottle_payctl.store.payctl.transfers import transfer

RECEIPT = f"""r.id::text, r.received_at, r.provider, r.outcome, r.result, r.reason, r.amount, r.currency,
    r.gateway_transaction_id, r.event_id, octet_length(r.body) + octet_length(r.query), r.method, r.payment_number,
    r.payment_id, r.order_ref, {transfer("r.")}"""
"""The columns of a :class:`ReceiptRow`."""


def names(row: str) -> str:
    """Return the SQL expression for an array of the references under which gateways know a payment.

    The row needs the columns ``code``, ``reference`` and ``created_at``. ZaloPay puts the date in Vietnam in front of
    the order code.
    """
    made = f"{row}.created_at + interval '7 hours'"
    dated = [f"to_char({made} + interval '{day} days', 'YYMMDD_') || {row}.code" for day in range(-1, 3)]
    return f"ARRAY[{row}.reference, {row}.code, {', '.join(dated)}]"


# A receipt without a payment belongs to a payment if it names the payment's order, or has the reference of a receipt of
# this payment from the same gateway. Another gateway's receipt that names the order reports money from this customer,
# but does not explain the payment. A receipt of another payment never belongs to this one, even if its reference is
# this order code. The order code of a receipt with a payment has no index, but VNPay and MoMo use it as the reference.
# Each part of the query can use an index. UNION returns a receipt once, even if more than one part finds it.
_OF_PAYMENTS = f"""
WITH p AS MATERIALIZED (
    SELECT id, "orderCode" AS code, "providerTransactionId" AS reference, "createdAt" AS created_at
    FROM payments WHERE id = ANY(%(ids)s)
), own AS MATERIALIZED (
    SELECT p.id AS of, r.id AS receipt, r.reference, r.provider, r.body_sha256
    FROM p JOIN payctl.webhook_receipts AS r ON r.payment_id = p.id
    UNION ALL
    SELECT a.of, r.id, r.reference, r.provider, r.body_sha256
    FROM unnest(%(of)s::text[], %(asked)s::uuid[]) AS a (of, receipt)
        JOIN payctl.webhook_receipts AS r ON r.id = a.receipt
), named AS MATERIALIZED (
    SELECT id AS of, unnest({names("p")}) AS reference, NULL AS provider FROM p
    UNION
    SELECT of, reference, provider FROM own
), found AS (
    SELECT of, receipt FROM own
    UNION
    SELECT n.of, r.id FROM named AS n JOIN payctl.webhook_receipts AS r ON r.reference = n.reference
    WHERE n.reference <> '' AND (n.provider IS NULL OR n.provider = r.provider)
        AND NOT EXISTS (SELECT FROM payments AS other WHERE other.id = r.payment_id AND other.id <> n.of)
    UNION
    SELECT p.id, r.id FROM p JOIN payctl.webhook_receipts AS r ON r.reference = '' AND r.order_ref = p.code
    UNION
    SELECT o.of, r.id FROM own AS o JOIN payctl.webhook_receipts AS r
        ON r.reference = '' AND r.body_sha256 = o.body_sha256 AND r.provider = o.provider
)
SELECT of, {RECEIPT} FROM found JOIN payctl.webhook_receipts AS r ON r.id = found.receipt ORDER BY r.received_at, r.id
"""  # noqa: S608 - built from constants only


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """A receipt. ``body_bytes`` is the size of the callback's body.

    ``method`` shows whether the receipt is for a callback or for the response to a status query. ``payment_number``
    identifies a single transfer of money. Receipts about the same transfer have the same ``transfer``, even without a
    ``payment_number``.
    """

    id: str
    received_at: datetime
    provider: str
    outcome: str
    result: str
    reason: str | None
    amount: int | None
    currency: str
    gateway_transaction_id: str | None
    event_id: str | None
    body_bytes: int
    method: str
    payment_number: str | None
    payment_id: str | None
    order_ref: str
    transfer: str

    @property
    def subject(self) -> str:
        """The gateway's name for the order or, if the callback has none, the receipt's id."""
        return self.order_ref or self.id


def receipts_of_payments(
    connection: Connection, asked: Mapping[str, Sequence[str]]
) -> dict[str, tuple[ReceiptRow, ...]]:
    """Return the receipts of each payment, earliest first.

    ``asked`` maps each payment's id to the ids of receipts that belong to it, for example because they contain its
    order code. Receipts with the same reference belong to the payment too, unless they belong to another payment.
    """
    pairs = [(payment_id, receipt) for payment_id, receipts in asked.items() for receipt in receipts]
    values = {"ids": list(asked), "of": [of for of, _ in pairs], "asked": [receipt for _, receipt in pairs]}
    found: dict[str, list[ReceiptRow]] = {each: [] for each in asked}
    for payment_id, *row in connection.exec_driver_sql(_OF_PAYMENTS, values):
        found[payment_id].append(ReceiptRow(*row))
    return {payment_id: tuple(receipts) for payment_id, receipts in found.items()}


def receipts_of(
    connection: Connection,
    payment_id: str | None,
    reference: str | None,
    order_ref: str | None,
    receipt_id: str | None = None,
) -> tuple[ReceiptRow, ...]:
    """Return the receipts of this payment or reference, the unreadable ones of this order, and the one with this id.

    The earliest receipt comes first.
    """
    # If an unclear callback names no order, only its copies are returned with it.
    rows = connection.exec_driver_sql(
        f"""
        SELECT {RECEIPT} FROM payctl.webhook_receipts AS r
        WHERE r.payment_id = %(payment)s OR r.reference = NULLIF(%(reference)s, '')
            OR (r.reference = '' AND r.order_ref = NULLIF(%(order_ref)s, '')) OR r.id = %(receipt)s::uuid
            OR (r.reference = '' AND r.order_ref = '' AND {transfer("r.")} = (
                SELECT {transfer("n.")} FROM payctl.webhook_receipts AS n
                WHERE n.id = %(receipt)s::uuid AND n.reference = '' AND n.order_ref = ''))
        ORDER BY r.received_at, r.id
        """,  # noqa: S608 - built from constants only
        {"payment": payment_id, "reference": reference, "order_ref": order_ref, "receipt": receipt_id},
    )
    return tuple(ReceiptRow(*row) for row in rows)
