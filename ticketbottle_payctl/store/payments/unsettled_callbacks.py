"""Find genuine callbacks that payctl has stored but that have not settled a payment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.payctl.transfers import transfer
from ticketbottle_payctl.store.payments.closed_transfers import STILL_OPEN, TOLD

# Callbacks about the same transfer count as one callback. A callback is no longer unsettled if its payment is
# COMPLETED, if a person has closed its transfer, or if the payment is FAILED or CANCELLED and the callback reports no
# money.
_FOUND = f"""
WITH told AS MATERIALIZED (
    SELECT DISTINCT ON (r.reference, {transfer("r.")}) {TOLD}
    FROM payctl.webhook_receipts AS r
    WHERE r.received_at > statement_timestamp() - %(within)s AND (r.result = 'refused' OR r.reason = ANY(%(reasons)s))
    ORDER BY r.reference, {transfer("r.")}, r.received_at
), {STILL_OPEN}
SELECT id::text, COALESCE(reason, ''), extract(epoch FROM clock_timestamp() - received_at)::float8,
    COALESCE(order_code, NULLIF(order_ref, '')), status, provider, made_for
FROM still_open
WHERE status IS DISTINCT FROM 'COMPLETED' AND (money OR COALESCE(status, '') NOT IN ('FAILED', 'CANCELLED'))
ORDER BY received_at, id
"""  # noqa: S608 - a constant of ours


class UnsettledCallback(NamedTuple):
    """A stored callback that has not settled a payment.

    ``order_code`` and ``status`` come from its payment, and ``made_for`` is the payment's gateway. If the payment is
    not in the database, ``order_code`` is the gateway's name for the order. ``gateway`` is the callback's sender.
    """

    receipt_id: str
    reason: str
    age_s: float
    order_code: str | None
    status: str | None
    gateway: str
    made_for: str | None


def unsettled_callbacks(
    connection: Connection, within: timedelta, ignored_reasons: Sequence[str]
) -> list[UnsettledCallback]:
    """Return refused callbacks that are not older than ``within`` and whose payments are not COMPLETED, oldest first.

    Include acknowledged callbacks with one of the ``ignored_reasons``. Leave out callbacks about a transfer of money
    that a person has closed.
    """
    rows = connection.exec_driver_sql(_FOUND, {"within": within, "reasons": list(ignored_reasons)})
    return [UnsettledCallback(*row) for row in rows]
