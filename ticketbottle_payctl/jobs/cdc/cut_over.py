"""Hand the outbox over to Debezium.

payctl sends the events before the replication slot's position, and Debezium sends the later events.

The slot has one position in the write-ahead log. Therefore each event is either before or after this position, even if
other transactions are open when payctl creates the slot.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypedDict
from uuid import uuid4

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.broker.follower import Follower
from ticketbottle_payctl.broker.producer import DeliveryFailure, Producer
from ticketbottle_payctl.broker.sender import UNKNOWN_TYPE, Sender
from ticketbottle_payctl.domain.event import OutboxEvent
from ticketbottle_payctl.domain.retry import Fault, error_text
from ticketbottle_payctl.errors import ConfigError, GuardError, LockedError, PayctlError
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import cdc, shard_lock
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox.claim import Released
from ticketbottle_payctl.store.outbox.shard_lock import Entry
from ticketbottle_payctl.store.payctl.run_lifecycle import Unrecorded, optional_run
from ticketbottle_payctl.store.payctl.runs import NewRun, RunStatus

LIMITS = Limits(statement=timedelta(seconds=30), lock=timedelta(seconds=5), idle=timedelta(minutes=3))
"""The limits for the cut-over's transaction.

The idle limit is long, because the shards stay locked until the last event is sent.
"""

PATIENCE = timedelta(seconds=30)
SEND_WITHIN = 35.0
"""The time limit, in seconds, for sending a wave of events. It is longer than the limit for one message, 30 seconds."""

MOST_PENDING = 10_000
_NAME = "payctl cdc cut-over"


class CutOverCounts(TypedDict):
    """The number of events before the slot's position, by result."""

    sent: Count
    """The number of events that payctl sent before Debezium took over; with dry_run, the number of pending events."""
    dead: Count
    """How many of the events before the slot's position became dead because their type is unknown."""
    failed: Count
    """How many of the events before the slot's position were not sent.

    If this is not 0, payctl still owns the outbox.
    """


@dataclass(frozen=True, slots=True)
class CutOverReport:
    """The result of a cut-over.

    ``sent`` says how many of the events before the slot's position payctl sent. ``dead`` says how many of these events
    became dead because they have no topic. If ``failed`` is not 0, the brokers did not accept all events. In that case,
    payctl has removed the slot and still owns the outbox. ``unrecorded`` says what could not be recorded about the run.
    """

    sent: int
    dead: int
    failed: int
    failure: PayctlError | None = None
    dry_run: bool = False
    run_id: str | None = None
    unrecorded: Unrecorded | None = None

    @property
    def counts(self) -> CutOverCounts:
        """The counts, under the field names of the JSON output."""
        return {"sent": self.sent, "dead": self.dead, "failed": self.failed}


def cdc_cut_over(  # noqa: PLR0913 - one argument per option
    engine: Engine,
    producer: Producer,
    follower: Follower,
    *,
    max_retries: int,
    shards: int,
    dry_run: bool = False,
    run: NewRun | None = None,
) -> CutOverReport:
    """Create the replication slot and send the events before its position.

    The connector must not start before this call has returned.

    Before the call, the operator must stop every publisher, and the backlog must be small. The cut-over never blocks a
    program that writes events. With ``dry_run``, payctl runs only the checks. ``run`` is recorded if the role is
    allowed to record it. A cut-over that the checks refuse is not recorded.

    Raises:
        LockedError: a publisher is running.
        GuardError: the slot already exists, more than ``MOST_PENDING`` events are pending, or an event waits behind a
            dead event.
        ConfigError: the publication, a topic or a privilege is missing, or ``wal_level`` is not logical.
        BrokerUnavailableError, DatabaseUnavailableError: nothing was handed over.
    """
    owner = f"{_NAME}:{uuid4()}"
    entered = nullcontext() if dry_run else _entered(engine, shards, owner)
    with entered, transaction(engine, LIMITS, commit=not dry_run) as connection:
        _keep_publishers_out(connection, shards, owner, entered=not dry_run)
        pending = _check(connection, max_retries)
        sender = Sender(producer)
        _check_topics(sender)
        if dry_run:
            return CutOverReport(pending, 0, 0, dry_run=True)
        follower.begin_at_end()
        table = cdc.table_name(connection)
        left = cdc.make_slot(engine, table, max_retries, limit=MOST_PENDING + 1, patience=PATIENCE)
        try:
            _check_backlog(len(left))
            with optional_run(engine, run, LIMITS) as record:
                report = _send(engine, sender, left, max_retries)
                record.end(RunStatus.INCOMPLETE if report.failed else RunStatus.DONE, report.counts)
        except BaseException:
            cdc.drop_slot(engine, LIMITS)
            raise
        if report.failed:
            cdc.drop_slot(engine, LIMITS)
    return replace(report, run_id=record.id, unrecorded=record.unrecorded)


@contextmanager
def _entered(engine: Engine, shards: int, owner: str) -> Iterator[None]:
    """Register this cut-over as the publisher of every shard, and record its end.

    A returning publisher must then rescan its shard, and the rescan finds the slot. If the end is not recorded, a
    publisher on standby waits up to 30 seconds before it rescans.
    """
    with transaction(engine, LIMITS) as connection:
        for shard in range(shards):
            if shard_lock.enter(connection, shard, shards, 0, owner) is Entry.REFUSED:
                raise _locked()
    try:
        yield
    finally:
        with suppress(PayctlError), transaction(engine, LIMITS) as connection:
            shard_lock.sign_off(connection, owner)


def _keep_publishers_out(connection: Connection, shards: int, owner: str, *, entered: bool) -> None:
    """Lock every shard without writing, so that no publisher can start.

    PostgreSQL creates a slot only after every open transaction with writes has ended. Therefore this transaction must
    not write before the slot exists, or it would wait for itself. A dry run does not create a slot, so ``entered`` is
    False and the transaction is allowed to write. The dry run rolls these writes back.
    """
    allowed = {Entry.UNCHANGED} if entered else {Entry.UNCHANGED, Entry.TAKEN_OVER}
    if any(shard_lock.enter(connection, shard, shards, 0, owner) not in allowed for shard in range(shards)):
        raise _locked()


def _locked() -> LockedError:
    message = "a publisher is running on this outbox"
    return LockedError(message, hint="stop every publisher and its schedule, then try again")


def _check(connection: Connection, max_retries: int) -> int:
    if not cdc.publishes_inserts(connection):
        message = "the database has no publication that contains only the inserts into the outbox"
        raise ConfigError(message, hint="run the SQL that `payctl cdc config` prints")
    if cdc.slot(connection) is not None:
        message = "the replication slot already exists: Debezium is publishing, or a cut-over was interrupted"
        raise GuardError(message, hint="run `payctl cdc cut-back` to take the outbox back and remove the slot")
    waiting = cdc.waiting_behind_dead(connection, max_retries)
    if waiting:
        them = "it" if waiting == 1 else "them"
        message = f"{count(waiting, 'pending event')} must wait behind a dead event, but Debezium would send {them}"
        raise GuardError(
            message,
            hint="replay the dead events first, or send the events behind them; to see what a publisher would send, run"
            " `payctl publish-outbox --on-dead release -n`",
        )
    pending = cdc.count_pending(connection, max_retries)
    _check_backlog(pending)
    return pending


def _check_backlog(pending: int) -> None:
    if pending > MOST_PENDING:
        message = f"more than {MOST_PENDING:,} events are pending; sending them would delay the handover"
        raise GuardError(
            message,
            hint="see what a publisher would send: `payctl publish-outbox -n`. Then drain the outbox, stop that"
            " publisher, and try again",
        )


def _check_topics(sender: Sender) -> None:
    sender.probe(10.0)
    if sender.stopped_types:
        message = f"these event types have no topic that can be written to: {', '.join(sorted(sender.stopped_types))}"
        raise ConfigError(message, hint="create the topics and allow the user to write to them")


def _send(engine: Engine, sender: Sender, pending: Sequence[cdc.Pending], max_retries: int) -> CutOverReport:
    """Send events in waves, and commit each wave. A wave has one event per payment.

    Skip a payment after its first failure.
    """
    sent = dead = behind = 0
    failures: dict[str, DeliveryFailure] = {}
    remaining = list(pending)
    while remaining:
        wave: dict[str, cdc.Pending] = {}
        later = [event for event in remaining if wave.setdefault(event.aggregate_id, event) is not event]
        with transaction(engine, LIMITS) as connection:
            events = {
                event.aggregate_id: event
                for event in cdc.claim_these(connection, [event.id for event in wave.values()])
            }
            failed, _ = sender.send(events, time.monotonic() + SEND_WITHIN)
            released = [_released(events[key], failure, max_retries) for key, failure in failed.items()]
            if released:
                outbox.release(connection, released)
        kept = {key: failure for key, failure in failed.items() if failure is not UNKNOWN_TYPE}
        sent, dead, failures = sent + len(events) - len(failed), dead + len(failed) - len(kept), failures | kept
        remaining = [event for event in later if event.aggregate_id not in failures]
        behind += len(later) - len(remaining)
    return CutOverReport(sent, dead, len(failures) + behind, _why(sender, failures))


def _released(event: OutboxEvent, failure: DeliveryFailure, max_retries: int) -> Released:
    """Return the new state of a failed event: dead if its type is unknown, otherwise unchanged.

    The next run of ``payctl publish-outbox`` decides what happens to an unchanged event.
    """
    if failure is UNKNOWN_TYPE:
        return Released(event.id, max_retries, error_text(failure.code, failure.reason))
    return Released(event.id, event.retry_count, None)


_PUBLISH_FIRST = (
    "see what a publisher would send: `payctl publish-outbox -n`. Then run the publisher, which decides about these"
    " events, stop it, and try again"
)


def _why(sender: Sender, failures: Mapping[str, DeliveryFailure]) -> PayctlError | None:
    if not failures:
        return None
    first = next(iter(failures.values()))
    if first.fault is Fault.TRANSPORT:
        return sender.producer.unavailable()
    message = f"the brokers did not accept {count(len(failures), 'event')}: {error_text(first.code, first.reason)}"
    return GuardError(message, hint=_PUBLISH_FIRST)
