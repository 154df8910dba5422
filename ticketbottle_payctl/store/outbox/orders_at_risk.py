"""Find the paid orders that an event other than their success event leaves without a ticket.

There are two kinds. An order may have only a dead event of an unknown type, which may be meant as its success. Or a
failure event is still pending although the payment is COMPLETED and no success event waits behind the failure event.
A publisher that claims such a failure event sends it, because it never reads the payments. Then the order service
releases the tickets of a customer who has paid. No publisher claims the event while a dead event of its payment blocks
it, or while Debezium publishes the outbox.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ticketbottle_payctl.domain.causes import NO_LATE_FAILURES, LateFailures, PaidOrders
from ticketbottle_payctl.domain.event import RELEASING
from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import dead, states
from ticketbottle_payctl.store.outbox.dead import Rights
from ticketbottle_payctl.store.outbox.needless_unknown import CLOSED_UNKNOWN, near_success, receipt_of_success
from ticketbottle_payctl.store.outbox.repeated import is_success
from ticketbottle_payctl.store.outbox.selector import SUPERSEDED, UNKNOWN_TYPE

MOST_UNKNOWN = 50
"""The maximum number of events of unknown types to judge, oldest first. To judge one, payctl reads published events."""

MOST_FAILURES = 5_000
"""The maximum number of pending failure events whose payments are read, oldest first."""

_MOST_NAMED = 3
LONGEST = timedelta(seconds=30)
"""The longest time that each statement of a search takes."""


class OrdersAtRisk(NamedTuple):
    """The paid orders whose only event has an unknown type, and the pending failure events of paid orders."""

    unknown: PaidOrders
    late_failures: LateFailures


# OFFSET 0 keeps the events in order, so the search ends at the limit.
_UNKNOWN = f"""
    SELECT o.id, o."aggregateId" AS key, o."createdAt" AS made, p."completedAt" AS completed
    FROM (SELECT * FROM read WHERE dead ORDER BY "createdAt" OFFSET 0) AS o JOIN payments AS p ON p.id = o."aggregateId"
    WHERE p.status::text = 'COMPLETED' AND NOT {CLOSED_UNKNOWN}
    ORDER BY o."createdAt" LIMIT {MOST_UNKNOWN}
"""  # noqa: S608 - built from constants only
_NO_ROW = "SELECT NULL AS id, NULL AS key, NULL::timestamp AS made, NULL::timestamp AS completed WHERE false"


def late_failures(connection: Connection, max_retries: int) -> LateFailures:
    """Return the pending failure events of paid orders, or none if the role is not allowed to read the payments."""
    rights = dead.rights(connection)
    if not rights.payments:
        return NO_LATE_FAILURES
    # Without the right to read receipts, the search does not look for events of unknown types.
    return orders_at_risk(connection, max_retries, rights._replace(receipts=False)).late_failures


def known_late_failures(engine: Engine, max_retries: int, limit: timedelta = LONGEST) -> LateFailures | None:
    """Return the pending failure events of paid orders, or None if they cannot be read.

    There are two statements. Each of them, and each lock wait, takes at most ``limit``. If the role is not allowed to
    read the payments, the result has no failure events.
    """
    limits = Limits(statement=limit, lock=min(limit, Limits().lock), index_only_plan=True)
    try:
        with transaction(engine, limits, commit=False) as connection:
            return late_failures(connection, max_retries)
    except (PayctlError, DBAPIError):  # the search only warns, so no error of the payments stops the caller
        return None


def orders_at_risk(connection: Connection, max_retries: int, rights: Rights) -> OrdersAtRisk:
    """Return the paid orders at risk. The role must be allowed to read the payments' ids and statuses.

    Without the other ``rights``, no event of an unknown type is judged.
    """
    judges = rights.closings and rights.receipts
    sent = f"{receipt_of_success('o.key')} OR o.key IN ({near_success('o.completed', 'o.made')})" if judges else "true"
    odd = UNKNOWN_TYPE if judges else "false"
    # The unpublished events are read once for both kinds. The planner expects few elements in an array, so it always
    # uses a hash table.
    sql = f"""
        WITH read AS MATERIALIZED (
            SELECT * FROM (
                SELECT o.id, o."aggregateId", o."createdAt", o."eventType", NOT {states.has_retries("o.")} AS dead,
                    count(*) FILTER (WHERE {states.has_retries("o.")}) OVER (
                        ORDER BY o."createdAt" ROWS UNBOUNDED PRECEDING) AS failures
                FROM outbox AS o WHERE {states.unpublished("o.")}
                    AND CASE WHEN {states.has_retries("o.")} THEN o."eventType" = %(releasing)s ELSE {odd} END
            ) AS counted WHERE dead OR failures <= {MOST_FAILURES}
        ), odd AS MATERIALIZED ({_UNKNOWN if judges else _NO_ROW}), failure AS MATERIALIZED (
            SELECT o.id, o."aggregateId" AS key, o."createdAt" AS made FROM read AS o WHERE NOT o.dead AND {SUPERSEDED}
        ), candidate AS MATERIALIZED (
            SELECT key FROM odd UNION SELECT key FROM failure
        ), success AS MATERIALIZED (
            SELECT u."aggregateId" AS key, u."createdAt" AS made, u.id, {states.unpublished("u.")} AS waits
            FROM outbox AS u
            WHERE EXISTS (SELECT FROM candidate) AND u.published = false AND {is_success("u.")}
                AND (u."aggregateId" IN (SELECT unnest(ARRAY(SELECT key FROM candidate)))) IS TRUE
        ), unknown AS MATERIALIZED (
            SELECT DISTINCT ON (o.key COLLATE "C") o.id, o.made FROM odd AS o
            WHERE NOT EXISTS (SELECT FROM success AS s WHERE s.key = o.key) AND NOT ({sent})
            ORDER BY o.key COLLATE "C", o.made, o.id COLLATE "C"
        ), late AS MATERIALIZED (
            SELECT f.id, f.key, f.made FROM failure AS f WHERE NOT EXISTS (
                SELECT FROM success AS s WHERE s.waits AND s.key = f.key
                    AND (s.made, s.id COLLATE "C") > (f.made, f.id COLLATE "C"))
        )
        SELECT (SELECT count(*) FROM unknown), ARRAY(
            SELECT COALESCE((SELECT {states.order_code("e.")} FROM outbox AS e WHERE e.id = named.id), named.id)
            FROM (SELECT id, made FROM unknown ORDER BY made, id COLLATE "C" LIMIT {_MOST_NAMED}) AS named
            ORDER BY named.made, named.id COLLATE "C"),
            (SELECT count(*) FROM late), oldest.id,
            (SELECT {states.order_code("e.")} FROM outbox AS e WHERE e.id = oldest.id), oldest.blocked
        FROM (SELECT 1) AS one LEFT JOIN (
            SELECT f.id, EXISTS (
                SELECT FROM outbox AS d WHERE {states.dead("d.")} AND d."aggregateId" = f.key
                    AND (d."createdAt", d.id COLLATE "C") < (f.made, f.id COLLATE "C")) AS blocked
            FROM late AS f ORDER BY f.made, f.id COLLATE "C" LIMIT 1) AS oldest ON true
    """  # noqa: S608 - built from constants only
    values = {"max_retries": max_retries, "releasing": RELEASING}
    number, oldest, late, *event = connection.exec_driver_sql(sql, values).one()
    failures = LateFailures(late, *event) if late else NO_LATE_FAILURES
    return OrdersAtRisk(PaidOrders(number, tuple(oldest), unknown=number), failures)
