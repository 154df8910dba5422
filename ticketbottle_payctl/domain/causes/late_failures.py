"""Report pending failure events whose payments are COMPLETED, and say how to keep publishers from sending them.

A publisher sends such an event, unless a dead event of the payment blocks it, or Debezium publishes the outbox.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ticketbottle_payctl.domain.causes.cause import Cause, CauseKind, Command
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

_THEN = "Then see what a publisher would send"
_UNREAD = (
    "check a dry run, because payctl could not read whether a pending failure event would take the tickets of a paid"
    " order"
)


class Instead(NamedTuple):
    """The advice and the command to give instead of a command that publishes."""

    advice: str
    command: Command


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


def publishes(command: Command) -> bool:
    """Return whether the command sends events."""
    return command.changes and command.verb == PUBLISH.verb


def dry_run_of(options: Sequence[str] = ()) -> Command:
    """Return the command that shows what a publisher with these options would send."""
    return Command(PREVIEW.verb, options=(*options, *PREVIEW.options))


def instead_of_publishing(why: str | None, command: Command | None, found: LateFailures | None) -> Instead | None:
    """Return the advice and the command to give instead, or None if the command may be advised.

    ``why`` is the advice before ``command``. If the command has options, ``why`` says which events are skipped, so the
    new advice repeats it. ``found`` is None if the failure events could not be read.
    """
    first = before_publishing(found) if command is not None and publishes(command) else None
    if command is None or first is None:
        return None
    return Instead(f"{why}. First {first}" if why and command.options else first, dry_run_of(command.options))


def dry_run_instead(cause: Cause, found: LateFailures | None) -> Cause:
    """Return the cause with a dry run as its command if the operator must not publish yet."""
    instead = instead_of_publishing(cause.advice, cause.command, found)
    return cause if instead is None else cause._replace(advice=instead.advice, command=instead.command)


def before_publishing(found: LateFailures | None) -> str | None:
    """Return what to do before anything is published, or None if no pending failure event would take tickets.

    The text is meant to stand before a dry run. ``found`` is None if the failure events could not be read.
    """
    if found is None:
        return _UNREAD
    return first_make_dead(found) if found.number else None


def before_replay(found: LateFailures | None) -> str | None:
    """Return what to do before any event is replayed, or None if no such failure event is known.

    After the replay of a dead event, a publisher also sends a failure event that waits behind the dead event.
    """
    return make_dead(found) if found is not None and found.number else None


def first_make_dead(found: LateFailures) -> str:
    """Return the advice to give before :data:`PREVIEW` while these failure events are pending."""
    return f"{make_dead(found)}. {_THEN}"


def make_dead(found: LateFailures) -> str:
    """Return how to keep publishers from sending these failure events."""
    event = named(found.id, found.order_code)
    if found.number == 1:
        return (
            f"stop all publishers, because the pending failure event of the paid order {event} would take the order's"
            " tickets. Make the event dead with the SQL that payctl stats shows"
        )
    return (
        f"stop all publishers, because {taken_tickets(found.number)}. The oldest is {event}. Make it dead with the SQL"
        " that payctl stats shows. Repeat this until payctl stats shows no such event"
    )


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
