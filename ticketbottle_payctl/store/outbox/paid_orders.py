"""Find the paid orders whose tickets wait because of a dead event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.causes import PaidOrders
from ticketbottle_payctl.store.outbox import states
from ticketbottle_payctl.store.outbox.stuck_orders import stuck_orders

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
