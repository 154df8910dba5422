"""Count dead events, and find the harmless dead events.

An event is harmless if no customer waits for it, and it blocks no other event. :class:`WhyNeedless` has the reasons.
A harmless event that a person has closed is not counted in warnings. An event of an unknown type counts as harmless
only if it is closed, because the search for the payment's success would read too many events.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.event import FAILURES
from ticketbottle_payctl.domain.why_needless import WhyNeedless
from ticketbottle_payctl.store.db.owner_time import NOW
from ticketbottle_payctl.store.db.privileges import may_read_all_of_ours, may_read_ours, may_read_payments
from ticketbottle_payctl.store.outbox import cdc, states
from ticketbottle_payctl.store.outbox.debezium_names import SLOT
from ticketbottle_payctl.store.outbox.needless_unknown import CLOSED_UNKNOWN, MAY_READ_SENT, needless_among
from ticketbottle_payctl.store.outbox.repeated import (
    BEFORE_PAYMENT,
    CLOSED_REPEATED,
    closed_as,
    given_repeated,
    is_sent_success,
    is_success,
    judged_repeated,
)
from ticketbottle_payctl.store.outbox.selector import SUPERSEDED, UNKNOWN_TYPE

_MOST_NAMED = 5

_CLOSED_SUPERSEDED = closed_as(f"'{WhyNeedless.SUPERSEDED}'")
_HAS_CLOSING = closed_as("i.reason")

BY_DEBEZIUM = f"""EXISTS (
    SELECT FROM pg_replication_slots WHERE slot_name = '{SLOT}' AND database = current_database())"""


class Rights(NamedTuple):
    """What the database role is allowed to read.

    ``payments`` stands for the payments' ids and statuses, which show whether an event is superseded. ``closings``
    stands for the records of closed events. ``receipts`` stands for the receipts and the payments' times of completion,
    which show whether a payment's success was sent. ``runs`` stands for whole rows of runs, which show when a replay
    requeued an event.
    """

    payments: bool
    closings: bool
    receipts: bool = False
    runs: bool = False


ALL_RIGHTS = Rights(payments=True, closings=True, receipts=True, runs=True)
"""The rights of a role that is allowed to read everything."""

NO_RIGHTS = Rights(payments=False, closings=False)
"""The rights of a role that is allowed to read only the events."""


def judged_superseded(which: str = "true", rights: Rights = ALL_RIGHTS, *, given: bool = False) -> str:
    """Return the WITH queries that find the dead events that no customer waits for.

    The last query, ``superseded``, has one row for each event, with the columns ``id``, ``at``, ``blocks``, ``why`` and
    ``closed``. ``why`` is a value of :class:`WhyNeedless`. ``closed`` is true if a person has closed the event for this
    reason. An event of an unknown type is found only if it is closed. ``blocks`` is true if a superseded event blocks a
    pending event of its payment. An event with another ``why`` is left out if it blocks a pending event. The pending
    events are read once, and only if an event is found. Each event is compared with the later events of its payment in
    one sort. If Debezium is the publisher, no event blocks another. ``which`` is an SQL condition that limits the
    events. If ``given`` is true, a parameter has the ids of the events that repeat a success.
    """
    found = given_repeated if given else partial(judged_repeated, which)
    again = found(with_closings=rights.closings)
    # The planner expects few dead events, and IS TRUE prevents a join with them. The planner also expects few elements
    # in an array, so it always uses a hash table.
    paid = SUPERSEDED if rights.payments else "false"
    known = rights.payments and rights.closings
    unknown = f"{UNKNOWN_TYPE} AND {CLOSED_UNKNOWN}" if known else "false"
    closed = f"{UNKNOWN_TYPE} OR {_CLOSED_SUPERSEDED}" if known else "false"
    return f"""
        {again},
        paid_later AS MATERIALIZED (
            SELECT o.id, o."aggregateId" AS key, o."createdAt" AS at, CASE WHEN {UNKNOWN_TYPE}
                THEN '{WhyNeedless.UNKNOWN_TYPE}' ELSE '{WhyNeedless.SUPERSEDED}' END AS why, {closed} AS closed
            FROM outbox AS o
            WHERE {which} AND {states.dead("o.")} AND ({paid} OR {unknown}) IS TRUE
            UNION ALL SELECT o.id, o.key, o.at, '{WhyNeedless.REPEATED}', o.closed FROM repeated AS o
        ), line AS MATERIALIZED (
            SELECT id, key, at, why, closed, false AS waits FROM paid_later
            UNION ALL SELECT w.id, w."aggregateId", w."createdAt", NULL, false, true FROM outbox AS w
            WHERE EXISTS (SELECT FROM paid_later) AND {states.pending("w.")}
                AND (w."aggregateId" IN (SELECT unnest(ARRAY(SELECT key FROM paid_later)))) IS TRUE
                AND NOT {BY_DEBEZIUM}
        ), superseded AS MATERIALIZED (
            SELECT id, at, blocks, why, closed FROM (
                SELECT *, bool_or(waits) OVER (PARTITION BY key ORDER BY at DESC, id COLLATE "C" DESC) AS blocks
                FROM line
            ) AS compared WHERE NOT (waits OR why <> '{WhyNeedless.SUPERSEDED}' AND blocks)
        )"""  # noqa: S608 - built from constants only


def closed_dead(which: str = "true") -> str:
    """Return the SQL query for the ids of the dead events that count as closed. All commands use this query.

    An event with a closing record counts as closed only while it is harmless. Otherwise a customer might be waiting.
    ``which`` is an SQL condition that limits the events.
    """
    queries = judged_superseded(f"{which} AND {_HAS_CLOSING}")
    return f"WITH {queries} SELECT id FROM superseded WHERE closed AND NOT blocks"  # noqa: S608 - constants only


CLOSED_DEAD = f"(o.id IN ({closed_dead()}))"
"""The SQL condition for dead events that count as closed."""

# A publisher's role may have no privilege on the payments table.
_RIGHTS = f"""SELECT {may_read_payments("id", "status")},
    {may_read_ours("run_items", "item_id", "outcome", "reason")}, {MAY_READ_SENT},
    {may_read_all_of_ours("run_items")}"""


class DeadCount(NamedTuple):
    """The number of dead events.

    ``failures`` counts the events that no paying customer waits for: events of type PAYMENT_FAILED or
    PAYMENT_CANCELLED, events that repeat a sent success, and closed events of an unknown type. ``closed`` counts the
    failures that count as closed. ``closings_known`` is False if the role is not allowed to read the payments or the
    closing records. Then no event counts as closed.
    """

    events: int
    failures: int
    closed: int = 0
    closings_known: bool = True


class SupersededDead(NamedTuple):
    """The number of dead events that are superseded, or that no customer waits for and that block no event.

    Events of an unknown type count only if they are closed. ``blocking`` counts the events that block a pending event
    of their payment. The others are harmless, and ``closed`` counts the harmless events that a person has closed.
    ``repeated`` counts the open harmless events that repeat a sent success. ``ids`` and ``orders`` are the ids and
    order codes of the five oldest open harmless events. ``repeats`` contains the ids of all events that repeat a sent
    success, even if they block another event. ``sent`` contains the payments of the events in ``repeats``, if the
    payment's success is published now.
    """

    events: int = 0
    blocking: int = 0
    closed: int = 0
    ids: Sequence[str] = ()
    orders: Sequence[str | None] = ()
    repeated: int = 0
    repeats: Sequence[str] = ()
    sent: Sequence[str] = ()


def count(connection: Connection, max_retries: int) -> DeadCount:
    """Count the dead events in the whole outbox."""
    sql = f"""
        SELECT count(*), count(*) FILTER (WHERE "eventType" = ANY(%(failures)s)) FROM outbox WHERE {states.dead()}
    """  # noqa: S608 - built from constants only
    values = {"max_retries": max_retries, "failures": list(FAILURES)}
    found = DeadCount(*connection.exec_driver_sql(sql, values).one())
    if not found.events:
        return found
    allowed = rights(connection)
    known = allowed.payments and allowed.closings
    closed = "closed" if known else "false"
    sql = f"""
        WITH {judged_superseded(rights=allowed)}
        SELECT (SELECT count(*) FROM repeated),
            count(*) FILTER (WHERE {closed}), count(*) FILTER (WHERE why = '{WhyNeedless.UNKNOWN_TYPE}' AND {closed})
        FROM superseded WHERE NOT blocks
    """  # noqa: S608 - built from constants only
    repeated, number, unknown = connection.exec_driver_sql(sql, values).one()
    return found._replace(failures=found.failures + repeated + unknown, closed=number, closings_known=known)


def closed_among(connection: Connection, ids: Sequence[str], max_retries: int) -> frozenset[str]:
    """Return the ids of the given events that count as closed.

    If the role is not allowed to read the closing records, no event counts as closed.
    """
    if not ids or not rights(connection).closings:
        return frozenset()
    values = {"ids": [*ids], "max_retries": max_retries}
    sql = closed_dead("o.id = ANY(%(ids)s)")
    return frozenset(connection.exec_driver_sql(sql, values).scalars())


def rights(connection: Connection) -> Rights:
    """Return what the database role is allowed to read. The function needs one statement."""
    return Rights(*connection.exec_driver_sql(_RIGHTS).one())


class NamedEvent(NamedTuple):
    """An event that a person wants to close.

    ``why_needless`` is the reason why no customer waits for the event, so that a person can close it. ``why_needless``
    is None if the event is not dead, or if a customer may wait. ``blocks`` is true if a pending event of its payment
    waits behind it. If Debezium is the publisher, events never wait for each other. ``only_successes_wait`` is true if
    all events behind it report a success. ``reason`` is the reason that a closing record has.
    """

    id: str
    event_type: str
    state: str
    why_needless: WhyNeedless | None
    order_code: str | None
    payment_id: str
    error: str | None
    closed: bool
    blocks: bool
    only_successes_wait: bool
    reason: str | None = None


def superseded(connection: Connection, max_retries: int, rights: Rights = ALL_RIGHTS) -> SupersededDead:
    """Find the dead events that no customer waits for. The role must have the given ``rights``.

    Without the right to read the closing records, no event counts as closed.
    """
    sql = f"""
        WITH {judged_superseded(rights=rights)}
        SELECT events, blocking, closed, repeated, ids, ARRAY(
            SELECT {states.order_code("e.")} FROM unnest(ids) WITH ORDINALITY AS named (id, place)
            JOIN outbox AS e ON e.id = named.id ORDER BY place),
            ARRAY(SELECT id FROM repeated), ARRAY(SELECT DISTINCT key FROM sent_key)
        FROM (
            SELECT count(*) AS events, count(*) FILTER (WHERE blocks) AS blocking,
                count(*) FILTER (WHERE closed AND NOT blocks) AS closed,
                count(*) FILTER (WHERE open AND why = '{WhyNeedless.REPEATED}') AS repeated,
                (array_agg(id ORDER BY at, id COLLATE "C") FILTER (WHERE open))[1:{_MOST_NAMED}] AS ids
            FROM (SELECT *, NOT (blocks OR closed) AS open FROM superseded) AS judged
        ) AS found
    """  # noqa: S608 - built from constants only
    row = connection.exec_driver_sql(sql, {"max_retries": max_retries}).one()
    events, blocking, number, again, ids, orders, repeats, sent = row
    return SupersededDead(events, blocking, number, tuple(ids or ()), tuple(orders), again, tuple(repeats), tuple(sent))


def harmless(connection: Connection, max_retries: int) -> int:
    """Count the harmless dead events.

    Return 0 if the role is not allowed to read the payments.
    """
    allowed = rights(connection)
    if not allowed.payments:
        return 0
    found = superseded(connection, max_retries, allowed)
    return found.events - found.blocking


def oldest_age(connection: Connection, max_retries: int) -> float | None:
    """Return the age in seconds of the oldest dead event that is not harmless, or None if all dead events are harmless.

    If the role is not allowed to read why an event is harmless, the event counts as not harmless.
    """
    sql = f"""
        WITH {judged_superseded(rights=rights(connection))}
        SELECT EXTRACT(epoch FROM {NOW} - min(o."createdAt"))::float8 FROM outbox AS o
        WHERE {states.dead("o.")} AND (o.id IN (
            SELECT unnest(ARRAY(SELECT id FROM superseded WHERE NOT blocks)))) IS NOT TRUE
    """  # noqa: S608 - built from constants only
    age: float | None = connection.exec_driver_sql(sql, {"max_retries": max_retries}).scalar_one()
    return None if age is None else max(0.0, age)


def find(connection: Connection, event_id: str, max_retries: int) -> NamedEvent | None:
    """Return the event with this id, or None if it is not in the outbox."""
    return next(iter(find_all(connection, [event_id], max_retries)), None)


def find_all(connection: Connection, ids: Sequence[str], max_retries: int) -> list[NamedEvent]:
    """Return the events with these ids, in any order. Leave out the ids that are not in the outbox."""
    if not ids:
        return []
    sql = f"""
        SELECT o.id, o."eventType", {states.name("o.")}, CASE
                WHEN NOT {states.dead("o.")} THEN NULL
                WHEN {SUPERSEDED} THEN '{WhyNeedless.SUPERSEDED}'
                WHEN {is_success("o.")} AND ({CLOSED_REPEATED} OR EXISTS (
                    SELECT FROM outbox AS e WHERE e."aggregateId" = o."aggregateId" AND e.published IN (true, false)
                    AND e."createdAt" >= COALESCE(p."createdAt" - %(before)s, '-infinity') AND {is_sent_success("e.")}))
                THEN '{WhyNeedless.REPEATED}' END,
            COALESCE(p."orderCode", {states.order_code("o.")}), o."aggregateId", o."lastError",
            o.id IN ({closed_dead("o.id = ANY(%(ids)s)")}), behind.some, behind.successes
        FROM outbox AS o LEFT JOIN payments AS p ON p.id = o."aggregateId" CROSS JOIN LATERAL (
            SELECT count(*) > 0 AS some, COALESCE(bool_and({is_success("w.")}), false) AS successes FROM outbox AS w
            WHERE {states.pending("w.")} AND w."aggregateId" = o."aggregateId"
                AND (w."createdAt", w.id COLLATE "C") > (o."createdAt", o.id COLLATE "C")
        ) AS behind WHERE o.id = ANY(%(ids)s)
    """  # noqa: S608 - built from constants only
    values = {"ids": [*ids], "max_retries": max_retries, "before": BEFORE_PAYMENT}
    found = [NamedEvent(*row) for row in connection.exec_driver_sql(sql, values)]
    needless, free = needless_among(connection, ids, max_retries), cdc.slot(connection) is not None
    return [
        each._replace(
            why_needless=WhyNeedless.UNKNOWN_TYPE
            if each.id in needless
            else each.why_needless and WhyNeedless(each.why_needless),
            reason=needless.get(each.id, each.why_needless),
            blocks=each.blocks and not free,
        )
        for each in found
    ]


def lock(connection: Connection, event_id: str) -> None:
    """Lock an event's row. Later statements see what the lock's previous holder has committed."""
    connection.exec_driver_sql("SELECT FROM outbox WHERE id = %(id)s FOR UPDATE", {"id": event_id})
