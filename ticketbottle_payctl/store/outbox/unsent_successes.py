"""Count the customers who wait for dead events, the dead success events, and the dead events of unknown types.

A customer also waits if the success event is pending behind a dead event of the payment. A dead event that repeats a
sent success is left out. An event of an unknown type may report a success under a wrong name. ``payctl show`` and
``payctl report`` read the order's other events to find out. The publisher does not, because the outbox has no index for
this search.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.event import FAILURES
from ticketbottle_payctl.store.outbox import dead, states
from ticketbottle_payctl.store.outbox.repeated import judged_repeated
from ticketbottle_payctl.store.outbox.selector import UNKNOWN_TYPE
from ticketbottle_payctl.store.outbox.stuck_orders import stuck_orders

_MOST_NAMED = 3


class UnsentSuccess(NamedTuple):
    """A dead event, with the order code in its payload."""

    id: str
    order_code: str | None


class UnsentSuccesses(NamedTuple):
    """The number of dead success events. ``oldest`` contains at most three of them.

    ``customers`` counts the payments whose success event is dead, or waits behind a dead event. Events that the caller
    left out also count here. ``behind`` counts the payments among them that have no dead success event. ``unknown``
    counts the dead events of an unknown type.
    """

    events: int = 0
    oldest: Sequence[UnsentSuccess] = ()
    customers: int = 0
    unknown: int = 0
    behind: int = 0


NONE_UNSENT = UnsentSuccesses()
"""The result if no customer waits for a dead event."""


def unsent_successes(
    connection: Connection, max_retries: int, without: Sequence[str], *, dead_blocks: bool = True
) -> UnsentSuccesses:
    """Return the dead success events except those whose ids are in ``without``, and count the unknown types.

    If ``dead_blocks`` is false, the publisher releases the events behind dead events, so their customers do not count.

    Events that repeat a sent success do not count. Closed events do not count either, if the role is allowed to read
    the payments and the closing records.
    """
    rights = dead.rights(connection)
    opened = f"NOT {dead.CLOSED_DEAD}" if rights.payments and rights.closings else "true"
    stuck = stuck_orders(
        "%(only_dead)s",
        "SELECT unnest(ARRAY(SELECT id FROM repeated))",
        "SELECT unnest(ARRAY(SELECT key FROM sent_key))",
    )
    sql = f"""
        WITH {judged_repeated(with_closings=rights.closings)}, {stuck}, other AS (
            SELECT o.id, o."createdAt" AS made, {UNKNOWN_TYPE} AS unknown,
                o.id <> ALL(%(without)s) AS apart
            FROM outbox AS o WHERE {states.dead("o.")} AND o."eventType" <> ALL(%(failures)s) AND {opened}
                AND (o.id IN (SELECT unnest(ARRAY(SELECT id FROM repeated)))) IS NOT TRUE
        ), found AS (
            SELECT count(*) FILTER (WHERE NOT unknown AND apart) AS events,
                count(*) FILTER (WHERE unknown) AS unknown,
                (array_agg(id ORDER BY made, id COLLATE "C")
                    FILTER (WHERE NOT unknown AND apart))[1:{_MOST_NAMED}] AS ids
            FROM other
        )
        SELECT events, (SELECT count(*) FROM stuck), unknown, (
                SELECT count(*) FROM stuck
                WHERE (key IN (SELECT unnest(ARRAY(SELECT key FROM dead WHERE success)))) IS NOT TRUE
            ), ids, ARRAY(
            SELECT {states.order_code("e.")} FROM unnest(ids) WITH ORDINALITY AS named (id, place)
            JOIN outbox AS e ON e.id = named.id ORDER BY place)
        FROM found
    """  # noqa: S608 - built from constants only
    values = {
        "max_retries": max_retries, "failures": list(FAILURES), "without": list(without), "only_dead": not dead_blocks
    }  # fmt: skip
    events, customers, unknown, behind, ids, orders = connection.exec_driver_sql(sql, values).one()
    return UnsentSuccesses(events, tuple(map(UnsentSuccess, ids or (), orders)), customers, unknown, behind)
