"""Close a superseded dead event: record that no customer waits for it. The event stays dead and is never deleted."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.errors import GuardError
from ticketbottle_payctl.store.db import short_ids
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import dead
from ticketbottle_payctl.store.outbox.dead import Superseded
from ticketbottle_payctl.store.payctl import run_items
from ticketbottle_payctl.store.payctl.run_lifecycle import open_run
from ticketbottle_payctl.store.payctl.runs import CLOSED, NewRun, RunStatus

__all__ = ["Superseded", "close_event", "find_event"]

_LIMITS = Limits(statement=timedelta(seconds=30))


def find_event(engine: Engine, name: str, max_retries: int) -> Superseded | None:
    """Return the superseded dead event with this id or short id, or None.

    Raises:
        InputError: several ids begin with the short id.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        (event_id,) = short_ids.whole(connection, "outbox", [name])
        return dead.find_superseded(connection, event_id, max_retries)


def close_event(engine: Engine, event: Superseded, run: NewRun, max_retries: int) -> None:
    """Record a run that closes this event. The event's row is locked and judged again in the run's transaction.

    Raises:
        GuardError: the event has changed, blocks another event, or another person has closed it. Nothing was recorded.
        DatabaseUnavailableError: the server cannot be reached.
        ConfigError: payctl's schema or a permission is missing. Nothing was recorded.
    """

    def row(connection: Connection) -> None:
        dead.lock(connection, event.id)
        refuse(dead.find_superseded(connection, event.id, max_retries), event.id)
        before = {"state": "dead", "event_type": event.event_type, "error": event.error}
        after = {"state": CLOSED}
        run_items.record_payment(connection, run.id, 0, event.id, CLOSED, "superseded", before, after)

    with open_run(engine, run, _LIMITS, also=row) as opened:
        opened.end(RunStatus.DONE, {CLOSED: 1})


def refuse(event: Superseded | None, event_id: str) -> None:
    """Raise an error if the event cannot be closed.

    Raises:
        GuardError: the event is no longer dead and superseded, is already closed, or blocks another event.
    """
    if event is None:
        message = f"not closed: event {event_id} is not dead and superseded any more; nothing was recorded"
        raise GuardError(message, hint="look at the event again with payctl show")
    if event.closed:
        message = f"not closed: event {event_id} was closed by another run; nothing was recorded"
        raise GuardError(message, hint="payctl show names the person and the reason")
    if event.blocks:
        message = f"not closed: another event of the payment waits behind event {event_id}"
        raise GuardError(message, hint="let it pass first: payctl publish-outbox --on-dead release")
