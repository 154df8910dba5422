"""Find the paid orders whose tickets wait because of a dead event."""

from __future__ import annotations

from sqlalchemy import Connection

from ticketbottle_payctl.domain.causes import PaidOrders
from ticketbottle_payctl.store.outbox import states

_MOST_NAMED = 3


def behind_dead(connection: Connection, max_retries: int, *, by_debezium: bool) -> PaidOrders:
    """Return the orders whose PAYMENT_COMPLETED event is dead or waits behind a dead event of the payment.

    ``payctl report`` lists these orders too. With ``by_debezium``, no event waits behind another.
    """
    sql = f"""
        WITH dead AS MATERIALIZED (
            SELECT DISTINCT ON ("aggregateId") "aggregateId" AS key, "createdAt" AS made, id
            FROM outbox WHERE {states.dead()} ORDER BY "aggregateId", "createdAt", id COLLATE "C"
        ), stuck AS MATERIALIZED (
            SELECT DISTINCT ON (d.key) o.id, o."createdAt" AS made FROM dead AS d
            JOIN outbox AS o ON o."aggregateId" = d.key
            WHERE {states.unpublished("o.")} AND o."eventType" = 'PAYMENT_COMPLETED'
              AND (NOT {states.has_retries("o.")}
                OR (NOT %(by_debezium)s AND (d.made, d.id COLLATE "C") < (o."createdAt", o.id COLLATE "C")))
            ORDER BY d.key, o."createdAt", o.id COLLATE "C"
        )
        SELECT count(*), ARRAY(
            SELECT COALESCE((SELECT {states.order_code("e.")} FROM outbox AS e WHERE e.id = named.id), named.id)
            FROM (SELECT id, made FROM stuck ORDER BY made, id COLLATE "C" LIMIT {_MOST_NAMED}) AS named
            ORDER BY named.made, named.id COLLATE "C")
        FROM stuck
    """  # noqa: S608 - built from constants only
    number, oldest = connection.exec_driver_sql(sql, {"max_retries": max_retries, "by_debezium": by_debezium}).one()
    return PaidOrders(number, tuple(oldest))
