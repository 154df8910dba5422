"""Claim pending events of the payment service's ``outbox``, and release the events that were not published.

One statement claims the events and marks them as published. The transaction is committed only after the broker has
acknowledged the events. Until then, other sessions do not see the mark, and a crash undoes it. Events are always sorted
by ``"createdAt"`` and then by id in code point order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.event import OutboxEvent, Position
from ticketbottle_payctl.store.db.owner_time import NOW, aware
from ticketbottle_payctl.store.outbox import states

_IN_ORDER = '"createdAt", id COLLATE "C"'
_IN_SHARD = '(hashtextextended("aggregateId", 0) & 9223372036854775807) %% %(shards)s::bigint = %(shard)s::bigint'


@dataclass(frozen=True, slots=True)
class Claim:
    """The conditions that select the pending events for the next claim.

    ``excluded`` contains the ids of blocked payments. If ``types`` is empty, events of all types are claimed. If
    ``end`` is given, every event up to and including that position is claimed. Then ``limit`` is only the expected
    number of events.
    """

    after: Position
    limit: int
    max_retries: int
    excluded: Sequence[str] = ()
    types: Sequence[str] = ()
    until: datetime | None = None
    shard: int = 0
    shards: int = 1
    end: Position | None = None


class Released(NamedTuple):
    """A claimed event that was not published. If ``error`` is None, ``"lastError"`` stays unchanged."""

    id: str
    retry_count: int
    error: str | None


class Failed(NamedTuple):
    """An unpublished event that has failed at least once. The event either waits for its retry or is dead."""

    aggregate_id: str
    position: Position
    retry_count: int


class Waiting(NamedTuple):
    """The number of pending events of one type, and the creation time of the oldest one (UTC)."""

    event_type: str
    events: int
    oldest: datetime


class Claimed(NamedTuple):
    """Claimed events, oldest first.

    ``complete`` is false if a pending event in the range may be missing. ``interrupted`` is true if an earlier claim of
    any of the events was not committed.
    """

    events: list[OutboxEvent]
    complete: bool
    interrupted: bool = False


def end_of_next(connection: Connection, wanted: Claim, first: str) -> Position | None:
    """Return the position at which the next full claim will end, or None if too few events are pending.

    A claim that ends at this position and a claim that begins after it never touch the same row. Therefore two
    connections can run these claims at the same time. This function does not change any rows. Its statement also
    evaluates the SQL expression ``first``. If ``first`` takes a lock, the transaction keeps the lock.
    """
    sql = _end_sql(_where(wanted), first)
    _, created_at, event_id = connection.exec_driver_sql(sql, _parameters(wanted)).one()
    return None if event_id is None else (created_at, event_id)


def claim(connection: Connection, wanted: Claim, *, skip_locked: bool = False) -> Claimed:
    """Claim and mark the next pending events.

    After the claim has locked a row, it checks again that the event is unpublished and below the retry limit. The claim
    waits for rows that another session has locked, up to the transaction's lock timeout. With ``skip_locked``, it skips
    them.

    If ``complete`` is false, the caller must not send the events. The claim is incomplete in two cases. In the first
    case, another session changed a row while the claim waited for it. The claim leaves this row out although its event
    may still be pending, so later events would overtake it. In the second case, the range contains far more events than
    expected.

    PostgreSQL writes the number of the claim's transaction into each claimed row, as ``xmax``. If the transaction does
    not commit, the number stays there until the row changes again. This caller's own claim has just failed if it uses
    ``skip_locked``, so ``interrupted`` is then always false.
    """
    most = wanted.limit if wanted.end is None else wanted.limit + _MOST_MORE_IN_RANGE
    parameters = _parameters(wanted) | {"limit": most}
    result = connection.exec_driver_sql(_claim_sql(_where(wanted), skip_locked), parameters)
    rows = result.cursor.fetchall() if result.cursor else []
    picked, interrupted, first_id = rows[0][:3]
    events: list[OutboxEvent] = [] if first_id is None else list(map(OutboxEvent._make, map(_EVENT, rows)))
    events.sort(key=_BY_POSITION)
    complete = picked == len(events) and (wanted.end is None or picked < most)
    return Claimed(events, complete, interrupted and not skip_locked)


def preview(connection: Connection, wanted: Claim) -> list[Waiting]:
    """Count all events that claims would take, by event type, without changing them."""
    sql = f'SELECT "eventType", count(*), min("createdAt") FROM outbox WHERE {_where(wanted)} GROUP BY 1 ORDER BY 1'  # noqa: S608
    rows = connection.exec_driver_sql(sql, _parameters(wanted))
    return [Waiting(event_type, events, aware(oldest)) for event_type, events, oldest in rows]


def release(connection: Connection, rows: Sequence[Released]) -> None:
    """Unmark claimed events that were not acknowledged. Call this in the transaction that claimed the events."""
    connection.exec_driver_sql(
        """
        UPDATE outbox AS o
        SET published = false, "publishedAt" = NULL, "retryCount" = f.retry_count,
            "lastError" = COALESCE(f.error, o."lastError")
        FROM unnest(%(ids)s::text[], %(counts)s::int[], %(errors)s::text[]) AS f (id, retry_count, error)
        WHERE o.id = f.id
        """,
        {
            "ids": [row.id for row in rows],
            "counts": [row.retry_count for row in rows],
            "errors": [row.error for row in rows],
        },
    )


def failed(connection: Connection, *, shard: int, shards: int, limit: int) -> list[Failed]:
    """Return a shard's unpublished events that have failed at least once, oldest first."""
    mine = _IN_SHARD if shards > 1 else "true"
    sql = f"""
        SELECT "aggregateId", "createdAt", id, "retryCount" FROM outbox
        WHERE {states.unpublished()} AND "retryCount" > 0 AND {mine} ORDER BY {_IN_ORDER} LIMIT %(limit)s
    """  # noqa: S608 - built from constants only
    rows = connection.exec_driver_sql(sql, {"limit": limit, "shard": shard, "shards": shards})
    return [Failed(aggregate_id, (created_at, event_id), count) for aggregate_id, created_at, event_id, count in rows]


def waiting_of_other_types(connection: Connection, types: Sequence[str], max_retries: int) -> list[Failed]:
    """Return each pending event of another type whose payment also has a pending event of one of the ``types``.

    The caller must not send an event of these types before an earlier event of another type.
    """
    sql = f"""
        WITH pending AS (
            SELECT "aggregateId", "createdAt", id, "retryCount", "eventType" = ANY(%(types)s) AS wanted
            FROM outbox WHERE {states.pending()})
        SELECT "aggregateId", "createdAt", id, "retryCount" FROM pending
        WHERE NOT wanted AND "aggregateId" IN (SELECT "aggregateId" FROM pending WHERE wanted)
    """  # noqa: S608 - built from constants only
    rows = connection.exec_driver_sql(sql, {"types": list(types), "max_retries": max_retries})
    return [Failed(aggregate_id, (created_at, event_id), count) for aggregate_id, created_at, event_id, count in rows]


def locked_by_others(connection: Connection, wanted: Claim, last: Position | None) -> list[tuple[str, Position]]:
    """Return the payment and position of each event that a claim with ``skip_locked`` left out, up to ``last``.

    If ``last`` is None, the claim did not take any events, and the result contains at most ``wanted.limit`` events.
    """
    behind = 'AND ("createdAt", id COLLATE "C") < (%(last_at)s, %(last_id)s)' if last else "LIMIT %(limit)s"
    sql = f"""
        SELECT "aggregateId", "createdAt", id FROM outbox WHERE {_where(wanted)} {behind}
    """  # noqa: S608 - built from constants only
    parameters = _parameters(wanted) | ({"last_at": last[0], "last_id": last[1]} if last else {})
    return [(key, (created_at, event_id)) for key, created_at, event_id in connection.exec_driver_sql(sql, parameters)]


def now(connection: Connection) -> datetime:
    """Return the database's current time in UTC, without a time zone, as in the payment service's columns."""
    at = connection.exec_driver_sql(f"SELECT {NOW}").scalar_one()
    assert isinstance(at, datetime)  # noqa: S101 - for the type checker
    return at


_MOST_MORE_IN_RANGE = 1000
"""The maximum number of events that a claimed range may contain beyond the expected number."""

_EVENT = itemgetter(slice(2, None))
_BY_POSITION = itemgetter(5, 0)


def _where(wanted: Claim) -> str:
    """Return only the conditions that this claim needs, because the server evaluates each condition for every row."""
    return _conditions(
        bool(wanted.excluded), bool(wanted.types), wanted.until is not None, wanted.end is not None, wanted.shards > 1
    )


@cache
def _conditions(excluded: bool, types: bool, until: bool, end: bool, shards: bool) -> str:  # noqa: FBT001
    conditions = [
        states.pending(),
        '"createdAt" >= %(after_at)s',
        '("createdAt", id COLLATE "C") > (%(after_at)s, %(after_id)s)',
    ]
    if excluded:
        conditions.append('"aggregateId" <> ALL(%(excluded)s)')
    if types:
        conditions.append('"eventType" = ANY(%(types)s)')
    if until:
        conditions.append('"createdAt" <= %(until)s')
    if end:
        conditions += ['"createdAt" <= %(end_at)s', '("createdAt", id COLLATE "C") <= (%(end_at)s, %(end_id)s)']
    if shards:
        conditions.append(_IN_SHARD)
    return " AND ".join(conditions)


def _end_sql(where: str, first: str) -> str:
    return f"""
        SELECT {first}, found.* FROM (SELECT 1) AS one LEFT JOIN LATERAL (
            SELECT "createdAt", id FROM outbox WHERE {where}
            ORDER BY {_IN_ORDER} OFFSET %(limit)s - 1 LIMIT 1) AS found ON true
    """  # noqa: S608 - built from constants only


# A committed transaction also leaves its number in a row that it has only locked, so the transaction's end counts.
# pg_xact_status needs the number with its epoch: the newest one before the snapshot's end that has the same 32 bits.
_ENDED_BEFORE = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1"
_WITH_EPOCH = f"GREATEST(3, {_ENDED_BEFORE} - (({_ENDED_BEFORE} - xmax::text::bigint) & 4294967295))"
_INTERRUPTED = f"""COALESCE(bool_or(
    CASE WHEN xmax <> 0 THEN pg_xact_status({_WITH_EPOCH}::text::xid8) = 'aborted' END), false)"""


# IS NOT TRUE keeps the planner from using the index when a row is checked again. With stale statistics it would
# otherwise search every pending row for the given ones, instead of reading them by ctid.
@cache
def _claim_sql(where: str, skip_locked: bool) -> str:  # noqa: FBT001
    locking = "FOR NO KEY UPDATE SKIP LOCKED" if skip_locked else ""
    return f"""
        WITH picked AS MATERIALIZED (
            SELECT COALESCE(array_agg(ctid), '{{}}') AS rows, {_INTERRUPTED} AS interrupted
            FROM (SELECT ctid, xmax FROM outbox WHERE {where} ORDER BY {_IN_ORDER} LIMIT %(limit)s {locking}) AS next),
        marked AS (
            UPDATE outbox AS o
            SET published = true, "publishedAt" = {NOW}
            WHERE o.ctid = ANY ((SELECT rows FROM picked)::tid[])
              AND o.published IS NOT TRUE AND o."publishedAt" IS NULL AND {states.has_retries("o.")}
            RETURNING o.id, o."aggregateId", o."aggregateType", o."eventType", o.payload::text, o."createdAt",
                o."retryCount",
                (SELECT ARRAY[x.correlation_id, x.traceparent, x.replay_run_id]
                 FROM payctl.event_context AS x WHERE x.event_id = o.id))
        SELECT cardinality(picked.rows), picked.interrupted, marked.* FROM picked LEFT JOIN marked ON true
    """  # noqa: S608 - built from constants only


def _parameters(wanted: Claim) -> dict[str, object]:
    return {
        "max_retries": wanted.max_retries,
        "after_at": wanted.after[0],
        "after_id": wanted.after[1],
        "limit": wanted.limit,
        "excluded": list(wanted.excluded),
        "types": list(wanted.types),
        "until": wanted.until,
        "end_at": wanted.end[0] if wanted.end else None,
        "end_id": wanted.end[1] if wanted.end else None,
        "shard": wanted.shard,
        "shards": wanted.shards,
    }
