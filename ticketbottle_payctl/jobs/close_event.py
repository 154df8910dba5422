"""Close a harmless dead event by recording that no customer is waiting for it.

The event stays dead and is never deleted.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.errors import GuardError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import dead
from ticketbottle_payctl.store.outbox.dead import NamedEvent
from ticketbottle_payctl.store.payctl import run_items
from ticketbottle_payctl.store.payctl.run_lifecycle import open_run
from ticketbottle_payctl.store.payctl.runs import CLOSED, NewRun, RunStatus
from ticketbottle_payctl.store.payments import history

__all__ = ["NamedEvent", "close_event", "find_event", "refuse"]

_LIMITS = Limits(statement=timedelta(seconds=30), jit=False)


def find_event(engine: Engine, name: str, max_retries: int) -> NamedEvent | None:
    """Return the event that ``name`` identifies in ``payctl show``, or None if it identifies something else.

    Raises:
        InputError: several ids begin with the short id.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        event_id = history.event_named(connection, name)
        return None if event_id is None else dead.find(connection, event_id, max_retries)


def close_event(engine: Engine, event: NamedEvent, run: NewRun, max_retries: int, look: str) -> None:
    """Record a run that closes this event. In the run's transaction, the event's row is locked and checked again.

    Raises:
        GuardError: the event has changed, blocks another event, or is already closed. Nothing was recorded.
        DatabaseUnavailableError: the server cannot be reached. ConfigError: payctl's schema or a privilege is missing.
        Nothing was recorded.
    """

    def row(connection: Connection) -> None:
        dead.lock(connection, event.id)
        again = dead.find(connection, event.id, max_retries)
        again = again or event._replace(state="deleted", why_needless=None)
        refuse(again, look)
        before = {"state": "dead", "event_type": event.event_type, "error": event.error}
        after = {"state": CLOSED}
        run_items.record_payment(connection, run.id, 0, event.id, CLOSED, again.reason, before, after)

    with open_run(engine, run, _LIMITS, also=row) as opened:
        opened.end(RunStatus.DONE, {CLOSED: 1})


def refuse(event: NamedEvent, look: str) -> None:
    """Raise an error if the event cannot be closed. ``look`` is the command that shows the event's order.

    Raises:
        GuardError: the event is not dead and harmless, is closed, or blocks another event.
    """
    named = f"event {event.id}" + (f" of order {event.order_code}" if event.order_code else "")
    if event.why_needless is None:
        state = "dead, and a customer may be waiting for it" if event.state == "dead" else event.state
        message = f"not closed: {named} is {state}; only a harmless dead event can be closed"
        raise GuardError(message, hint=f"an event's id closes only the event; see its order: {look}")
    if event.closed:
        message = f"not closed: {named} was closed by another run; nothing was recorded"
        raise GuardError(message, hint=f"see who closed it, and why: {look}")
    if event.blocks:
        message = f"not closed: another event of the payment waits behind {named}"
        # A failure that is sent after a success would take the tickets away.
        release = (
            "see what a publisher would send, then publish the other event:"
            " `payctl publish-outbox --on-dead release -n`"
        )
        raise GuardError(message, hint=release if event.only_successes_wait else f"see which event waits: {look}")
