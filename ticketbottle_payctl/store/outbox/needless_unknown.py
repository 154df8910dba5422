"""Find out whether a dead event of an unknown type may leave a customer without a ticket.

payctl cannot know what such an event says. But the customer has the ticket, or needs none, if the payment's success was
sent or the payment is not COMPLETED.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.privileges import may_read_ours, may_read_payments
from ticketbottle_payctl.store.outbox import states
from ticketbottle_payctl.store.outbox.repeated import is_success, was_sent
from ticketbottle_payctl.store.outbox.selector import UNKNOWN_TYPE

# An event is written after its payment was created. The extra day covers instants in another time zone. With this bound
# and both values of "published", the search for the success uses the index.
_BEFORE_PAYMENT = timedelta(days=1)
_OF_PAYMENT = f"""e."aggregateId" = p.id AND e.published IN (true, false)
    AND e."createdAt" >= p."createdAt" - %(before)s AND {is_success("e.")}"""
# A cleanup deletes only events that were sent. So if the event of a receipt is missing, it was sent.
_WAS_CLEANED_UP = """EXISTS (
    SELECT FROM payctl.webhook_receipts AS r
    WHERE r.payment_id = p.id AND r.outcome = 'COMPLETED' AND r.event_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM outbox AS w WHERE w.id = r.event_id))"""
_NEEDLESS = f"""
    SELECT o.id FROM outbox AS o JOIN payments AS p ON p.id = o."aggregateId"
    WHERE o.id = ANY(%(ids)s) AND {states.dead("o.")} AND {UNKNOWN_TYPE} AND (
        p.status::text IN ('PENDING', 'FAILED', 'CANCELLED')
        OR p.status::text = 'COMPLETED' AND (
            EXISTS (SELECT FROM outbox AS e WHERE {_OF_PAYMENT} AND {was_sent("e.")})
            OR {_WAS_CLEANED_UP} AND NOT EXISTS (SELECT FROM outbox AS e WHERE {_OF_PAYMENT})))
"""  # noqa: S608 - built from constants only
_MAY_READ = f"""SELECT {may_read_payments("id", "status", "createdAt")}
    AND {may_read_ours("webhook_receipts", "payment_id", "outcome", "event_id")}
    AND {may_read_ours("run_items", "item_id", "outcome", "before")}"""


def needless_among(connection: Connection, ids: Sequence[str], max_retries: int) -> frozenset[str]:
    """Return the ids of those of the given events that are dead, have an unknown type and that no customer waits for.

    An event without a payment in the database is not one of them, because payctl cannot tell. The result is empty if
    the role is not allowed to read the payments, the receipts or the records of replays.
    """
    if not ids or not connection.exec_driver_sql(_MAY_READ).scalar_one():
        return frozenset()
    values = {"ids": [*ids], "max_retries": max_retries, "before": _BEFORE_PAYMENT}
    return frozenset(connection.exec_driver_sql(_NEEDLESS, values).scalars())
