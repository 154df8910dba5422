"""Identify the events that a replay sends again although they had already been published.

An outbox row contains only the last time that its event was sent. The record of a replay contains the row as it was
before the replay, so it shows whether the event had already been sent. This does not show that the order service
received the event, because operators replay events that were lost.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import NOW
from ticketbottle_payctl.store.db.privileges import may_read_all_of_ours
from ticketbottle_payctl.store.outbox import states

IS_REPUBLISHED = "outcome = 'requeued' AND before->>'published_at' IS NOT NULL"
"""The SQL condition for a row of ``payctl.run_items`` whose event had been published before it was requeued."""


def was_sent_before(event_id: str) -> str:
    """Return an SQL condition that is true if the event with this id had been published before its last replay.

    The condition is a scalar subquery, so the server looks up each event in the index on the item's id.
    """
    return f"""COALESCE((
        SELECT true FROM payctl.run_items WHERE item_id = {event_id} AND {IS_REPUBLISHED} LIMIT 1), false)
    """  # noqa: S608 - built from constants only


MOST_LOOKED_AT = 200_000
"""The maximum number of pending events for which the record of replays is read, oldest first."""

# Events that were never sent have waited since they were created. Only an older event that a replay has requeued can
# have waited longer than the oldest of these events.
_WAITING = f"""(
        SELECT o.id, o."createdAt" FROM outbox AS o WHERE {states.pending("o.")}
        ORDER BY o."createdAt" LIMIT {MOST_LOOKED_AT}) AS o"""  # noqa: S608 - built from constants only
_LONGEST = f"""
    WITH oldest AS MATERIALIZED (
        SELECT o."createdAt" AS made FROM {_WAITING}
        WHERE NOT {was_sent_before("o.id")} ORDER BY o."createdAt" LIMIT 1
    ), since AS (
        SELECT o.id, o."createdAt" AS made, (SELECT max(at) AT TIME ZONE 'UTC' FROM payctl.run_items
            WHERE item_id = o.id AND {IS_REPUBLISHED}) AS requeued
        FROM {_WAITING} WHERE o."createdAt" <= COALESCE((SELECT made FROM oldest), 'infinity')
    )
    SELECT id, GREATEST(0, EXTRACT(epoch FROM {NOW} - COALESCE(requeued, made)))::float8, requeued IS NOT NULL
    FROM since ORDER BY COALESCE(requeued, made), id COLLATE "C" LIMIT 1
"""  # noqa: S608 - built from constants only


class LongestWait(NamedTuple):
    """The pending event that has waited longest, and how long it has waited, in seconds.

    If ``requeued`` is true, the event had already been sent, so it has waited only since a replay requeued it.
    """

    id: str
    age_s: float
    requeued: bool


def longest_wait(connection: Connection, max_retries: int) -> LongestWait | None:
    """Return the pending event that has waited longest, or None if no event is pending.

    Only the 200,000 oldest pending events are considered. The server looks up an event in the index on the item's id
    only if no older event waits for its first publication.
    """
    row = connection.exec_driver_sql(_LONGEST, {"max_retries": max_retries}).first()
    return None if row is None else LongestWait(*row)


def may_be_read(connection: Connection) -> bool:
    """Return whether payctl's schema exists and the role is allowed to read whole rows of runs.

    A publisher's role is not allowed to do this.
    """
    return bool(connection.exec_driver_sql(f"SELECT {may_read_all_of_ours('run_items')}").scalar_one())


def requeued_before_s(event_ids: str) -> str:
    """Return the SQL expression for the seconds since one of the events was last requeued, or NULL if none ever was.

    ``event_ids`` is an SQL query. The server looks up each event in the index on the item's id.
    """
    return f"""(SELECT GREATEST(0, EXTRACT(epoch FROM clock_timestamp() - max(at)))::float8 FROM payctl.run_items
        WHERE item_id = ANY(ARRAY({event_ids})) AND outcome = 'requeued' HAVING count(*) > 0)"""  # noqa: S608 - built from constants only


def was_requeued(event_id: str) -> str:
    """Return an SQL condition that is true if a replay has requeued the event with this id.

    The condition is a subquery, so the server looks up each event in the index on the item's id.
    """
    return f"EXISTS (SELECT FROM payctl.run_items WHERE item_id = {event_id} AND outcome = 'requeued')"
