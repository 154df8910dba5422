"""Read the age of the oldest pending event."""

from __future__ import annotations

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import NOW
from ticketbottle_payctl.store.outbox import states


def oldest_pending(connection: Connection, max_retries: int) -> float | None:
    """Return the oldest pending event's age in seconds by the database's clock, or None if no event is pending."""
    sql = f"""
        SELECT EXTRACT(epoch FROM {NOW} - "createdAt") FROM outbox
        WHERE {states.pending()} ORDER BY "createdAt" LIMIT 1
    """  # noqa: S608 - built from constants only
    age = connection.exec_driver_sql(sql, {"max_retries": max_retries}).scalar_one_or_none()
    return None if age is None else max(0.0, float(age))
