"""Delete published events and receipts that are older than a horizon.

An event's age is measured from ``"publishedAt"``, or from ``"createdAt"`` if a published event has no
``"publishedAt"``. Half-marked events from the old service are included, because they were sent. Pending and dead events
are never deleted. A sent success event is kept while its payment has a dead event that might be harmless because the
success was sent. Otherwise payctl would report that a customer waits for the dead event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.event import FAILURES, Position
from ticketbottle_payctl.store.db.owner_time import stored
from ticketbottle_payctl.store.outbox import shard_lock, states
from ticketbottle_payctl.store.outbox.repeated import is_success

# An event is created before it is published. The old service stored "createdAt" in the session's time zone, and no
# zone differs more from UTC than this. This bound only limits the range of the index that is read.
_WRONG_ZONE = timedelta(hours=15)

_MARKED = 'published = true AND COALESCE("publishedAt", "createdAt") < %(horizon)s'
_HALF_MARKED = f'{states.half_marked()} AND "publishedAt" < %(horizon)s'
# The planner expects few elements in an array, so it always uses a hash table.
_NOT_KEPT = f"""NOT ({is_success()} AND ("aggregateId" IN (SELECT unnest(%(kept)s::text[]))) IS TRUE)"""
_IN_ORDER = '"createdAt", id COLLATE "C"'


@dataclass(frozen=True, slots=True)
class Expired:
    """The condition for events to delete, which were published before ``horizon`` (aware).

    If ``half_marked`` is true, half-marked events are selected instead of fully marked events. The success events of
    the payments in ``kept`` are never selected.
    """

    horizon: datetime
    half_marked: bool = False
    kept: Sequence[str] = ()


class DeletedBatch(NamedTuple):
    """A batch of events that will be deleted when the transaction commits.

    ``found`` counts the expired events that were found and locked, and ``deleted`` those that will be deleted. ``last``
    is the position of the last found event. ``lines`` contains each row as JSON, if requested. ``publishing`` is true
    if a publisher had an open batch when the statement ran.
    """

    found: int
    deleted: int
    bytes: int
    last: Position | None
    lines: list[str]
    publishing: bool


class Amount(NamedTuple):
    """A number of rows, and their approximate size in bytes."""

    rows: int
    bytes: int


def payments_to_keep(connection: Connection, max_retries: int) -> list[str]:
    """Return the payments whose sent success event must be kept, because it might make a dead event harmless.

    A dead failure event needs no sent success event: whether it is superseded depends only on the payment's status.
    """
    sql = f"""
        SELECT DISTINCT "aggregateId" FROM outbox WHERE {states.dead()} AND "eventType" <> ALL(%(failures)s)
    """  # noqa: S608 - built from constants only
    values = {"max_retries": max_retries, "failures": list(FAILURES)}
    return list(connection.exec_driver_sql(sql, values).scalars())


def delete_next(connection: Connection, wanted: Expired, after: Position, limit: int, *, whole: bool) -> DeletedBatch:
    """Delete the next expired rows in index order, together with their rows in ``payctl.event_context``.

    Rows that another session has locked are skipped. Each row is checked again after it is locked. ``after`` is the
    position at which the previous batch ended. Without this position, every batch would read the earlier batches' dead
    index entries. With ``whole``, each row is also returned as one line of JSON, in order, with the payload as
    PostgreSQL prints it.
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
    """  # noqa: S608 - built from constants only
    parameters = _parameters(wanted) | {"after_at": after[0], "after_id": after[1], "limit": limit}
    found, deleted, size, last_at, last_id, kept, publishing = connection.exec_driver_sql(sql, parameters).one()
    last = None if last_at is None else (last_at, last_id)
    return DeletedBatch(found, deleted, int(size), last, kept or [], publishing)


def measure(connection: Connection, wanted: Expired) -> Amount:
    """Count all expired rows and their bytes.

    The query reads every expired row, so it is slow if there are many of them.
    """
    sql = f"SELECT count(*), COALESCE(sum(pg_column_size(o.*)), 0) FROM outbox AS o WHERE {_condition(wanted)}"  # noqa: S608
    rows, size = connection.exec_driver_sql(sql, _parameters(wanted)).one()
    return Amount(int(rows), int(size))


def count(connection: Connection, wanted: Expired, limit: int) -> int:
    """Count expired rows, but stop at ``limit``."""
    sql = f"""
        SELECT count(*) FROM (
            SELECT FROM outbox WHERE {_condition(wanted)} ORDER BY "createdAt" LIMIT %(limit)s) AS first
    """  # noqa: S608 - built from constants only
    return int(connection.exec_driver_sql(sql, _parameters(wanted) | {"limit": limit}).scalar_one())


def count_receipts(connection: Connection, before: datetime) -> int:
    """Count receipts that arrived before an instant."""
    sql = "SELECT count(*) FROM payctl.webhook_receipts WHERE received_at < %(before)s"
    return int(connection.exec_driver_sql(sql, {"before": before}).scalar_one())


def delete_receipts(connection: Connection, before: datetime, limit: int) -> int:
    """Delete the oldest receipts that arrived before an instant. Return how many were deleted."""
    sql = """
        DELETE FROM payctl.webhook_receipts WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM payctl.webhook_receipts WHERE received_at < %(before)s
            ORDER BY received_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)) AND received_at < %(before)s
    """
    return int(connection.exec_driver_sql(sql, {"before": before, "limit": limit}).rowcount)


def _condition(wanted: Expired) -> str:
    expired = f'{_HALF_MARKED if wanted.half_marked else _MARKED} AND "createdAt" < %(created_before)s'
    return f"{expired} AND {_NOT_KEPT}" if wanted.kept else expired


def _parameters(wanted: Expired) -> dict[str, object]:
    horizon = stored(wanted.horizon)
    return {"horizon": horizon, "created_before": horizon + _WRONG_ZONE, "kept": list(wanted.kept)}
