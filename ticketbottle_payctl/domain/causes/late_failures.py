"""Report pending failure events whose payments are COMPLETED, and say how to keep publishers from sending them.

A publisher sends such an event, unless a dead event of the payment blocks it, or Debezium publishes the outbox.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ticketbottle_payctl.domain.causes.cause import Cause, CauseKind
from ticketbottle_payctl.domain.causes.evidence import LateFailures
from ticketbottle_payctl.domain.causes.words import PREVIEW, PUBLISH, named
from ticketbottle_payctl.domain.retry import MOST_RETRIES
from ticketbottle_payctl.formats import count

_LATE = "the payment is COMPLETED, and no success event waits behind the failure event"
_SENT = "a publisher will send {0}"
_BLOCKED = (
    "a dead event blocks {0}; a publisher will send {0} after a replay of the dead event, or with --on-dead release"
)
_DEBEZIUM = (
    "Debezium sends each event once, and never sends a requeued event; payctl cdc mark marks the events that Debezium"
    " has sent, and a publisher will send the other events after payctl cdc cut-back"
)


def of_late_failures(found: LateFailures, *, by_debezium: bool = False) -> Iterator[Cause]:
    """Yield a cause if a pending failure event would take the tickets of a paid order.

    ``by_debezium`` is true if Debezium publishes the outbox.
    """
    number, event_id, order_code, blocked = found
    if not number:
        return
    event = named(event_id, order_code)
    fact = f"{taken_tickets(number)}{': ' if number == 1 else '; the oldest is '}{event}"
    oldest = "it" if number == 1 else "the oldest"
    then = _DEBEZIUM if by_debezium else (_BLOCKED if blocked else _SENT).format(oldest)
    yield late_failure(event_id)._replace(events=number, fact=fact, meaning=f"{_LATE}; {then}")


def taken_tickets(number: int) -> str:
    """Return a sentence that says how many pending failure events would take tickets away."""
    orders = "a paid order" if number == 1 else "paid orders"
    return f"{count(number, 'pending failure event')} would take the tickets of {orders}"


def publish_later(cause: Cause, found: LateFailures) -> Cause:
    """Return the cause with other advice if it advises to publish while a failure event is pending."""
    if not found.number or cause.command is None or not publishes(cause.command.verb, changes=cause.command.changes):
        return cause
    return cause._replace(advice=first_make_dead(found), command=PREVIEW)


def publishes(verb: Sequence[str], *, changes: bool) -> bool:
    """Return whether the command sends events."""
    return changes and tuple(verb) == PUBLISH.verb


def first_make_dead(found: LateFailures) -> str:
    """Return the advice to give before :data:`PREVIEW` while these failure events are pending."""
    event = named(found.id, found.order_code)
    until = (
        f"the failure event of the paid order {event} is dead"
        if found.number == 1
        else f"{found.number:,} failure events of paid orders are dead, the oldest {event}"
    )
    return f"start no publisher until {until} (payctl stats says how); see what a publisher would send"


def late_failure(event_id: str) -> Cause:
    """Return the cause for one pending failure event, with the SQL statement that keeps publishers from sending it."""
    quoted = event_id.replace("'", "''")
    return Cause(
        CauseKind.LATE_FAILURE,
        1,
        "a pending failure event would take the tickets of this order",
        _LATE,
        "stop all publishers, and make the event dead, so that no publisher sends it; in psql",
        sql=f'UPDATE outbox SET "retryCount" = {MOST_RETRIES}, "lastError" = \'SUPERSEDED: made dead by hand\''  # noqa: S608 - quoted
        f" WHERE id = '{quoted}' AND NOT published",
    )
