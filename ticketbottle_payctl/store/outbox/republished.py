"""Identify the events that a replay sends again although they had already been published.

An outbox row contains only the last time that its event was sent. The record of a replay contains the row as it was
before the replay, so it shows whether the event had already been sent. The record does not show that the order service
received the event, because operators replay events that were lost.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import NOW
from ticketbottle_payctl.store.db.privileges import may_read_all_of_ours
from ticketbottle_payctl.store.outbox import states

IS_REQUEUED = "outcome = 'requeued'"
"""The SQL condition for a row of ``payctl.run_items`` whose event was requeued."""

IS_REPUBLISHED = f"{IS_REQUEUED} AND before->>'published_at' IS NOT NULL"
"""The SQL condition for a row of ``payctl.run_items`` whose event had been published before it was requeued."""


def was_sent_before(event_id: str) -> str:
    """Return an SQL condition that is true if the event with this id had been published before its last replay.

    The condition is a scalar subquery, so the server looks up each event in the index on the item's id.
    """
    return _is_recorded(event_id, IS_REPUBLISHED)


def _is_recorded(event_id: str, condition: str) -> str:
    return f"""COALESCE((
        SELECT true FROM payctl.run_items WHERE item_id = {event_id} AND {condition} LIMIT 1), false)
    """  # noqa: S608 - built from constants only


MOST_LOOKED_AT = 200_000
"""The maximum number of pending events for which the record of replays is read, oldest first."""


def _waiting(which: str = "true") -> str:
    return f"""(
        SELECT o.id, o."createdAt" FROM outbox AS o WHERE {states.pending("o.")} AND {which}
        ORDER BY o."createdAt" LIMIT %(most)s) AS o"""  # noqa: S608 - built from constants only


def _longest(condition: str) -> str:
    """Return the statement that finds the longest wait.

    If a replay of an event meets the condition, the event's wait begins at this replay. For every other event, the wait
    begins when the event is created. Only an older event that a replay has requeued can have waited longer than the
    oldest of these events. So the second search reads no event that is newer than this one.
    """
    until = """o."createdAt" <= COALESCE((SELECT made FROM oldest), 'infinity')"""
    return f"""
    WITH oldest AS MATERIALIZED (
        SELECT o."createdAt" AS made FROM {_waiting()}
        WHERE NOT {_is_recorded("o.id", condition)} ORDER BY o."createdAt" LIMIT 1
    ), since AS (
        SELECT o.id, o."createdAt" AS made, (SELECT max(at) AT TIME ZONE 'UTC' FROM payctl.run_items
            WHERE item_id = o.id AND {condition}) AS requeued
        FROM {_waiting(until)}
    )
    SELECT id, GREATEST(0, EXTRACT(epoch FROM {NOW} - COALESCE(requeued, made)))::float8, requeued IS NOT NULL,
        EXISTS (SELECT FROM oldest) OR NOT EXISTS (
            SELECT FROM outbox AS o WHERE {states.pending("o.")} ORDER BY o."createdAt" OFFSET %(most)s)
    FROM since ORDER BY COALESCE(requeued, made), id COLLATE "C" LIMIT 1
"""  # noqa: S608 - built from constants only


class LongestWait(NamedTuple):
    """The pending event that has waited longest, and how long it has waited, in seconds.

    If ``requeued`` is true, the event has waited only since a replay requeued it. If ``is_longest`` is false, payctl
    did not look at all pending events, and another event may have waited longer.
    """

    id: str
    age_s: float
    requeued: bool
    is_longest: bool = True


def longest_wait(
    connection: Connection, max_retries: int, *, after_any_replay: bool = False, most: int = MOST_LOOKED_AT
) -> LongestWait | None:
    """Return the pending event that has waited longest, or None if no event is pending.

    The wait of an event that had been sent before counts from its replay. With ``after_any_replay``, the wait of every
    requeued event counts from its replay. Only the ``most`` oldest pending events are considered. The server looks up
    an event in the index on the item's id only if all older events were requeued too.
    """
    sql = _longest(IS_REQUEUED if after_any_replay else IS_REPUBLISHED)
    row = connection.exec_driver_sql(sql, {"max_retries": max_retries, "most": most}).first()
    return None if row is None else LongestWait(*row)


def may_be_read(connection: Connection) -> bool:
    """Return whether payctl's schema exists and the role is allowed to read whole rows of runs.

    A publisher's role is not allowed to do this.
    """
    return bool(connection.exec_driver_sql(f"SELECT {may_read_all_of_ours('run_items')}").scalar_one())


def requeued_before_s(event_ids: str) -> str:
    """Return the SQL expression for the seconds since an event was last requeued, or NULL if no event was requeued.

    ``event_ids`` is an SQL query. The server looks up each event in the index on the item's id.
    """
    return f"""(SELECT GREATEST(0, EXTRACT(epoch FROM clock_timestamp() - max(at)))::float8 FROM payctl.run_items
        WHERE item_id = ANY(ARRAY({event_ids})) AND {IS_REQUEUED} HAVING count(*) > 0)"""  # noqa: S608 - built from constants only


def was_requeued(event_id: str) -> str:
    """Return an SQL condition that is true if a replay has requeued the event with this id.

    The condition is a subquery, so the server looks up each event in the index on the item's id.
    """
    return f"EXISTS (SELECT FROM payctl.run_items WHERE item_id = {event_id} AND {IS_REQUEUED})"
