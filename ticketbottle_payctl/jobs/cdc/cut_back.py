"""Take the outbox back from Debezium.

The events that are already in Kafka are marked, so that payctl does not publish them again.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine

from ticketbottle_payctl.broker.follower import Follower
from ticketbottle_payctl.errors import GuardError
from ticketbottle_payctl.jobs.cdc.mark import LIMITS, MarkReport, mark_all
from ticketbottle_payctl.store.db.engine import transaction
from ticketbottle_payctl.store.outbox import cdc
from ticketbottle_payctl.store.payctl.run_lifecycle import optional_run
from ticketbottle_payctl.store.payctl.runs import NewRun, RunStatus


def cdc_cut_back(
    engine: Engine, follower: Follower, max_retries: int, *, dry_run: bool = False, run: NewRun | None = None
) -> MarkReport:
    """Mark every event that Debezium has sent, then remove Debezium's slot. Afterwards, publishers can start again.

    Before the call, the operator must delete the connector or stop its worker. payctl finds the sent events in Kafka,
    because the slot's position may be older than the last sent event. ``run`` is recorded if the role is allowed to
    record it. A cut-back that is refused before it changes anything is not recorded.

    Raises:
        GuardError: no slot exists, or a connector still reads from the slot.
        BrokerUnavailableError, DatabaseUnavailableError: the slot still exists, and the operator can run the command
            again.
    """
    _check(engine)
    with optional_run(engine, None if dry_run else run, LIMITS) as record:
        report = mark_all(engine, follower, max_retries, dry_run=dry_run)
        if not dry_run:
            cdc.drop_slot(engine, LIMITS)
        record.end(RunStatus.DONE, report.counts)
    return replace(report, run_id=record.id, unrecorded=record.unrecorded)


def _check(engine: Engine) -> None:
    with transaction(engine, LIMITS, commit=False) as connection:
        slot = cdc.slot(connection)
    if slot is None:
        message = "there is no replication slot: payctl publishes this outbox already"
        raise GuardError(message, hint="see whether a publisher is running: `payctl doctor --only publishers`")
    if slot.active:
        message = "the connector still reads from the slot"
        raise GuardError(message, hint="delete the connector, or stop its worker, and try again")
