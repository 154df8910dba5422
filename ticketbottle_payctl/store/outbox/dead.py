"""Count dead events, and find the superseded ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.event import FAILURES
from ticketbottle_payctl.store.outbox import states
from ticketbottle_payctl.store.outbox.selector import SUPERSEDED

_MOST_NAMED = 5


class DeadCount(NamedTuple):
    """The number of dead events. ``failures`` counts those of type PAYMENT_FAILED or PAYMENT_CANCELLED."""

    events: int
    failures: int


class SupersededDead(NamedTuple):
    """The number of superseded dead events, with the ids and order codes of the five oldest ones."""

    events: int = 0
    ids: Sequence[str] = ()
    orders: Sequence[str | None] = ()


def count(connection: Connection, max_retries: int) -> DeadCount:
    """Count the dead events in the whole outbox. The role needs no privilege on the ``payments`` table."""
    sql = f"""
        SELECT count(*), count(*) FILTER (WHERE "eventType" = ANY(%(failures)s)) FROM outbox WHERE {states.dead()}
    """  # noqa: S608 - built from constants only
    row = connection.exec_driver_sql(sql, {"max_retries": max_retries, "failures": list(FAILURES)}).one()
    return DeadCount(*row)


def superseded(connection: Connection, max_retries: int) -> SupersededDead:
    """Find the superseded dead events. The role must be allowed to read the payments' ids and statuses."""
    sql = f"""
        SELECT events, ids, ARRAY(
            SELECT {states.order_code("e.")} FROM unnest(ids) WITH ORDINALITY AS named (id, place)
            JOIN outbox AS e ON e.id = named.id ORDER BY place)
        FROM (
            SELECT count(*) AS events,
                (array_agg(o.id ORDER BY o."createdAt", o.id COLLATE "C"))[1:{_MOST_NAMED}] AS ids
            FROM outbox AS o WHERE {states.dead("o.")} AND {SUPERSEDED}
        ) AS found
    """  # noqa: S608 - built from constants only
    events, ids, orders = connection.exec_driver_sql(sql, {"max_retries": max_retries}).one()
    return SupersededDead(events, tuple(ids or ()), tuple(orders))
