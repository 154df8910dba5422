"""Count the payments that were created in a time window. ``"createdAt"`` has no index, so the whole table is read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import NOW, stored


class CreatedPayments(NamedTuple):
    """The number of a window's payments by current status.

    ``overdue`` counts those that have been PENDING for too long.
    """

    by_status: Mapping[str, int]
    overdue: int


def created(connection: Connection, since: datetime, until: datetime, overdue_after: timedelta) -> CreatedPayments:
    """Count the payments that were created in a window."""
    rows = connection.exec_driver_sql(
        f"""
        SELECT status::text, count(*), count(*) FILTER (WHERE "createdAt" <= {NOW} - %(overdue_after)s)
        FROM payments WHERE "createdAt" >= %(since)s AND "createdAt" < %(until)s GROUP BY 1
        """,  # noqa: S608 - only constants are put in
        {"since": stored(since), "until": stored(until), "overdue_after": overdue_after},
    ).all()
    overdue = sum(late for status, _, late in rows if status == "PENDING")
    return CreatedPayments({status: number for status, number, _ in rows}, overdue)
