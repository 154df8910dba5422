"""Find the paid orders whose tickets wait because of a dead event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.causes import PaidOrders
from ticketbottle_payctl.store.outbox import states
from ticketbottle_payctl.store.outbox.repeated import is_success

MOST_NAMED = 3


class BehindDead(NamedTuple):
    """The number of pending events behind dead events of their payments, and the paid orders that wait."""

    events: int
    paid_orders: PaidOrders


def behind_dead(
    connection: Connection,
    max_retries: int,
    repeated: Sequence[str] = (),
    sent: Sequence[str] = (),
    *,
    by_debezium: bool,
) -> BehindDead:
    """Return the orders whose PAYMENT_COMPLETED event is dead or waits behind a dead event of the payment.

    An order whose success was already sent does not wait. ``payctl report`` lists these orders too. ``repeated``
    contains the ids of the dead events that repeat a sent success. ``sent`` contains the payments of these events, if
    the payment's success is published now. With ``by_debezium``, no event waits behind another. The same statement
    counts all pending events behind dead events, so the pending events are read once.
    """
    stuck = stuck_orders("%(by_debezium)s", "SELECT unnest(%(repeated)s::text[])", "SELECT unnest(%(sent)s::text[])")
    sql = f"""
        WITH {stuck}
        SELECT (SELECT count(*) FROM judged WHERE waits AND NOT dead), count(*), ARRAY(
            SELECT COALESCE((SELECT {states.order_code("e.")} FROM outbox AS e WHERE e.id = named.id), named.id)
            FROM (SELECT id, made FROM stuck ORDER BY made, id COLLATE "C" LIMIT {MOST_NAMED}) AS named
            ORDER BY named.made, named.id COLLATE "C")
        FROM stuck
    """  # noqa: S608 - built from constants only
    values = {"max_retries": max_retries, "by_debezium": by_debezium, "repeated": list(repeated), "sent": list(sent)}
    events, number, oldest = connection.exec_driver_sql(sql, values).one()
    return BehindDead(events, PaidOrders(number, tuple(oldest)))


def stuck_orders(only_dead: str, repeated: str, sent: str) -> str:
    """Return the WITH queries for the orders whose success event is dead or waits behind a dead event of the payment.

    The last query, ``stuck``, has one row for each order, with the id and the creation time of its oldest such event.
    The query ``judged`` has the dead events and the pending events of their payments. ``only_dead`` is an SQL
    condition. If it is true, no event waits behind another. ``repeated`` is an SQL query for the ids of the dead events
    that repeat a sent success, and ``sent`` one for the payments whose success was sent.
    """
    # The planner expects few dead events, so it would join them in a nested loop. The planner expects few elements in
    # an array, so it always uses a hash table. Each event is then compared with the earlier events of its payment in
    # one sort.
    return f"""
        dead AS MATERIALIZED (
            SELECT id, "aggregateId" AS key, "createdAt" AS made, {is_success()} AS success
            FROM outbox WHERE {states.dead()}
        ), line AS MATERIALIZED (
            SELECT id, key, made, success, true AS dead FROM dead
            UNION ALL SELECT id, "aggregateId", "createdAt", {is_success()}, false FROM outbox
            WHERE NOT {only_dead} AND {states.pending()}
              AND ("aggregateId" IN (SELECT unnest(ARRAY(SELECT key FROM dead)))) IS TRUE
        ), judged AS MATERIALIZED (
            SELECT *, bool_or(dead) OVER (PARTITION BY key COLLATE "C" ORDER BY made, id COLLATE "C") AS waits FROM line
        ), stuck AS MATERIALIZED (
            SELECT DISTINCT ON (key COLLATE "C") id, made FROM judged WHERE success AND (dead OR waits)
              AND (id IN ({repeated})) IS NOT TRUE AND (key IN ({sent})) IS NOT TRUE
            ORDER BY key COLLATE "C", made, id COLLATE "C"
        )"""  # noqa: S608 - built from constants only
