"""Report pending failure events whose payments are COMPLETED, and say how to keep publishers from sending them."""

from __future__ import annotations

from collections.abc import Iterator

from ticketbottle_payctl.domain.causes.cause import Cause, CauseKind
from ticketbottle_payctl.domain.causes.evidence import LateFailures
from ticketbottle_payctl.domain.causes.words import named
from ticketbottle_payctl.domain.retry import MOST_RETRIES
from ticketbottle_payctl.formats import count


def of_late_failures(found: LateFailures) -> Iterator[Cause]:
    """Yield a cause if a publisher will send a failure event after the success of its payment."""
    number, event_id, order_code = found
    if not number:
        return
    event = named(event_id, order_code)
    fact = f"{taken_tickets(number)}{': ' if number == 1 else '; the oldest is '}{event}"
    yield late_failure(event_id)._replace(events=number, fact=fact)


def taken_tickets(number: int) -> str:
    """Return a sentence that says how many pending failure events would take tickets away."""
    orders = "a paid order" if number == 1 else "paid orders"
    return f"{count(number, 'pending failure event')} would take the tickets of {orders}"


def late_failure(event_id: str) -> Cause:
    """Return the cause for one pending failure event, with the SQL statement that keeps publishers from sending it."""
    quoted = event_id.replace("'", "''")
    return Cause(
        CauseKind.LATE_FAILURE,
        1,
        "a pending failure event would take the tickets of this order",
        "the payment is COMPLETED, and no success event waits behind the failure event; a publisher sends it next",
        "stop all publishers, and make the event dead, so that no publisher sends it; in psql",
        sql=f'UPDATE outbox SET "retryCount" = {MOST_RETRIES}, "lastError" = \'SUPERSEDED: made dead by hand\''  # noqa: S608 - quoted
        f" WHERE id = '{quoted}' AND NOT published",
    )
