"""Hand the outbox over to Debezium: payctl sends what was committed before the slot, Debezium what comes after.

Both halves meet at a point of the write-ahead log, so no event is in neither and none in both, however many
transactions are under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.broker.follower import Follower
from ticketbottle_payctl.broker.producer import Failure, Producer
from ticketbottle_payctl.domain.event import TOPICS, OutboxEvent, to_message
from ticketbottle_payctl.domain.retry import Fault, error_text
from ticketbottle_payctl.errors import ConfigError, GuardError, LockedError, PayctlError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import cdc, shard_lock
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox.claim import Released
from ticketbottle_payctl.store.outbox.shard_lock import Entry

LIMITS = Limits(statement=timedelta(seconds=30), lock=timedelta(seconds=5), idle=timedelta(minutes=3))
"""The shards stay locked while the slot is made and the last events are sent."""

PATIENCE = timedelta(seconds=30)
SEND_TIMEOUT = 35.0
MOST_PENDING = 10_000
_OWNER = "payctl cdc cut-over"
_UNKNOWN_TYPE = Failure(Fault.PERMANENT, "UNKNOWN_EVENT_TYPE", "no topic is known for this event type")


@dataclass(frozen=True, slots=True)
class CutOverReport:
    """``sent`` are the events that were left for payctl, ``dead`` those of them that nobody can send.

    Where ``failed`` is not 0 the broker did not take all of them: nothing was handed over, the slot is gone again.
    """

    sent: int
    dead: int
    failed: int
    failure: PayctlError | None = None
    dry_run: bool = False


def cdc_cut_over(  # noqa: PLR0913 - the honest list of what the job needs
    engine: Engine,
    producer: Producer,
    follower: Follower,
    *,
    max_retries: int,
    shards: int,
    dry_run: bool = False,
) -> CutOverReport:
    """Make the slot and send what lies before it. Afterwards, and not before, the connector may be started.

    Every publisher has to be stopped, and the backlog drained. Writers are never kept waiting. ``dry_run`` checks
    what can be checked, makes no slot and writes nothing.

    Raises:
        LockedError: a publisher is at work.
        GuardError: more than ``MOST_PENDING`` events are pending, or some wait behind a dead one.
        ConfigError: no publication, ``wal_level`` is not logical, or a privilege is missing.
        BrokerUnavailableError, DatabaseUnavailableError: nothing was handed over.
    """
    if not dry_run:
        _enter(engine, shards)
    with transaction(engine, LIMITS, commit=not dry_run) as connection:
        _keep_publishers_out(connection, shards, entered=not dry_run)
        pending = _check(connection, max_retries)
        _check_topics(producer)
        if dry_run:
            return CutOverReport(pending, 0, 0, dry_run=True)
        follower.begin_at_end()
        table = cdc.table_name(connection)
        left = cdc.make_slot(engine, table, max_retries, limit=MOST_PENDING + 1, patience=PATIENCE)
        try:
            _check_backlog(len(left))
            report = _send(engine, producer, left, max_retries)
        except BaseException:
            cdc.drop_slot(engine, LIMITS)
            raise
        if report.failed:
            cdc.drop_slot(engine, LIMITS)
    return report


def _enter(engine: Engine, shards: int) -> None:
    """Put our name on every shard, so that a publisher that only sleeps begins anew and sees the slot."""
    with transaction(engine, LIMITS) as connection:
        for shard in range(shards):
            if shard_lock.enter(connection, shard, shards, 0, _OWNER) is Entry.REFUSED:
                raise _locked()


def _keep_publishers_out(connection: Connection, shards: int, *, entered: bool) -> None:
    """Hold every shard, and write nothing: a slot waits for whoever is writing, us included.

    Where we never ``entered``, which a dry run does not, our name is new to them, and is rolled back.
    """
    allowed = {Entry.UNCHANGED} if entered else {Entry.UNCHANGED, Entry.TAKEN_OVER}
    if any(shard_lock.enter(connection, shard, shards, 0, _OWNER) not in allowed for shard in range(shards)):
        raise _locked()


def _locked() -> LockedError:
    message = "a publisher is at work on this outbox"
    return LockedError(message, hint="stop every `payctl publish-outbox` and its schedule, then try again")


def _check(connection: Connection, max_retries: int) -> int:
    if not cdc.publishes_inserts(connection):
        message = "there is no publication for inserts into the outbox, and for nothing else"
        raise ConfigError(message, hint="run the SQL that `payctl cdc config` prints")
    if cdc.slot(connection) is not None:
        message = "the replication slot is there already: Debezium publishes, or a cut-over broke off"
        raise GuardError(message, hint="`payctl cdc cut-back` takes the outbox back and removes it")
    waiting = cdc.waiting_behind_dead(connection, max_retries)
    if waiting:
        message = f"{waiting} events wait behind a dead one; Debezium waits for nothing"
        raise GuardError(message, hint="replay the dead ones first, or publish with --on-dead release")
    pending = cdc.count_pending(connection, max_retries)
    _check_backlog(pending)
    return pending


def _check_backlog(pending: int) -> None:
    if pending > MOST_PENDING:
        message = f"more than {MOST_PENDING} events are pending; they would be sent while the outbox changes hands"
        raise GuardError(message, hint="let payctl publish-outbox drain it, stop that, and try again")


def _check_topics(producer: Producer) -> None:
    missing = producer.probe(10.0)
    if missing:
        message = f"these events have nowhere to go: {', '.join(sorted(missing))}"
        raise ConfigError(message, hint="create the topics and allow the user to write to them")


def _send(engine: Engine, producer: Producer, pending: Sequence[cdc.Pending], max_retries: int) -> CutOverReport:
    """Send in waves of one event per payment, each committed before the next; a payment whose event failed stops."""
    sent = dead = 0
    failures: dict[str, Failure] = {}
    remaining, behind = list(pending), 0
    while remaining:
        wave: dict[str, cdc.Pending] = {}
        later = [event for event in remaining if wave.setdefault(event.aggregate_id, event) is not event]
        with transaction(engine, LIMITS) as connection:
            events = cdc.claim_these(connection, [event.id for event in wave.values()])
            unknown = [event for event in events if event.event_type not in TOPICS]
            messages = [to_message(event) for event in events if event.event_type in TOPICS]
            failed = producer.send(messages, SEND_TIMEOUT) if messages else {}
            _put_back(connection, unknown, [event for event in events if event.aggregate_id in failed], max_retries)
        sent, dead, failures = sent + len(messages) - len(failed), dead + len(unknown), failures | failed
        remaining = [event for event in later if event.aggregate_id not in failures]
        behind += len(later) - len(remaining)
    return CutOverReport(sent, dead, len(failures) + behind, _why(producer, failures))


def _why(producer: Producer, failures: Mapping[str, Failure]) -> PayctlError | None:
    if not failures:
        return None
    first = next(iter(failures.values()))
    if first.fault is Fault.TRANSPORT:
        return producer.unavailable()
    message = f"{len(failures)} events were not accepted: {error_text(first.code, first.reason)}"
    return GuardError(message, hint="payctl publish-outbox decides what becomes of them; then try again")


def _put_back(
    connection: Connection, unknown: Sequence[OutboxEvent], failed: Sequence[OutboxEvent], max_retries: int
) -> None:
    error = error_text(_UNKNOWN_TYPE.code, _UNKNOWN_TYPE.reason)
    rows = [Released(event.id, max_retries, error) for event in unknown]
    rows += [Released(event.id, event.retry_count, None) for event in failed]
    if rows:
        outbox.release(connection, rows)
