"""What retention lets go of: events that were published, or kept callbacks, before a horizon.

An event's age is the age of ``"publishedAt"``; of ``"createdAt"`` where a published event has none. The rows of the
replaced service (``"publishedAt"`` alone) were sent, so they count. Pending and dead events match nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.cursor import Position
from ticketbottle_payctl.store.db.owner_time import stored
from ticketbottle_payctl.store.outbox import shard_lock, states

# An event is created before it is published, but the replaced service let the session's time zone into "createdAt",
# and no zone is further from UTC than this. It only bounds the walk through the index.
_WRONG_ZONE = timedelta(hours=15)

_MARKED = 'published = true AND COALESCE("publishedAt", "createdAt") < %(horizon)s'
_HALF_MARKED = f'{states.half_marked()} AND "publishedAt" < %(horizon)s'
_IN_ORDER = '"createdAt", id COLLATE "C"'


@dataclass(frozen=True, slots=True)
class Expired:
    """Which events are meant: published before ``horizon`` (aware), in one of the two forms of published."""

    horizon: datetime
    half_marked: bool = False


class Batch(NamedTuple):
    """Expired events that this transaction deletes when it is committed.

    ``found`` is how many were found, ``deleted`` how many of them are going, ``last`` where the search ended, ``lines``
    each whole row as JSON, where asked for. ``publishing``: a publisher was at work at that moment.
    """

    found: int
    deleted: int
    bytes: int
    last: Position | None
    lines: list[str]
    publishing: bool


class Amount(NamedTuple):
    """How many rows, and about how many bytes they take."""

    rows: int
    bytes: int


def delete_next(connection: Connection, wanted: Expired, after: Position, limit: int, *, whole: bool) -> Batch:
    """Delete the next expired rows, in the index's order, and what payctl remembers of them.

    Rows that another session has locked are left for later. Guards: each is locked, and looked at again as it is
    locked. ``after`` is where the batch before ended: without it every batch would walk the dead entries of the others.
    ``whole`` also gives each row as one line of JSON, in order, the payload as PostgreSQL prints it.
    """
    row, lines = ("row_to_json(o.*)::text", f"array_agg(line ORDER BY {_IN_ORDER})") if whole else ("NULL", "NULL")
    sql = f"""
        WITH doomed AS MATERIALIZED (
            SELECT ctid, id, "createdAt" FROM outbox
            WHERE {_condition(wanted)} AND "createdAt" >= %(after_at)s
              AND ("createdAt", id COLLATE "C") > (%(after_at)s, %(after_id)s)
            ORDER BY {_IN_ORDER} LIMIT %(limit)s FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM outbox AS o WHERE ctid = ANY (ARRAY(SELECT ctid FROM doomed)) AND {_condition(wanted)}
            RETURNING id, "createdAt", pg_column_size(o.*) AS bytes, {row} AS line
        ), context AS (
            DELETE FROM payctl.event_context WHERE event_id IN (SELECT id FROM gone)
        ), last AS (
            SELECT id, "createdAt" FROM doomed ORDER BY "createdAt" DESC, id COLLATE "C" DESC LIMIT 1
        )
        SELECT (SELECT count(*) FROM doomed), count(*), COALESCE(sum(bytes), 0), (SELECT "createdAt" FROM last),
            (SELECT id FROM last), {lines}, {shard_lock.IS_PUBLISHING} FROM gone
    """  # noqa: S608 - only constants are put in
    parameters = _parameters(wanted) | {"after_at": after[0], "after_id": after[1], "limit": limit}
    found, deleted, size, last_at, last_id, kept, publishing = connection.exec_driver_sql(sql, parameters).one()
    last = None if last_at is None else (last_at, last_id)
    return Batch(found, deleted, int(size), last, kept or [], publishing)


def measure(connection: Connection, wanted: Expired) -> Amount:
    """All expired rows and their bytes. Reads each of them, so it takes a while on many."""
    sql = f"SELECT count(*), COALESCE(sum(pg_column_size(o.*)), 0) FROM outbox AS o WHERE {_condition(wanted)}"  # noqa: S608
    rows, size = connection.exec_driver_sql(sql, _parameters(wanted)).one()
    return Amount(int(rows), int(size))


def count(connection: Connection, wanted: Expired, limit: int) -> int:
    """How many expired rows there are, counted no further than ``limit``."""
    sql = f"""
        SELECT count(*) FROM (
            SELECT FROM outbox WHERE {_condition(wanted)} ORDER BY "createdAt" LIMIT %(limit)s) AS first
    """  # noqa: S608 - only constants are put in
    return int(connection.exec_driver_sql(sql, _parameters(wanted) | {"limit": limit}).scalar_one())


def count_receipts(connection: Connection, before: datetime) -> int:
    """How many kept callbacks were received before an instant."""
    sql = "SELECT count(*) FROM payctl.webhook_receipts WHERE received_at < %(before)s"
    return int(connection.exec_driver_sql(sql, {"before": before}).scalar_one())


def delete_receipts(connection: Connection, before: datetime, limit: int) -> int:
    """Delete the oldest kept callbacks that were received before an instant; returns how many went."""
    sql = """
        DELETE FROM payctl.webhook_receipts WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM payctl.webhook_receipts WHERE received_at < %(before)s
            ORDER BY received_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)) AND received_at < %(before)s
    """
    return int(connection.exec_driver_sql(sql, {"before": before, "limit": limit}).rowcount)


def _condition(wanted: Expired) -> str:
    return f'{_HALF_MARKED if wanted.half_marked else _MARKED} AND "createdAt" < %(created_before)s'


def _parameters(wanted: Expired) -> dict[str, object]:
    horizon = stored(wanted.horizon)
    return {"horizon": horizon, "created_before": horizon + _WRONG_ZONE}
