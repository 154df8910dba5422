"""Take the outbox back from Debezium: what lies in Kafka is marked, what does not is payctl's again."""

from __future__ import annotations

from sqlalchemy import Engine

from ticketbottle_payctl.broker.follower import Follower
from ticketbottle_payctl.errors import GuardError
from ticketbottle_payctl.jobs.cdc.mark import LIMITS, MarkReport, mark_all
from ticketbottle_payctl.store.db.engine import transaction
from ticketbottle_payctl.store.outbox import cdc


def cdc_cut_back(engine: Engine, follower: Follower, max_retries: int, *, dry_run: bool = False) -> MarkReport:
    """Mark what Debezium has sent to the very last message, then remove its slot. Publishers may start afterwards.

    The connector has to be stopped for good. How it ended does not matter: the slot's own position lags behind what
    was sent, so it is not asked.

    Raises:
        GuardError: there is no slot, or a connector still reads from it.
        BrokerUnavailableError, DatabaseUnavailableError: run it again; the slot is still there.
    """
    with transaction(engine, LIMITS, commit=False) as connection:
        slot = cdc.slot(connection)
    if slot is None:
        message = "there is no replication slot: the outbox is payctl's already"
        raise GuardError(message, hint="payctl publish-outbox")
    if slot.active:
        message = "the connector is still reading"
        raise GuardError(message, hint="delete the connector, or stop its worker, and try again")
    report = mark_all(engine, follower, max_retries, dry_run=dry_run)
    if not dry_run:
        cdc.drop_slot(engine, LIMITS)
    return report
