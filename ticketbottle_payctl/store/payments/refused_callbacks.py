"""Find the newest callbacks that payctl refused, except those that a person has closed."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.privileges import may_read_ours
from ticketbottle_payctl.store.payments.closed_transfers import MAY_READ, STILL_OPEN, TOLD

_SHOWN = ("id", "received_at", "provider", "order_ref", "result", "reason")
_COMPARED = ("reference", "outcome", "amount", "gateway_transaction_id", "payment_number", "payment_id", "body_sha256")
_RIGHTS = f"""
    SELECT {may_read_ours("webhook_receipts", *_SHOWN)},
        {may_read_ours("webhook_receipts", *_COMPARED)} AND {MAY_READ}
"""
_REFUSED = """
    WITH newest AS MATERIALIZED (
        SELECT {columns} FROM payctl.webhook_receipts AS r ORDER BY received_at DESC LIMIT %(newest)s
    ), told AS MATERIALIZED (SELECT * FROM newest WHERE result = 'refused'), {still_open}
    SELECT (SELECT count(*) FROM newest), (SELECT count(*) FROM told), r.received_at, r.provider, r.reason,
        r.order_ref, r.id::text
    FROM (SELECT) AS one LEFT JOIN still_open AS r ON true ORDER BY r.received_at DESC
"""
_WITH_CLOSINGS = _REFUSED.format(columns=TOLD, still_open=STILL_OPEN)
_WITHOUT_CLOSINGS = _REFUSED.format(columns=", ".join(_SHOWN), still_open="still_open AS (SELECT * FROM told)")


class Refused(NamedTuple):
    """A genuine callback that payctl refused, and the reason."""

    received_at: datetime
    provider: str
    reason: str | None
    order_ref: str
    id: str


class RefusedLately(NamedTuple):
    """The number of callbacks that were read, and the refused ones among them, newest first.

    ``closed`` counts the refused callbacks that are left out, because a person has closed what they report.
    """

    looked_at: int
    refused: tuple[Refused, ...]
    closed: int


def refused_lately(connection: Connection, newest: int) -> RefusedLately | None:
    """Read the last ``newest`` callbacks, and return the refused ones. The function needs two statements.

    Return None if the table is missing or the role is not allowed to read it. If the role is not allowed to read the
    payments or the closing records, no callback counts as closed.
    """
    receipts, closings = connection.exec_driver_sql(_RIGHTS).one()
    if not receipts:
        return None
    sql = _WITH_CLOSINGS if closings else _WITHOUT_CLOSINGS
    rows = connection.exec_driver_sql(sql, {"newest": newest}).all()
    looked_at, number = rows[0][:2]
    still_open = tuple(Refused._make(row[2:]) for row in rows if row[2] is not None)
    return RefusedLately(int(looked_at), still_open, number - len(still_open))
