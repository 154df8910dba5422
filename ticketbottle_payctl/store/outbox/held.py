"""Count the pending events that a publisher cannot send yet, and find the causes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.event import Position
from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE
from ticketbottle_payctl.store.outbox import states
from ticketbottle_payctl.store.outbox.message_size import message_bytes
from ticketbottle_payctl.store.outbox.selector import UNKNOWN_TYPE

_LEAST_STORED = 2000
_TOO_LARGE = f"""(CASE WHEN pg_column_size(o.payload) > {_LEAST_STORED}
    THEN {message_bytes("o.")} > {LARGEST_MESSAGE} ELSE false END)"""
"""An SQL condition that is true if an event's message is larger than payctl sends.

Even compressed, the payload of such a message takes more than 2,000 bytes. Smaller payloads are not read.
"""


class Unsendable(NamedTuple):
    """A pending event that would become dead, because its type is unknown or its message is too large.

    ``order_code`` is None if the payload does not contain one.
    """

    key: str
    position: Position
    event_type: str
    order_code: str | None


class Barrier(NamedTuple):
    """An event that blocks the later events of its payment. If ``itself`` is true, this event is pending too."""

    key: str
    position: Position
    itself: bool


class Held(NamedTuple):
    """The number of pending events that are waiting because of the same cause.

    The cause is the barrier with the index ``barrier``, or an event type that cannot be sent. ``types`` counts the
    waiting events by their own type.
    """

    barrier: int | None
    event_type: str | None
    types: Mapping[str, int]

    @property
    def events(self) -> int:
        """The number of waiting events."""
        return sum(self.types.values())


class BlockingEvent(NamedTuple):
    """An event that blocks its payment, and the session that has locked its row, if any."""

    event_type: str
    retry_count: int
    last_error: str | None
    locked_by: int | None
    application: str | None
    session_state: str | None
    locked_s: float | None
    order_code: str | None


def held(
    connection: Connection, barriers: Sequence[Barrier], stopped: Sequence[str], types: Sequence[str], max_retries: int
) -> list[Held]:
    """Count the waiting events by cause. Each event counts once, under the earliest barrier of its payment.

    A pending event of a ``stopped`` type is also a barrier. If ``types`` is not empty, only events of these types are
    counted.
    """
    if not barriers and not stopped:
        return []
    of_stopped_types = f"""
            UNION ALL
            SELECT "aggregateId", "createdAt", id, true, NULL, "eventType"
            FROM outbox WHERE {states.pending()} AND "eventType" = ANY(%(stopped)s)
    """  # noqa: S608 - built from constants only
    sql = f"""
        WITH barrier AS (
            SELECT key, at, id, itself, number::int, NULL AS event_type
            FROM unnest(%(keys)s::text[], %(ats)s::timestamp[], %(ids)s::text[], %(itself)s::boolean[])
                WITH ORDINALITY AS given (key, at, id, itself, number)
            {of_stopped_types if stopped else ""}),
        earliest AS (
            SELECT DISTINCT ON (key) key, at, id, itself, number, event_type
            FROM barrier ORDER BY key, at, id COLLATE "C")
        SELECT b.number - 1, b.event_type, o."eventType", count(*)
        FROM outbox AS o JOIN earliest AS b ON b.key = o."aggregateId"
        WHERE {states.pending("o.")}
          AND ((o."createdAt", o.id COLLATE "C") > (b.at, b.id COLLATE "C") OR (b.itself AND o.id = b.id))
          AND (cardinality(%(types)s::text[]) = 0 OR o."eventType" = ANY(%(types)s))
        GROUP BY 1, 2, 3
    """  # noqa: S608 - built from constants only
    parameters = {
        "keys": [each.key for each in barriers],
        "ats": [each.position[0] for each in barriers],
        "ids": [each.position[1] for each in barriers],
        "itself": [each.itself for each in barriers],
        "stopped": list(stopped),
        "types": list(types),
        "max_retries": max_retries,
    }
    found: dict[tuple[int | None, str | None], dict[str, int]] = {}
    for barrier, stopped_type, event_type, events in connection.exec_driver_sql(sql, parameters):
        found.setdefault((barrier, stopped_type), {})[event_type] = events
    return [Held(*cause, types) for cause, types in found.items()]


def unsendable(connection: Connection, types: Sequence[str], max_retries: int, *, first_only: bool) -> list[Unsendable]:
    """Return the pending events of unknown types, and those whose messages are too large, oldest first.

    If ``types`` is not empty, only events of these types are returned. With ``first_only``, return the oldest such
    event of each payment.
    """
    first = 'DISTINCT ON (o."aggregateId")' if first_only else ""
    sql = f"""
        SELECT {first} o."aggregateId", o."createdAt", o.id, o."eventType", {states.order_code("o.")} FROM outbox AS o
        WHERE {states.pending("o.")} AND ({UNKNOWN_TYPE} OR {_TOO_LARGE})
            AND (cardinality(%(types)s::text[]) = 0 OR o."eventType" = ANY(%(types)s))
        ORDER BY o."aggregateId", o."createdAt", o.id COLLATE "C"
    """  # noqa: S608 - built from constants only
    rows = connection.exec_driver_sql(sql, {"max_retries": max_retries, "types": list(types)})
    found = [Unsendable(key, (created_at, event_id), *rest) for key, created_at, event_id, *rest in rows]
    return sorted(found, key=lambda each: each.position)


def blocking_events(connection: Connection, ids: Sequence[str]) -> dict[str, BlockingEvent]:
    """Return the events with these ids, and the sessions that have locked their rows.

    Fields that the role cannot read are None.
    """
    rows = connection.exec_driver_sql(
        f"""
        SELECT o.id, o."eventType", o."retryCount", o."lastError", l.pid, nullif(a.application_name, ''), a.state,
            EXTRACT(epoch FROM clock_timestamp() - a.xact_start)::float8, {states.order_code("o.")}
        FROM outbox AS o
        LEFT JOIN pg_locks AS l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid = o.xmax
        LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
        WHERE o.id = ANY(%(ids)s)
        """,  # noqa: S608 - built from constants only
        {"ids": list(ids)},
    )
    return {event_id: BlockingEvent(*rest) for event_id, *rest in rows}
