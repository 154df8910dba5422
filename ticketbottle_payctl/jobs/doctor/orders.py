"""Check that every order that was paid in the last 24 hours has a success event in the outbox."""

from __future__ import annotations

from datetime import UTC, timedelta

from sqlalchemy import Connection

from ticketbottle_payctl.domain.causes import Command
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.doctor.callbacks import may_read
from ticketbottle_payctl.jobs.doctor.model import Finding, Subject, fail, ok, warn
from ticketbottle_payctl.store.db.engine import Limits, is_statement_timeout, transaction
from ticketbottle_payctl.store.inspect import tables
from ticketbottle_payctl.store.inspect.tables import Privilege
from ticketbottle_payctl.store.outbox import claim
from ticketbottle_payctl.store.payments.open_orders import OpenOrders, no_event

LIMITS = Limits(statement=timedelta(seconds=15), jit=False)
WITHIN = timedelta(hours=24)
"""The search finds orders that were paid within this time.

The search reads all events from this time, so the time is short. A scheduled cleanup keeps published events
for at least a day, so it deletes no event from this time.
"""

_NAME = "orders"
_MEANING = "the order service does not know that the customer has paid, so there is no ticket"
_REPORT = Command(("report",))
_EVENTS = Privilege("outbox", "SELECT")


def check(subject: Subject) -> list[Finding]:
    """Find the orders that were paid in the last 24 hours and have no success event, for at most 15 seconds.

    Orders whose unsent event has an unknown type are left out, because the backlog check reports them.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
    """
    try:
        with transaction(subject.engine(), LIMITS, commit=False) as connection:
            found = _without_event(connection)
    except DatabaseUnavailableError as error:
        if not is_statement_timeout(error):
            raise
        fact = "the paid orders without an event were not found within the time limit"
        return [warn(_NAME, fact, _MEANING, "look for them in a shorter window", _REPORT)]
    if found is None:
        fact = "payctl cannot look for paid orders without an event: a table is missing, or the role cannot read it"
        return [warn(_NAME, fact, _MEANING, "see the results of the schema and grants checks")]
    since = f"the last {WITHIN // timedelta(hours=1)} h"
    if not found.number:
        return [ok(_NAME, f"each order paid in {since} has a success event, or an event of an unknown type")]
    oldest = found.oldest[0].order_code or found.oldest[0].id
    one = found.number == 1
    fact = f"{count(found.number, 'order')} paid in {since} {'has' if one else 'have'} no success event in the outbox"
    fact += f": {oldest}" if one else f"; the oldest is {oldest}"
    look = "look at it" if one else "look at the oldest order"
    return [fail(_NAME, fact, _MEANING, look, Command(("show",), (oldest,)))]


def _without_event(connection: Connection) -> OpenOrders | None:
    if not may_read(connection) or not tables.privileges(connection, [_EVENTS]).get(_EVENTS, False):
        return None
    now = claim.now(connection).replace(tzinfo=UTC)
    return no_event(connection, now - WITHIN, now, with_unknown=False)
