"""Find the dead events that a paying customer may be waiting for, and the other dead events of unknown types.

A customer waits for a dead success event. A dead event of an unknown type may report a success under a wrong name.
Therefore a customer also waits for such an event if the payment is COMPLETED and none of its success events is
published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.event import FAILURES
from ticketbottle_payctl.store.outbox import dead, states
from ticketbottle_payctl.store.outbox.selector import UNKNOWN_TYPE

_MOST_NAMED = 3

# Most runs find no paid order with such an event, and then read no published row. Otherwise they read the published
# rows once, because "aggregateId" has no index. IS TRUE makes the planner use a hash table.
_PAID_WITHOUT_SUCCESS = f"""
    paid AS MATERIALIZED (
        SELECT p.id FROM payments AS p
        WHERE p.id IN (SELECT key FROM other WHERE unknown) AND p.status::text = 'COMPLETED'
    ), without_success AS MATERIALIZED (
        SELECT id FROM paid EXCEPT SELECT s."aggregateId" FROM outbox AS s
        WHERE EXISTS (SELECT FROM paid) AND {states.published("s.")} AND s."eventType" = 'PAYMENT_COMPLETED'
            AND (s."aggregateId" IN (SELECT id FROM paid)) IS TRUE
    ),"""  # noqa: S608 - built from constants only


class UnsentSuccess(NamedTuple):
    """A dead event, with the order code in its payload."""

    id: str
    order_code: str | None


class UnsentSuccesses(NamedTuple):
    """The number of dead events that a customer may be waiting for. ``oldest`` contains at most three of them.

    ``customers`` counts the payments of these events and of the events that were left out. ``unknown`` counts the other
    dead events of an unknown type.
    """

    events: int = 0
    oldest: Sequence[UnsentSuccess] = ()
    customers: int = 0
    unknown: int = 0


NONE_UNSENT = UnsentSuccesses()
"""The result if there are no dead events, or if they all report failed payments."""


def unsent_successes(connection: Connection, max_retries: int, without: Sequence[str]) -> UnsentSuccesses:
    """Return the dead events that a paying customer may be waiting for, except those whose ids are in ``without``.

    If the role is not allowed to read the payments, no customer counts as waiting for an event of an unknown type.
    """
    readable = dead.rights(connection).payments
    sql = f"""
        WITH other AS MATERIALIZED (
            SELECT o.id, o."aggregateId" AS key, o."createdAt" AS made, {UNKNOWN_TYPE} AS unknown,
                o.id <> ALL(%(without)s) AS apart
            FROM outbox AS o WHERE {states.dead("o.")} AND o."eventType" <> ALL(%(failures)s)
        ), {_PAID_WITHOUT_SUCCESS if readable else ""} judged AS MATERIALIZED (
            SELECT *, NOT unknown {"OR key IN (SELECT id FROM without_success)" if readable else ""} AS waits FROM other
        ), found AS (
            SELECT count(*) FILTER (WHERE waits AND apart) AS events,
                count(DISTINCT key) FILTER (WHERE waits) AS payments,
                count(*) FILTER (WHERE apart AND NOT waits) AS unknown,
                (array_agg(id ORDER BY made, id COLLATE "C") FILTER (WHERE waits AND apart))[1:{_MOST_NAMED}] AS ids
            FROM judged
        )
        SELECT events, payments, unknown, ids, ARRAY(
            SELECT {states.order_code("e.")} FROM unnest(ids) WITH ORDINALITY AS named (id, place)
            JOIN outbox AS e ON e.id = named.id ORDER BY place)
        FROM found
    """  # noqa: S608 - built from constants only
    values = {"max_retries": max_retries, "failures": list(FAILURES), "without": list(without)}
    events, customers, unknown, ids, orders = connection.exec_driver_sql(sql, values).one()
    return UnsentSuccesses(events, tuple(map(UnsentSuccess, ids or (), orders)), customers, unknown)
