"""Distinguish the transfers of money that receipts report. A gateway may repeat a callback about the same transfer."""

from __future__ import annotations


def number(row: str = "") -> str:
    """Return an SQL expression for the gateway's id of a receipt's transfer, or NULL."""
    return f"COALESCE({row}payment_number, {row}gateway_transaction_id)"


def transfer(row: str = "") -> str:
    """Return the SQL expression for the name of a receipt's transfer.

    Receipts about the same transfer have the same name.

    If a receipt reports money and contains the transfer's id, the name contains this id and the amount. Otherwise the
    name contains the hash of the callback's bytes. The name also contains the reason for a refusal. If payctl refuses a
    transfer for a new reason, the name changes, because a person must look at the transfer again.
    """
    return f"""(CASE WHEN {number(row)} IS NOT NULL AND ({row}outcome = 'COMPLETED' OR {row}reason = 'held')
        THEN ARRAY[{row}provider, {row}reason, {number(row)}, {row}amount::text]
        ELSE ARRAY[{row}provider, {row}reason, encode({row}body_sha256, 'hex')] END)::text"""


def reports_money(row: str = "") -> str:
    """Return an SQL condition that is true if a receipt's callback reports that the customer paid, or may have paid.

    A callback with an undocumented code counts too, because the code might mean that the customer has paid.
    """
    may_be_paid = "'held', 'undocumented_code'"
    return f"({row}outcome IN ('COMPLETED', 'UNCLEAR') OR COALESCE({row}reason, '') IN ({may_be_paid}))"
