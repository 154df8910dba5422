"""Count and repair half-marked events. The old service sent them, but left ``published`` false."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import aware, stored
from ticketbottle_payctl.store.outbox import states


class HalfMarked(NamedTuple):
    """The number of half-marked events, their oldest and newest creation times, and their latest publishing time.

    All times are in UTC. If there are no half-marked events, the times are None.
    """

    events: int
    oldest: datetime | None
    newest: datetime | None
    sent_until: datetime | None


class Repaired(NamedTuple):
    """The number of events that one batch repaired, and the position where the next batch begins."""

    events: int
    after: tuple[datetime, str] | None


def count(connection: Connection) -> HalfMarked:
    """Count half-marked events through the index on (published, "createdAt").

    Only rows with ``published = false`` are read.
    """
    instants = 'min("createdAt"), max("createdAt"), max("publishedAt")'
    sql = f"SELECT count(*), {instants} FROM outbox WHERE {states.half_marked()}"  # noqa: S608 - built from constants only
    events, *found = connection.exec_driver_sql(sql).one()
    return HalfMarked(events, *map(aware, found))


def repair(  # noqa: PLR0913, PLR0917 - the statement needs each of them
    connection: Connection,
    run_id: str,
    number: int,
    limit: int,
    sent_until: datetime,
    after: tuple[datetime, str] | None,
) -> Repaired:
    """Set ``published`` on the next ``limit`` half-marked events, in order, and record each event as a row of the run.

    A row is changed only if it is still half-marked and was sent no later than ``sent_until`` (UTC). Rows that another
    session has locked are left for later. ``after`` is the position at which the previous batch ended. Without this
    position, every batch would read the earlier batches' dead index entries.
    """
    bound = '("createdAt", id COLLATE "C") > (%(at)s, %(id)s) AND "createdAt" >= %(at)s' if after else "true"
    sql = f"""
        WITH repaired AS (
            UPDATE outbox AS o SET published = true
            WHERE o.ctid = ANY (ARRAY(
                SELECT ctid FROM outbox WHERE {states.half_marked()} AND "publishedAt" <= %(until)s AND {bound}
                ORDER BY "createdAt", id COLLATE "C" LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED))
              AND {states.half_marked("o.")}
            RETURNING o.id, o."createdAt"
        ), recorded AS (
            INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before, after)
            SELECT %(run)s::uuid, %(number)s, row_number() OVER (ORDER BY "createdAt", id COLLATE "C") - 1, id,
                'repaired', '{{"published": false}}', '{{"published": true}}'
            FROM repaired
        )
        SELECT id, "createdAt" FROM repaired ORDER BY "createdAt", id COLLATE "C"
    """  # noqa: S608 - built from constants only
    at, last = after or (None, None)
    until = stored(sent_until)
    parameters = {"run": run_id, "number": number, "limit": limit, "until": until, "at": at, "id": last}
    rows = connection.exec_driver_sql(sql, parameters).all()
    return Repaired(len(rows), (rows[-1][1], rows[-1][0]) if rows else after)
