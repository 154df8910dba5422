"""Find the dead success events that repeat a success which was already sent.

Such an event is harmless if another success event of the payment is published now. The event is also harmless if a
person has closed it as repeated, because payctl has checked the payment before it recorded the closing. It is not
enough that the dead event itself was sent before a replay, because operators replay events that were lost. The outbox
has no index on the payment. Therefore payctl looks for the other event among the published events that were created
just before and just after the dead event. Two success events of one payment were usually written at the same time. A
person can close an event whose twin was created at another time.
"""

from __future__ import annotations

from datetime import timedelta

from ticketbottle_payctl.domain.why_needless import WhyNeedless
from ticketbottle_payctl.store.outbox import states

MOST_ASKED = 50
"""The maximum number of dead success events, oldest first, for which published events are read."""

MOST_READ = 100
"""The maximum number of published events to read before a dead event, and the maximum number to read after it."""

BEFORE_PAYMENT = timedelta(days=1)
"""A search for a payment's events begins this long before the payment's creation time.

The creation times of the payment and of its events may be in different time zones.
"""


def closed_as(reason: str) -> str:
    """Return the SQL condition for an event ``o`` that a person has closed for ``reason`` (an SQL expression).

    ``store.payctl.runs`` defines the outcome.
    """
    return f"""EXISTS (
    SELECT FROM payctl.run_items AS i WHERE i.item_id = o.id AND i.outcome = 'closed' AND i.reason = {reason})"""


CLOSED_REPEATED = closed_as(f"'{WhyNeedless.REPEATED}'")
"""The SQL condition for an event ``o`` that a person has closed as repeated."""


def given_repeated(*, with_closings: bool) -> str:
    """Return the query ``repeated`` for the ids in the statement's parameter, which an earlier statement has found."""
    closed = CLOSED_REPEATED if with_closings else "false"
    return f"""
        repeated AS MATERIALIZED (
            SELECT o.id, o."aggregateId" AS key, o."createdAt" AS at, {closed} AS closed
            FROM outbox AS o WHERE o.id = ANY(%(repeated)s)
        )"""  # noqa: S608 - built from constants only


def is_success(row: str = "") -> str:
    """Return the SQL condition for an event that reports a success."""
    return f"""{row}"eventType" = 'PAYMENT_COMPLETED'"""


def is_sent_success(row: str = "") -> str:
    """Return the SQL condition for a success event that is published now."""
    return f"({is_success(row)} AND {states.published(row)})"


def repeats() -> str:
    """Return the SQL condition for a dead event ``o`` of one payment that repeats a sent success.

    The statement must read all events of the payment as ``o``, and no others.
    """
    sent = f"COALESCE(bool_or({is_sent_success('o.')}) OVER (), false)"
    return f"({states.dead('o.')} AND {is_success('o.')} AND ({sent} OR {CLOSED_REPEATED}))"


def judged_repeated(which: str = "true", *, with_closings: bool) -> str:
    """Return the WITH queries that find the dead success events that repeat a sent success.

    If an earlier statement of the transaction has found them, use :func:`given_repeated` instead. The last query,
    ``repeated``, has the columns ``id``, ``key``, ``at`` and ``closed``. The query ``sent_key`` has the payments of
    these events, if the payment's success is published now. ``which`` is an SQL condition that limits the events.
    Without ``with_closings``, the role does not need privileges on the closing records.
    """
    closed = CLOSED_REPEATED if with_closings else "false"
    # The planner expects few elements in an array, so it always uses a hash table.
    return f"""
        dead_success AS MATERIALIZED (
            SELECT o.id, o."aggregateId" AS key, o."createdAt" AS at, {closed} AS closed FROM outbox AS o
            WHERE {which} AND {states.dead("o.")} AND {is_success("o.")}
        ), half_marked_key AS MATERIALIZED (
            SELECT u."aggregateId" AS key FROM outbox AS u
            WHERE EXISTS (SELECT FROM dead_success) AND {states.half_marked("u.")} AND {is_success("u.")}
                AND (u."aggregateId" IN (SELECT unnest(ARRAY(SELECT key FROM dead_success)))) IS TRUE
        ), asked AS MATERIALIZED (
            SELECT at, date_trunc('second', at) AS second FROM dead_success
            WHERE (key IN (SELECT unnest(ARRAY(SELECT key FROM half_marked_key)))) IS NOT TRUE
            ORDER BY closed, at, id COLLATE "C" LIMIT {MOST_ASKED}
        ), sent_key AS MATERIALIZED (
            SELECT key FROM half_marked_key
            UNION ALL SELECT near.key FROM (
                SELECT unnest({_near(">=", "ASC")} || {_near("<", "DESC")}) AS key
                FROM (SELECT min(at) AS at FROM asked GROUP BY second) AS burst
            ) AS near WHERE (near.key IN (SELECT unnest(ARRAY(SELECT key FROM dead_success)))) IS TRUE
        ), repeated AS MATERIALIZED (
            SELECT id, key, at, closed FROM dead_success
            WHERE closed OR (key IN (SELECT unnest(ARRAY(SELECT key FROM sent_key)))) IS TRUE
        )"""  # noqa: S608 - built from constants only


def _near(side: str, direction: str) -> str:
    """Return the SQL array of the payments with a published success on one side of the first event of a burst.

    The dead events of one second are a burst, for which the published events are read once.
    """
    return f"ARRAY({published_near('burst.at', side, direction)})"


def published_near(at: str, side: str, direction: str) -> str:
    """Return the SQL query for the payments with a published success close to this instant, before or after it."""
    return f"""
                SELECT near."aggregateId" FROM (
                    SELECT e."aggregateId", e."eventType" FROM outbox AS e
                    WHERE e.published = true AND e."createdAt" {side} {at}
                    ORDER BY e."createdAt" {direction} LIMIT {MOST_READ}
                ) AS near WHERE {is_success("near.")}"""  # noqa: S608 - built from constants only
