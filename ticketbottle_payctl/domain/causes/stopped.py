"""Find the causes that stop publishing: no publisher, Debezium, unavailable brokers, missing topics, or locks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ticketbottle_payctl.domain.causes.advice import if_cut_off, if_missing
from ticketbottle_payctl.domain.causes.cause import Cause, CauseKind, Command
from ticketbottle_payctl.domain.causes.evidence import (
    SENDABLE,
    WAITS_AFTER,
    Brokers,
    Evidence,
    Holder,
    Reason,
    SeenPublisher,
    Waiting,
)
from ticketbottle_payctl.domain.causes.publishing import cut_off
from ticketbottle_payctl.domain.causes.words import (
    CHECK_BROKERS,
    LOOK_AT_KAFKA,
    LOOK_AT_KAFKA_AND_BACKLOG,
    locked,
    next_run,
    overdue,
    show,
    total,
    waited,
)
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.domain.unknown_types import is_unknown, what_to_do
from ticketbottle_payctl.formats import duration


def of_publishers(evidence: Evidence, brokers: Brokers | None) -> Iterator[Cause]:
    """Yield a cause if no publisher is running, if publishers have different shard counts, or if Debezium publishes.

    If ``brokers`` is None, the brokers were not checked. The advice to publish by hand depends on the brokers.
    """
    if evidence.slot_active is not None:
        yield from _of_debezium(evidence, overdue(evidence, *SENDABLE, Reason.BLOCKED))
        return
    waiting = overdue(evidence, *SENDABLE)
    if not waiting:
        return
    if not evidence.lately:
        meaning = (
            f"{waited(evidence, waiting)}. {next_run(waiting, 'a publisher sends all waiting events when it runs')}"
        )
        advice, command = if_missing(brokers)
        if all(is_unknown(one.event_type) for one in waiting):
            advice = f"{what_to_do(one.event_type for one in waiting)}; the oldest event is"
            command = show(max(waiting, key=lambda one: one.oldest_s).id)
        yield Cause(CauseKind.NO_PUBLISHER, total(waiting), _not_seen(evidence), meaning, advice, command)
    counts = {one.shards: one.name for one in evidence.running if one.shards is not None}
    if len(counts) > 1:
        said = " and ".join(f"{shards} ({name})" for shards, name in sorted(counts.items()))
        meaning = "publishers with different shard counts lock each other out and wait"
        yield Cause(
            CauseKind.SHARDS,
            total(waiting),
            f"publishers run with different PAYCTL_SHARDS: {said}",
            meaning,
            "give every publisher the same PAYCTL_SHARDS and restart it",
        )


def _not_seen(evidence: Evidence) -> str:
    if evidence.last_seen_s is not None:
        last = min(evidence.publishers, key=lambda one: one.seconds)
        brokers = ", which could not reach its brokers" if last.without_brokers else ""
        return f"no publisher has been seen for {duration(last.seconds)}; the last one was {last.name}{brokers}"
    if evidence.publishers_known:
        return "no publisher has ever run on this database"
    return "no publisher is active, and this role cannot see when the last one ran"


def _of_debezium(evidence: Evidence, waiting: Sequence[Waiting]) -> Iterator[Cause]:
    if not evidence.slot_active:
        yield Cause(
            CauseKind.DEBEZIUM,
            evidence.pending,
            "Debezium is publishing this outbox, but no connector reads its slot",
            "no event is published until the connector runs; payctl's publishers refuse to run",
            "start the connector, or take the outbox back",
            Command(("cdc", "cut-back"), changes=True, rows=max(1, evidence.pending)),
        )
    elif waiting:
        yield Cause(
            CauseKind.DEBEZIUM,
            total(waiting),
            f"Debezium is publishing this outbox; {waited(evidence, waiting)} to be marked as published",
            "payctl's publishers send nothing; a scheduled `payctl cdc mark` marks the events that are in Kafka",
            None,
            Command(("cdc", "mark"), changes=True),
        )


def of_brokers(evidence: Evidence, brokers: Brokers | None) -> Iterator[Cause]:
    """Yield each cause that the brokers or a publisher report, but only if overdue events are waiting because of it."""
    waiting = overdue(evidence, *SENDABLE)
    if not waiting or evidence.slot_active is not None:
        return
    away = cut_off(evidence)
    if away is not None and not (brokers and brokers.unavailable):
        yield _of_cut_off(away, evidence, waiting, brokers)
    if brokers is None:
        return
    if brokers.unavailable:
        meaning = f"{waited(evidence, waiting)}. This uses up no retries"
        advice = f"{CHECK_BROKERS}, then run this again"
        yield Cause(CauseKind.BROKERS, total(waiting), brokers.unavailable, meaning, advice, LOOK_AT_KAFKA)
    for event_type, why in brokers.stopped.items():
        stopped = [one for one in waiting if one.event_type == event_type]
        if stopped:
            topic = TOPICS.get(event_type, event_type)
            yield Cause(
                CauseKind.TOPIC,
                total(stopped),
                f"topic {topic} does not accept messages: {why}",
                f"{waited(evidence, stopped)}, of type {event_type}. This uses up no retries",
                f"create {topic}, or grant Write and Describe on it, then run this again",
                LOOK_AT_KAFKA,
            )


def _of_cut_off(away: SeenPublisher, evidence: Evidence, waiting: Sequence[Waiting], brokers: Brokers | None) -> Cause:
    """Return the cause for a publisher that could not reach its brokers, even if this machine can reach them."""
    fact = f"publisher {away}: {away.without_brokers}"
    meaning = f"{waited(evidence, waiting)}. This uses up no retries"
    return Cause(CauseKind.BROKERS, total(waiting), fact, meaning, *if_cut_off(away, brokers))


def of_new_event(evidence: Evidence) -> Cause | None:
    """Return the cause if the last publisher could not reach its brokers, even if no event is overdue yet.

    Call this only if Debezium does not publish.
    """
    away = cut_off(evidence)
    if away is None:
        return None
    fact, meaning = f"publisher {away}: {away.without_brokers}", "this uses up no retries"
    return Cause(CauseKind.BROKERS, evidence.pending, fact, meaning, CHECK_BROKERS, LOOK_AT_KAFKA_AND_BACKLOG)


def of_table_locks(evidence: Evidence) -> Iterator[Cause]:
    """Yield a cause for each session that locks the whole outbox table."""
    for holder in evidence.table_locks:
        meaning = "no event can be claimed, and no callback can be settled, until its transaction ends"
        fact = f"the outbox table is locked by {holder}"
        advice, sql = _end(holder)
        yield Cause(CauseKind.TABLE_LOCK, evidence.pending, fact, meaning, advice, sql=sql)


def of_row_locks(evidence: Evidence) -> Iterator[Cause]:
    """Yield a cause for each session that locks overdue events, or has locked waiting events for ten seconds."""
    held: dict[Holder, list[Waiting]] = {}
    for one in evidence.waiting:
        holder = one.holder or _UNKNOWN_HOLDER
        if one.reason is Reason.LOCKED and (one in overdue(evidence, Reason.LOCKED) or _holds_for_long(holder)):
            held.setdefault(holder, []).append(one)
    for holder, waiting in held.items():
        events, oldest = total(waiting), max(waiting, key=lambda one: one.oldest_s)
        fact = f"{locked(events)} by {holder}"
        meaning = f"the oldest is {oldest.id}; publishers skip locked rows and try them again later"
        advice, sql = _end(holder)
        yield Cause(CauseKind.ROW_LOCK, events, fact, meaning, advice, sql=sql)


_UNKNOWN_HOLDER = Holder(None, None, None, None, None)


def _holds_for_long(holder: Holder) -> bool:
    return (holder.seconds or 0) > WAITS_AFTER.total_seconds()


def locked_events(evidence: Evidence) -> int:
    """Return the number of pending events that other sessions have locked for ten seconds.

    If the age of a lock is unknown, the lock counts once its event is overdue. Only the oldest pending events are read,
    so if there are many, the true number may be higher.
    """
    if any(_holds_for_long(holder) for holder in evidence.table_locks):
        return evidence.pending
    late = overdue(evidence, Reason.LOCKED)
    return total([one for one in evidence.waiting if one.reason is Reason.LOCKED and _is_locked_for_long(one, late)])


def _is_locked_for_long(one: Waiting, late: Sequence[Waiting]) -> bool:
    holder = one.holder or _UNKNOWN_HOLDER
    return one in late if holder.seconds is None else _holds_for_long(holder)


def _end(holder: Holder) -> tuple[str, str | None]:
    """Return the advice for ending the holder's transaction, and the SQL statement if there is one."""
    if holder.pid is None:
        return "find it in pg_prepared_xacts; its owner must commit it or roll it back", None
    return "ask its owner to end it, or in psql", f"SELECT pg_terminate_backend({holder.pid})"
