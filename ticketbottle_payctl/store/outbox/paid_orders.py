"""Find the paid orders whose tickets wait because of a dead event."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from ticketbottle_payctl.domain.causes import PaidOrders
from ticketbottle_payctl.store.outbox import republished, states
from ticketbottle_payctl.store.outbox.repeated import GIVEN

_MOST_NAMED = 3


def behind_dead(
    connection: Connection, max_retries: int, repeated: Sequence[str] = (), *, with_runs: bool, by_debezium: bool
) -> PaidOrders:
    """Return the orders whose PAYMENT_COMPLETED event is dead or waits behind a dead event of the payment.

    An order whose success was already sent does not wait. ``payctl report`` lists these orders too. ``repeated``
    contains the ids of the dead events that repeat a sent success. Without ``with_runs``, the role does not need
    privileges on the records of replays. With ``by_debezium``, no event waits behind another.
    """
    unsent = f"NOT {republished.was_sent_before('stuck_event.id')}" if with_runs else "true"
    # The planner expects few dead events, so it would join them in a nested loop. It expects few elements in an array,
    # so it always uses a hash table. Each event is then compared with the earlier events of its payment in one sort.
    sql = f"""
        WITH {GIVEN}, dead AS MATERIALIZED (
            SELECT id, "aggregateId" AS key, "createdAt" AS made, "eventType" = 'PAYMENT_COMPLETED' AS success
            FROM outbox WHERE {states.dead()}
        ), line AS MATERIALIZED (
            SELECT id, key, made, success, true AS dead FROM dead
            UNION ALL SELECT id, "aggregateId", "createdAt", true, false FROM outbox
            WHERE NOT %(by_debezium)s AND {states.pending()} AND "eventType" = 'PAYMENT_COMPLETED'
              AND ("aggregateId" IN (SELECT unnest(ARRAY(SELECT key FROM dead)))) IS TRUE
        ), stuck AS MATERIALIZED (
            SELECT DISTINCT ON (key COLLATE "C") id, made FROM (
                SELECT *, bool_or(dead) OVER (PARTITION BY key COLLATE "C" ORDER BY made, id COLLATE "C") AS waits
                FROM line
            ) AS stuck_event WHERE success AND (dead OR waits) AND {unsent}
              AND (key IN (SELECT unnest(ARRAY(SELECT key FROM repeated)))) IS NOT TRUE
            ORDER BY key COLLATE "C", made, id COLLATE "C"
        )
        SELECT count(*), ARRAY(
            SELECT COALESCE((SELECT {states.order_code("e.")} FROM outbox AS e WHERE e.id = named.id), named.id)
            FROM (SELECT id, made FROM stuck ORDER BY made, id COLLATE "C" LIMIT {_MOST_NAMED}) AS named
            ORDER BY named.made, named.id COLLATE "C")
        FROM stuck
    """  # noqa: S608 - built from constants only
    values = {"max_retries": max_retries, "by_debezium": by_debezium, "repeated": list(repeated)}
    number, oldest = connection.exec_driver_sql(sql, values).one()
    return PaidOrders(number, tuple(oldest))
