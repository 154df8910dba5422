"""Find out which pending events are blocked.

A dead event blocks the later events of its payment. If Debezium is the publisher, no event is blocked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import NOW
from ticketbottle_payctl.store.outbox import cdc, states
from ticketbottle_payctl.store.outbox.dead import BY_DEBEZIUM


class Pending(NamedTuple):
    """A pending event: its id, its payment, and its creation time as the table stores it."""

    id: str
    aggregate_id: str
    created_at: datetime


# The planner expects few unpublished rows. With a nested loop it would search all of them again for each event.
_JOIN_BY_HASH = "SELECT set_config('enable_nestloop', 'off', true)"
_BLOCKED = f"""
    SELECT DISTINCT p.id FROM unnest(%(ids)s::text[], %(keys)s::text[], %(ats)s::timestamp[]) AS p (id, key, at)
    JOIN outbox AS d ON d."aggregateId" = p.key
    WHERE {states.dead("d.")} AND (d."createdAt", d.id COLLATE "C") < (p.at, p.id COLLATE "C")
"""  # noqa: S608 - built from constants only


def behind_dead(row: str = "") -> str:
    """Return the SQL window expression that is true if the row comes after a dead event that blocks the later events.

    The query must read all unpublished events of the payment.
    """
    return f"""(NOT {BY_DEBEZIUM} AND COALESCE(bool_or({states.dead(row)}) OVER (
        PARTITION BY {row}"aggregateId" ORDER BY {row}"createdAt", {row}id COLLATE "C"
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), false))"""


def blocked_among(connection: Connection, pending: Sequence[Pending], max_retries: int) -> frozenset[str]:
    """Return the ids of the given pending events that are blocked.

    The unpublished rows are read once. This function changes the transaction's planner settings, so the caller must
    only run short statements in it after this call.
    """
    if not pending or cdc.slot(connection) is not None:
        return frozenset()
    connection.exec_driver_sql(_JOIN_BY_HASH)
    ids, keys, ats = zip(*pending, strict=True)
    parameters = {"ids": [*ids], "keys": [*keys], "ats": [*ats], "max_retries": max_retries}
    return frozenset(connection.exec_driver_sql(_BLOCKED, parameters).scalars())


class ToSend(NamedTuple):
    """The oldest pending event that is not blocked, and its age in seconds."""

    id: str
    age_s: float


def oldest_to_send(connection: Connection, max_retries: int) -> ToSend | None:
    """Return the oldest pending event that is not blocked, or None if there is no such event."""
    sql = f"""
        SELECT o.id, GREATEST(0, EXTRACT(epoch FROM {NOW} - o."createdAt"))::float8 FROM outbox AS o
        WHERE {states.pending("o.")} AND NOT EXISTS (
            SELECT FROM outbox AS d WHERE {states.dead("d.")} AND d."aggregateId" = o."aggregateId"
              AND (d."createdAt", d.id COLLATE "C") < (o."createdAt", o.id COLLATE "C"))
        ORDER BY o."createdAt" LIMIT 1
    """  # noqa: S608 - built from constants only
    row = connection.exec_driver_sql(sql, {"max_retries": max_retries}).one_or_none()
    return None if row is None else ToSend(*row)
