"""Find out whether a dead event of an unknown type may leave a customer without a ticket.

payctl cannot know what such an event says. But no customer waits for the event if the payment's success was sent, or if
the payment is FAILED or CANCELLED. A PENDING payment may still become COMPLETED.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from ticketbottle_payctl.domain.why_needless import WhyNeedless
from ticketbottle_payctl.store.db.privileges import may_read_ours, may_read_payments
from ticketbottle_payctl.store.outbox import states
from ticketbottle_payctl.store.outbox.repeated import closed_as, is_sent_success, is_success, published_near
from ticketbottle_payctl.store.outbox.selector import UNKNOWN_TYPE


def _reason(status: str) -> str:
    return f"'{WhyNeedless.UNKNOWN_TYPE}_' || lower({status}::text)"


CLOSED_UNKNOWN = f"""EXISTS (
    SELECT FROM payments AS p WHERE p.id = o."aggregateId" AND {closed_as(_reason("p.status"))})"""
"""The SQL condition for an event ``o`` of an unknown type that a person has closed.

The closing counts only while the payment has the status that it had when the person closed the event. So if the payment
becomes COMPLETED later, the event is open again. If the payment was COMPLETED already when the person closed the event,
payctl had found the sent success.
"""


CLOSED_IF_COMPLETED = closed_as(f"'{WhyNeedless.UNKNOWN_TYPE}_completed'")
"""The SQL condition for an event ``o`` of an unknown type that a person has closed after its payment was COMPLETED."""


# A success event is created when its payment is completed. The outbox has no index on the payment, so only the
# published events next to this instant and next to the dead event are read.
def near_success(*instants: str) -> str:
    """Return the SQL query for the payments with a published success next to one of these instants."""
    return " UNION ALL ".join(
        f"SELECT * FROM ({published_near(at, side, direction)}) AS side"  # noqa: S608 - built from constants only
        for at in instants
        for side, direction in ((">=", "ASC"), ("<", "DESC"))
    )


def receipt_of_success(payment: str, unless: str = "false") -> str:
    """Return the SQL condition that is true if a receipt of this payment proves that its success was sent.

    A cleanup deletes only events that were sent. So if the event of a receipt is missing, it was sent, unless the
    condition ``unless`` is true.
    """
    return f"""EXISTS (
    SELECT FROM payctl.webhook_receipts AS r LEFT JOIN outbox AS w ON w.id = r.event_id
    WHERE r.payment_id = {payment} AND r.outcome = 'COMPLETED' AND r.event_id IS NOT NULL AND (
        w."aggregateId" = {payment} AND {is_sent_success("w.")} OR w.id IS NULL AND NOT {unless}))"""


_NEAR = near_success('p."completedAt"', 'o."createdAt"')
_UNPUBLISHED = """SELECT FROM outbox AS u WHERE u.published = false AND u."aggregateId" = p.id"""
_BY_RECEIPT = receipt_of_success("p.id", f"EXISTS ({_UNPUBLISHED} AND {is_success('u.')})")
_NEEDLESS = f"""
    SELECT o.id, {_reason("p.status")} FROM outbox AS o JOIN payments AS p ON p.id = o."aggregateId"
    WHERE o.id = ANY(%(ids)s) AND {states.dead("o.")} AND {UNKNOWN_TYPE} AND (
        p.status::text IN ('FAILED', 'CANCELLED')
        OR p.status::text = 'COMPLETED' AND (
            {_BY_RECEIPT} OR EXISTS ({_UNPUBLISHED} AND {is_sent_success("u.")}) OR p.id IN ({_NEAR})))
"""  # noqa: S608 - built from constants only
MAY_READ_SENT = f"""({may_read_payments("id", "status", "completedAt")}
    AND {may_read_ours("webhook_receipts", "payment_id", "outcome", "event_id")})"""
"""The SQL condition that is true if the role is allowed to read the rows that show whether a success was sent."""


def needless_among(connection: Connection, ids: Sequence[str], max_retries: int) -> dict[str, str]:
    """Return the given dead events of an unknown type that no customer waits for, each with the reason.

    A closing record contains the same reason. An event without a payment in the database is left out, because payctl
    cannot know whether a customer waits. The result is empty if the role is not allowed to read the payments or the
    receipts.
    """
    if not ids or not connection.exec_driver_sql(f"SELECT {MAY_READ_SENT}").scalar_one():
        return {}
    rows = connection.exec_driver_sql(_NEEDLESS, {"ids": [*ids], "max_retries": max_retries})
    return {event_id: reason for event_id, reason in rows}  # noqa: C416 - a row is not a tuple
