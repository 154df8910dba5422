"""Find genuine callbacks that payctl has stored but that have settled no payment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.payctl.runs import IS_CLOSED

# Callbacks with the same bytes count as one callback. A callback is no longer unsettled if the same bytes settled a
# payment later, if its payment is COMPLETED, or if a person has closed the order since. The unique index on "orderCode"
# finds a payment that was written after its callback.
_FOUND = f"""
WITH refused AS (
    SELECT DISTINCT ON (provider, body_sha256) id, received_at, reason, payment_id, order_ref, body_sha256
    FROM payctl.webhook_receipts
    WHERE received_at > clock_timestamp() - %(within)s AND (result = 'refused' OR reason = ANY(%(reasons)s))
    ORDER BY provider, body_sha256, received_at
)
SELECT r.id::text, COALESCE(r.reason, ''), extract(epoch FROM clock_timestamp() - r.received_at)::float8,
    p.code, p.status
FROM refused AS r LEFT JOIN LATERAL (
    SELECT id, "orderCode" AS code, status::text AS status FROM payments WHERE id = r.payment_id
    UNION ALL
    SELECT id, "orderCode", status::text FROM payments WHERE r.payment_id IS NULL AND "orderCode" = r.order_ref
) AS p ON true
WHERE p.status IS DISTINCT FROM 'COMPLETED' AND NOT EXISTS (
    SELECT FROM payctl.webhook_receipts AS later
    WHERE later.received_at > r.received_at AND later.body_sha256 = r.body_sha256
        AND later.result IN ('settled', 'already_settled'))
    AND NOT {IS_CLOSED.format(subjects="ARRAY[p.id, r.payment_id, r.order_ref, r.id::text]", since="r.received_at")}
ORDER BY r.received_at, r.id
"""  # noqa: S608 - a constant of ours


class UnsettledCallback(NamedTuple):
    """A stored callback that has settled no payment. ``order_code`` and ``status`` are those of its payment, if any."""

    receipt_id: str
    reason: str
    age_s: float
    order_code: str | None
    status: str | None


def unsettled_callbacks(
    connection: Connection, within: timedelta, ignored_reasons: Sequence[str]
) -> list[UnsettledCallback]:
    """Return refused callbacks that are not older than ``within`` and whose payment is not COMPLETED, the oldest first.

    Include acknowledged callbacks with one of the ``ignored_reasons``. Leave out callbacks of orders that a
    person has closed since.
    """
    rows = connection.exec_driver_sql(_FOUND, {"within": within, "reasons": list(ignored_reasons)})
    return [UnsettledCallback(*row) for row in rows]
