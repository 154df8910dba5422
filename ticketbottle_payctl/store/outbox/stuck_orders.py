"""Define the SQL that finds the orders whose success event is dead, or waits behind a dead event."""

from __future__ import annotations

from ticketbottle_payctl.store.outbox import states
from ticketbottle_payctl.store.outbox.repeated import is_success


def stuck_orders(only_dead: str, repeated: str, sent: str) -> str:
    """Return the WITH queries for the orders whose success event is dead or waits behind a dead event of the payment.

    The last query, ``stuck``, has one row for each order, with its key, and its oldest such event's id and time. The
    query ``judged`` has the dead events and the pending events of their payments. ``only_dead`` is an SQL condition. If
    ``only_dead`` is true, no event waits behind another event. ``repeated`` is an SQL query for the ids of the dead
    events that repeat a sent success, and ``sent`` is an SQL query for the payments whose success was sent.
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
            SELECT DISTINCT ON (key COLLATE "C") id, made, key FROM judged WHERE success AND (dead OR waits)
              AND (id IN ({repeated})) IS NOT TRUE AND (key IN ({sent})) IS NOT TRUE
            ORDER BY key COLLATE "C", made, id COLLATE "C"
        )"""  # noqa: S608 - built from constants only
