"""Count dead events, and find the superseded ones.

A superseded event that a person has closed is not counted in warnings unless an event waits behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.event import FAILURES
from ticketbottle_payctl.store.db.privileges import may_read_ours, may_read_payments
from ticketbottle_payctl.store.outbox import cdc, states
from ticketbottle_payctl.store.outbox.debezium_names import SLOT
from ticketbottle_payctl.store.outbox.selector import SUPERSEDED

_MOST_NAMED = 5

_HAS_CLOSING = """EXISTS (
                SELECT FROM payctl.run_items AS i WHERE i.item_id = o.id AND i.outcome = 'closed')"""
BY_DEBEZIUM = f"""EXISTS (
    SELECT FROM pg_replication_slots WHERE slot_name = '{SLOT}' AND database = current_database())"""


def judged_superseded(which: str = "true") -> str:
    """Return the WITH queries that find out which superseded dead events block a pending event of their payment.

    The last query, ``superseded``, has the columns ``id``, ``at`` and ``blocks``. The pending events are read once, and
    only if an event is superseded. Each event is compared with the later events of its payment in one sort. If Debezium
    is the publisher, no event blocks another. ``which`` is an SQL condition that limits the events.
    """
    # The planner expects few dead events, and IS TRUE keeps it from joining them. It also expects few elements in an
    # array, so it always uses a hash table.
    return f"""
        paid_later AS MATERIALIZED (
            SELECT o.id, o."aggregateId" AS key, o."createdAt" AS at FROM outbox AS o
            WHERE {which} AND {states.dead("o.")} AND {SUPERSEDED} IS TRUE
        ), line AS MATERIALIZED (
            SELECT id, key, at, false AS waits FROM paid_later
            UNION ALL SELECT w.id, w."aggregateId", w."createdAt", true FROM outbox AS w
            WHERE EXISTS (SELECT FROM paid_later) AND {states.pending("w.")}
                AND (w."aggregateId" IN (SELECT unnest(ARRAY(SELECT key FROM paid_later)))) IS TRUE
                AND NOT {BY_DEBEZIUM}
        ), superseded AS MATERIALIZED (
            SELECT id, at, blocks FROM (
                SELECT *, bool_or(waits) OVER (PARTITION BY key ORDER BY at DESC, id COLLATE "C" DESC) AS blocks
                FROM line
            ) AS compared WHERE NOT waits
        )"""  # noqa: S608 - built from constants only


def _closed(which: str = "true") -> str:
    """Return the SQL query for the ids of the dead events that count as closed. All commands use this query.

    A closed event counts as closed only while it is superseded and no pending event of its payment waits behind it.
    Otherwise a customer might be waiting. ``which`` is an SQL condition that limits the events.
    ``store.payctl.runs`` defines the outcome in this query as ``CLOSED``.
    """
    queries = judged_superseded(f"{which} AND {_HAS_CLOSING}")
    return f"WITH {queries} SELECT id FROM superseded WHERE NOT blocks"  # noqa: S608 - built from constants only


CLOSED_DEAD = f"(o.id IN ({_closed()}))"
"""The SQL condition for dead events that count as closed."""

# A publisher's role may have no privilege on the payments table.
_RIGHTS = f"SELECT {may_read_payments('id', 'status')}, {may_read_ours('run_items', 'item_id', 'outcome')}"


class Rights(NamedTuple):
    """What the database role is allowed to read.

    ``payments`` stands for the payments' ids and statuses, which show whether an event is superseded. ``closings``
    stands for the closing records.
    """

    payments: bool
    closings: bool


class DeadCount(NamedTuple):
    """The number of dead events.

    ``failures`` counts those of type PAYMENT_FAILED or PAYMENT_CANCELLED, and ``closed`` counts the failures that count
    as closed.
    """

    events: int
    failures: int
    closed: int = 0


class SupersededDead(NamedTuple):
    """The number of superseded dead events.

    ``blocking`` counts those that block a pending event of their payment. The others are harmless, and ``closed``
    counts the harmless events that a person has closed. ``ids`` and ``orders`` are the ids and order codes of the five
    oldest harmless events that are not closed.
    """

    events: int = 0
    blocking: int = 0
    closed: int = 0
    ids: Sequence[str] = ()
    orders: Sequence[str | None] = ()


def count(connection: Connection, max_retries: int) -> DeadCount:
    """Count the dead events in the whole outbox.

    If the role is not allowed to read the payments or the closing records, no event counts as closed.
    """
    sql = f"""
        SELECT count(*), count(*) FILTER (WHERE "eventType" = ANY(%(failures)s)) FROM outbox WHERE {states.dead()}
    """  # noqa: S608 - built from constants only
    values = {"max_retries": max_retries, "failures": list(FAILURES)}
    found = DeadCount(*connection.exec_driver_sql(sql, values).one())
    if not found.failures or not all(rights(connection)):
        return found
    sql = f"SELECT count(*) FROM ({_closed()}) AS closed"  # noqa: S608 - built from constants only
    return found._replace(closed=connection.exec_driver_sql(sql, values).scalar_one())


def closed_among(connection: Connection, ids: Sequence[str], max_retries: int) -> frozenset[str]:
    """Return the ids of the given events that count as closed.

    If the role is not allowed to read the closing records, no event counts as closed.
    """
    if not ids or not rights(connection).closings:
        return frozenset()
    values = {"ids": [*ids], "max_retries": max_retries}
    return frozenset(connection.exec_driver_sql(_closed("o.id = ANY(%(ids)s)"), values).scalars())


def rights(connection: Connection) -> Rights:
    """Return what the database role is allowed to read about dead events. This needs one statement."""
    return Rights(*connection.exec_driver_sql(_RIGHTS).one())


class NamedEvent(NamedTuple):
    """An event that a person wants to close. ``superseded`` is true only if the event is dead.

    ``blocks`` is true if a pending event of its payment waits behind it. If Debezium is the publisher, events never
    wait for each other.
    """

    id: str
    event_type: str
    state: str
    superseded: bool
    order_code: str | None
    payment_id: str
    error: str | None
    closed: bool
    blocks: bool


def superseded(connection: Connection, max_retries: int, *, with_closings: bool) -> SupersededDead:
    """Find the superseded dead events. The role must be allowed to read the payments' ids and statuses.

    If the role is not allowed to read the closing records, ``with_closings`` must be false. Then no event counts as
    closed.
    """
    closed = _HAS_CLOSING if with_closings else "false"
    sql = f"""
        WITH {judged_superseded()}
        SELECT events, blocking, closed, ids, ARRAY(
            SELECT {states.order_code("e.")} FROM unnest(ids) WITH ORDINALITY AS named (id, place)
            JOIN outbox AS e ON e.id = named.id ORDER BY place)
        FROM (
            SELECT count(*) AS events, count(*) FILTER (WHERE blocks) AS blocking,
                count(*) FILTER (WHERE closed) AS closed,
                (array_agg(id ORDER BY at, id COLLATE "C") FILTER (WHERE open))[1:{_MOST_NAMED}] AS ids
            FROM (
                SELECT *, NOT (blocks OR closed) AS open FROM (
                    SELECT o.id, o.at, o.blocks, NOT o.blocks AND {closed} AS closed FROM superseded AS o
                    OFFSET 0  -- keeps the planner from computing "closed" once per use
                ) AS each
            ) AS judged
        ) AS found
    """  # noqa: S608 - built from constants only
    events, blocking, number, ids, orders = connection.exec_driver_sql(sql, {"max_retries": max_retries}).one()
    return SupersededDead(events, blocking, number, tuple(ids or ()), tuple(orders))


def harmless(connection: Connection, max_retries: int) -> int:
    """Count the dead events whose payments are COMPLETED and that block no pending event of their payment.

    Return 0 if the role is not allowed to read the payments.
    """
    if not rights(connection).payments:
        return 0
    found = superseded(connection, max_retries, with_closings=False)
    return found.events - found.blocking


def find(connection: Connection, event_id: str, max_retries: int) -> NamedEvent | None:
    """Return the event with this id, or None if it is not in the outbox."""
    sql = f"""
        SELECT o.id, o."eventType", {states.name("o.")}, {states.dead("o.")} AND {SUPERSEDED},
            COALESCE(p."orderCode", {states.order_code("o.")}), o."aggregateId", o."lastError",
            o.id IN ({_closed("o.id = %(id)s")}),
            EXISTS (SELECT FROM outbox AS w WHERE {states.pending("w.")} AND w."aggregateId" = o."aggregateId"
                AND (w."createdAt", w.id COLLATE "C") > (o."createdAt", o.id COLLATE "C"))
        FROM outbox AS o LEFT JOIN payments AS p ON p.id = o."aggregateId" WHERE o.id = %(id)s
    """  # noqa: S608 - built from constants only
    row = connection.exec_driver_sql(sql, {"id": event_id, "max_retries": max_retries}).one_or_none()
    if row is None:
        return None
    found = NamedEvent(*row)
    return found._replace(blocks=found.blocks and cdc.slot(connection) is None)


def lock(connection: Connection, event_id: str) -> None:
    """Lock an event's row. Later statements see what the lock's previous holder has committed."""
    connection.exec_driver_sql("SELECT FROM outbox WHERE id = %(id)s FOR UPDATE", {"id": event_id})
