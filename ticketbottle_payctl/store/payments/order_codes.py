"""Find order codes by their first characters, through the unique index on ``"orderCode"``."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

_MOST_READ = 500

# In the order of the index, the codes that begin with the prefix come at or shortly after the prefix. The inner LIMIT
# bounds the work if no code does. OFFSET 0 keeps the outer condition out of the index scan.
_BEGIN_WITH = f"""
    SELECT code, status, amount, currency FROM (
        SELECT "orderCode" AS code, status::text AS status, "amountCents" AS amount, currency::text AS currency
        FROM payments WHERE "orderCode" >= %(prefix)s ORDER BY "orderCode" LIMIT {_MOST_READ} OFFSET 0
    ) AS next WHERE starts_with(code, %(prefix)s) ORDER BY code LIMIT %(most)s
"""  # noqa: S608 - only a constant is put in


class NamedOrder(NamedTuple):
    """An order's code, and its payment's status and amount in whole units of the currency."""

    code: str
    status: str
    amount: int
    currency: str


def beginning_with(connection: Connection, prefix: str, most: int) -> list[NamedOrder]:
    """Return at most ``most`` orders whose codes begin with ``prefix``, sorted by code."""
    rows = connection.exec_driver_sql(_BEGIN_WITH, {"prefix": prefix, "most": most})
    return [NamedOrder(*row) for row in rows]
