"""Leave events to repair, for a demo that keeps running."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from ticketbottle_payctl.sandbox.demo.report import LeftEvents
from ticketbottle_payctl.sandbox.demo.world import LIMITS, World
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.store.db.engine import transaction

DEAD_SINCE: Final = timedelta(hours=2)
PENDING_SINCE: Final = timedelta(hours=3)
_LAST_ERROR: Final = "KafkaJSConnectionError: Connection timeout"


def leave_backlog(world: World) -> LeftEvents:
    """Leave one event that a broker outage made dead, and one that has waited for hours.

    The payments of both are COMPLETED, so each is a customer without a ticket.
    """
    with transaction(world.services.engine, LIMITS) as connection:
        insert_events(connection, 1, state="dead", age=DEAD_SINCE, last_error=_LAST_ERROR, payload_bytes=0)
        insert_events(connection, 1, age=PENDING_SINCE, payload_bytes=0)
        insert_payments_of_events(connection)
    return LeftEvents(dead=1, pending=1)
