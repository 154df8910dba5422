"""Find the dead success events that repeat a success which was already sent.

Such an event is harmless, because the order service has received the payment's success. Another event may have reported
it, or the event itself before a replay. The outbox has no index on the payment. Therefore payctl looks for the other
event among the published events that were created just before and just after the dead event. Two success events of one
payment were usually written at the same time. A person can close an event whose twin was created at another time.
"""

from __future__ import annotations

from ticketbottle_payctl.store.outbox import republished, states

MOST_ASKED = 50
"""The maximum number of dead success events, oldest first, for which published events are read."""

MOST_READ = 100
"""The maximum number of published events to read on each side of a dead event."""


def _recorded(event_id: str, condition: str) -> str:
    return f"EXISTS (SELECT FROM payctl.run_items AS i WHERE i.item_id = {event_id} AND ({condition}))"


HAS_CLOSING = """EXISTS (
    SELECT FROM payctl.run_items AS i WHERE i.item_id = o.id AND i.outcome = 'closed')"""
"""The SQL condition for an event ``o`` that a person has closed. ``store.payctl.runs`` defines this outcome."""


GIVEN = """
        repeated AS MATERIALIZED (
            SELECT o.id, o."aggregateId" AS key, o."createdAt" AS at FROM outbox AS o WHERE o.id = ANY(%(repeated)s)
        )"""
"""The query ``repeated`` for the ids in the statement's parameter, which an earlier statement has found."""


def is_success(row: str = "") -> str:
    """Return the SQL condition for an event that reports a success."""
    return f"""{row}"eventType" = 'PAYMENT_COMPLETED'"""


def was_sent(row: str) -> str:
    """Return the SQL condition for a success event that was sent, even if a replay has requeued it since.

    A closed success event counts as sent, because payctl has checked the payment before it recorded the closing.
    """
    recorded = _recorded(f"{row}id", f"i.outcome = 'closed' OR {republished.IS_REPUBLISHED}")
    return f"({is_success(row)} AND ({states.published(row)} OR {recorded}))"


def repeats() -> str:
    """Return the SQL condition for a dead event ``o`` of one payment that repeats a sent success.

    The statement must read all events of the payment as ``o``, and no others.
    """
    sent = f"COALESCE(bool_or({was_sent('o.')}) OVER (), false)"
    return f"({states.dead('o.')} AND {is_success('o.')} AND {sent})"


def judged_repeated(which: str = "true", *, with_closings: bool, with_runs: bool) -> str:
    """Return the WITH queries that find the dead success events that repeat a sent success.

    If an earlier statement of the transaction has found them, use :data:`GIVEN` instead. The last query, ``repeated``,
    has the columns ``id``, ``key`` and ``at``. ``which`` is an SQL condition that limits the events. A closing is
    enough, because payctl has checked the payment before it recorded the closing. Without ``with_closings`` or
    ``with_runs``, the role does not need privileges on the closing records or of replays.
    """
    conditions = [
        *(["i.outcome = 'closed'"] if with_closings else []),
        *([republished.IS_REPUBLISHED] if with_runs else []),
    ]
    recorded = _recorded("o.id", " OR ".join(conditions)) if conditions else "false"
    before = f"OR {republished.was_sent_before('u.id')}" if with_runs else ""
    # The planner expects few elements in an array, so it always uses a hash table.
    return f"""
        dead_success AS MATERIALIZED (
            SELECT o.id, o."aggregateId" AS key, o."createdAt" AS at, {recorded} AS known FROM outbox AS o
            WHERE {which} AND {states.dead("o.")} AND {is_success("o.")}
        ), sent_key AS MATERIALIZED (
            SELECT key FROM dead_success WHERE known
            UNION ALL SELECT u."aggregateId" FROM outbox AS u
            WHERE EXISTS (SELECT FROM dead_success WHERE NOT known) AND u.published = false AND {is_success("u.")}
                AND (u."publishedAt" IS NOT NULL OR {states.has_retries("u.")})
                AND (u."aggregateId" IN (SELECT unnest(ARRAY(SELECT key FROM dead_success WHERE NOT known)))) IS TRUE
                AND (u."publishedAt" IS NOT NULL {before})
        ), judged AS MATERIALIZED (
            SELECT id, key, at, key IN (SELECT unnest(ARRAY(SELECT key FROM sent_key))) AS known FROM dead_success
        ), asked AS MATERIALIZED (
            SELECT id, key, at, date_trunc('second', at) AS second FROM judged
            WHERE NOT known ORDER BY at, id COLLATE "C" LIMIT {MOST_ASKED}
        ), near_key AS MATERIALIZED (
            SELECT unnest({_near(">=", "ASC")} || {_near("<", "DESC")}) AS key
            FROM (SELECT min(at) AS at FROM asked GROUP BY second) AS burst
        ), repeated AS MATERIALIZED (
            SELECT id, key, at FROM judged WHERE known
            UNION ALL SELECT id, key, at FROM asked WHERE key IN (SELECT unnest(ARRAY(SELECT key FROM near_key)))
        )"""  # noqa: S608 - built from constants only


def _near(side: str, direction: str) -> str:
    """Return the SQL array of the payments whose success events were published on this side of a burst's first event.

    The dead events of one second are a burst, for which the published events are read once.
    """
    return f"""ARRAY(
                SELECT near."aggregateId" FROM (
                    SELECT e."aggregateId", e."eventType" FROM outbox AS e
                    WHERE e.published = true AND e."createdAt" {side} burst.at
                    ORDER BY e."createdAt" {direction} LIMIT {MOST_READ}
                ) AS near WHERE {is_success("near.")})"""  # noqa: S608 - built from constants only
