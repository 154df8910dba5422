"""Payments whose end nobody told us: what the gateway must be asked about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

_COLUMNS = """id, "orderCode", "amountCents", translate(lower(provider), '-_ ', ''), "providerTransactionId",
    status::text, "createdAt" """


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A payment as a gateway is asked about it. ``gateway`` is payctl's name; ``amount`` whole VND, instants UTC."""

    id: str
    order_code: str
    amount: int
    gateway: str
    reference: str
    status: str
    created_at: datetime


def overdue(connection: Connection, before: datetime, limit: int, gateway: str | None = None) -> list[Unsettled]:
    """PENDING ones created before ``before``, the latest first: their gateways still know them."""
    rows = connection.exec_driver_sql(
        f"""
        SELECT {_COLUMNS} FROM payments
        WHERE status = 'PENDING' AND "createdAt" < %(before)s
          AND (%(gateway)s::text IS NULL OR translate(lower(provider), '-_ ', '') = %(gateway)s)
        ORDER BY "createdAt" DESC, id LIMIT %(limit)s
        """,  # noqa: S608 - only constants are put in
        {"before": before.astimezone(UTC).replace(tzinfo=None), "gateway": gateway, "limit": limit},
    )
    return [_payment(row) for row in rows]


def named(connection: Connection, names: Sequence[str]) -> list[Unsettled]:
    """Those of these ids or order codes, whatever their status, oldest first."""
    rows = connection.exec_driver_sql(
        f"""
        SELECT {_COLUMNS} FROM payments WHERE id = ANY(%(names)s) OR "orderCode" = ANY(%(names)s)
        ORDER BY "createdAt", id
        """,  # noqa: S608 - only constants are put in
        {"names": list(names)},
    )
    return [_payment(row) for row in rows]


def _payment(row: Sequence[Any]) -> Unsettled:
    payment_id, order_code, amount, gateway, reference, status, created_at = row
    return Unsettled(payment_id, order_code, amount, gateway, reference, status, created_at.replace(tzinfo=UTC))


def record(  # noqa: PLR0913, PLR0917 - one argument per column
    connection: Connection,
    run_id: str,
    place: int,
    payment_id: str,
    outcome: str,
    reason: str | None,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Record under a run what was done to a payment, or why it was left alone."""
    connection.exec_driver_sql(
        """
        INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, reason, before, after)
        VALUES (%(run)s::uuid, 0, %(place)s, %(id)s, %(outcome)s, %(reason)s, %(before)s::jsonb, %(after)s::jsonb)
        """,
        {
            "run": run_id,
            "place": place,
            "id": payment_id,
            "outcome": outcome,
            "reason": reason,
            "before": None if before is None else json.dumps(dict(before)),
            "after": None if after is None else json.dumps(dict(after)),
        },
    )
