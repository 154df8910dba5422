"""Why events wait: the causes, judged by what the database and the brokers show.

The store collects :class:`Evidence` and :func:`causes` judges it, so ``stats`` and ``doctor`` say the same. Nothing
here connects anywhere. Ages and waits are seconds by the database's clock.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from ticketbottle_payctl.domain.event import LARGEST_MESSAGE, TOPICS
from ticketbottle_payctl.formats import count, duration, size

OVERDUE_AFTER = timedelta(minutes=2)
"""An event that is pending for longer is overdue. A publisher that runs sends an event within seconds."""

SEEN_WITHIN = timedelta(seconds=90)
"""A publisher that was seen within this time is running. It shows that it lives every 30 seconds."""


class CauseKind(StrEnum):
    """The kind of a cause. The most pressing kind stands first."""

    DEBEZIUM = "debezium"
    NO_PUBLISHER = "no_publisher"
    BROKERS = "brokers"
    TOPIC = "topic"
    TABLE_LOCK = "table_lock"
    ROW_LOCK = "row_lock"
    SHARDS = "shards"
    DEAD = "dead"
    BLOCKED = "blocked"
    FAILING = "failing"
    NOT_DUE = "not_due"
    BACKLOG = "backlog"
    UNKNOWN = "unknown"


class Cause(NamedTuple):
    """A cause: how many events it concerns, what was found, what that means, and what to do.

    ``advice`` is in words, ``command`` can be pasted into a shell. If both are set, the advice comes first.
    """

    kind: CauseKind
    events: int
    fact: str
    meaning: str
    advice: str | None = None
    command: str | None = None

    @property
    def ends_by_itself(self) -> bool:
        """Whether the events will be sent without help."""
        return self.kind in {CauseKind.NOT_DUE, CauseKind.BACKLOG}

    @property
    def remedy(self) -> str | None:
        """The advice and the command in one text, or None."""
        return ": ".join(part for part in (self.advice, self.command) if part) or None


class Reason(StrEnum):
    """What the rows show of a pending event."""

    BLOCKED = "blocked"
    LOCKED = "locked"
    NOT_DUE = "not_due"
    FAILING = "failing"
    READY = "ready"


class Holder(NamedTuple):
    """A session that holds a lock, and for how long its transaction has been open. None is what cannot be seen."""

    pid: int | None
    application: str | None
    user: str | None
    state: str | None
    seconds: float | None

    def __str__(self) -> str:
        """Return the session in one line."""
        if self.pid is None:
            return "a prepared transaction"
        name = f"pid {self.pid}, {self.application or 'unnamed'}"
        name += f" as {self.user}" if self.user else ""
        name += f", {self.state}" if self.state else ""
        return name + (f", for {duration(self.seconds)}" if self.seconds is not None else "")


class Waiting(NamedTuple):
    """Pending events of one type that wait for one reason. ``id`` is the oldest of them.

    ``blocker`` is the earlier event of the same payment that this one waits for, with its type and error.
    ``due_in_s`` is when the first of them is tried again.
    """

    reason: Reason
    event_type: str
    events: int
    oldest_s: float
    id: str
    error: str | None = None
    blocker: str | None = None
    blocker_type: str | None = None
    due_in_s: float | None = None
    holder: Holder | None = None


class DeadGroup(NamedTuple):
    """Dead events with the same kind of error. ``id`` and ``error`` are of the newest, ``payload_bytes`` its size."""

    group: str
    events: int
    event_types: Sequence[str]
    id: str
    error: str | None
    payload_bytes: int


class SeenPublisher(NamedTuple):
    """A publisher, and how many seconds ago it was seen. ``shards`` is None if that cannot be seen."""

    name: str
    shards: int | None
    seconds: float
    working: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the database shows. ``blocked`` is exact; ``waiting`` describes the oldest pending events only.

    ``sent_lately`` are events that were published within the last minute, and ``newest_sent_s`` is the age of the
    newest of them. ``publishers_known`` is false if the role may not read when one ran last. ``slot_active`` is None if
    Debezium does not publish.
    """

    pending: int = 0
    dead: int = 0
    blocked: int = 0
    oldest_s: float | None = None
    oldest_id: str | None = None
    waiting: Sequence[Waiting] = ()
    dead_groups: Sequence[DeadGroup] = ()
    table_locks: Sequence[Holder] = ()
    publishers: Sequence[SeenPublisher] = ()
    publishers_known: bool = True
    slot_active: bool | None = None
    sent_lately: int = 0
    newest_sent_s: float | None = None

    @property
    def running(self) -> Sequence[SeenPublisher]:
        """The publishers that work or idle now."""
        return [one for one in self.publishers if one.working or one.seconds < SEEN_WITHIN.total_seconds()]

    @property
    def last_seen_s(self) -> float | None:
        """How many seconds ago a publisher was seen last, or None if none was."""
        return min((one.seconds for one in self.publishers), default=None)


@dataclass(frozen=True, slots=True)
class Brokers:
    """What the brokers said. ``stopped`` are event types that cannot be sent, with the reason.

    ``unavailable`` says why they did not answer, ``not_asked`` why nobody could ask them.
    """

    unavailable: str | None = None
    not_asked: str | None = None
    stopped: Mapping[str, str] = field(default_factory=dict)


def causes(evidence: Evidence, brokers: Brokers | None = None) -> tuple[Cause, ...]:
    """Return why events wait, the most pressing cause first. Empty only if no event is dead, blocked or overdue.

    Without ``brokers`` nobody asked them, and the advice says where to ask.
    """
    found = [*_of_publishers(evidence)]
    found += _of_brokers(evidence, brokers)
    found += _of_table_locks(evidence)
    stopped = brokers.stopped if brokers else {}
    ready = [one for one in _overdue(evidence, Reason.READY) if one.event_type not in stopped]
    if ready and all(cause.kind is CauseKind.TOPIC for cause in found):
        found.append(_unexplained(evidence, ready, brokers))
    found += _of_row_locks(evidence)
    found += _of_dead(evidence)
    found += _of_failures(evidence)
    if not found and (evidence.oldest_s or 0) > OVERDUE_AFTER.total_seconds():
        rest = Waiting(Reason.READY, "", evidence.pending, evidence.oldest_s or 0, evidence.oldest_id or "")
        found.append(_unexplained(evidence, [rest], brokers))
    order = [*CauseKind]
    return tuple(sorted(found, key=lambda cause: order.index(cause.kind)))


def _overdue(evidence: Evidence, *reasons: Reason) -> list[Waiting]:
    late = OVERDUE_AFTER.total_seconds()
    return [one for one in evidence.waiting if one.reason in reasons and one.oldest_s > late]


def _sum(waiting: Sequence[Waiting]) -> int:
    return sum(one.events for one in waiting)


def _wait(waiting: Sequence[Waiting]) -> str:
    events = _sum(waiting)
    verb = "has waited for" if events == 1 else "have waited for up to"
    return f"{count(events, 'event')} {verb} {duration(max(one.oldest_s for one in waiting))}"


def _of_publishers(evidence: Evidence) -> Iterator[Cause]:
    """Find out whether any publisher sends the events, and whether several of them exclude each other."""
    waiting = _overdue(evidence, Reason.READY, Reason.FAILING)
    if evidence.slot_active is not None:
        yield from _of_debezium(evidence, waiting)
        return
    if not waiting:
        return
    running = evidence.running
    if not running:
        meaning = f"{_wait(waiting)}. Nothing is lost: a publisher that runs sends them"
        advice = "start the publisher again; until then, publish by hand"
        command = "payctl publish-outbox"
        yield Cause(CauseKind.NO_PUBLISHER, _sum(waiting), _not_seen(evidence), meaning, advice, command)
    counts = {one.shards: one.name for one in running if one.shards is not None}
    if len(counts) > 1:
        said = " and ".join(f"{shards} ({name})" for shards, name in sorted(counts.items()))
        meaning = "publishers with different numbers of shards exclude each other, so they wait for one another"
        yield Cause(
            CauseKind.SHARDS,
            _sum(waiting),
            f"publishers run with different PAYCTL_SHARDS: {said}",
            meaning,
            "give every publisher the same PAYCTL_SHARDS and restart it",
        )


def _not_seen(evidence: Evidence) -> str:
    if evidence.last_seen_s is not None:
        last = min(evidence.publishers, key=lambda one: one.seconds)
        return f"no publisher has been seen for {duration(last.seconds)}; the last one was {last.name}"
    if evidence.publishers_known:
        return "no publisher has ever run on this database"
    return "no publisher is working now, and this role may not read when one ran last"


def _of_debezium(evidence: Evidence, waiting: Sequence[Waiting]) -> Iterator[Cause]:
    if not evidence.slot_active:
        yield Cause(
            CauseKind.DEBEZIUM,
            evidence.pending,
            "Debezium owns this outbox, and no connector reads its slot",
            "no event is published until the connector runs; payctl's publishers refuse to work",
            "start the connector, or take the outbox back",
            "payctl cdc cut-back",
        )
    elif waiting:
        yield Cause(
            CauseKind.DEBEZIUM,
            _sum(waiting),
            f"Debezium publishes this outbox; {_wait(waiting)} to be marked as published",
            "payctl's publishers send nothing; what is in Kafka is marked by a scheduled `payctl cdc mark`",
            None,
            "payctl cdc mark",
        )


def _of_brokers(evidence: Evidence, brokers: Brokers | None) -> Iterator[Cause]:
    waiting = _overdue(evidence, Reason.READY, Reason.FAILING)
    if brokers is None or not waiting or evidence.slot_active is not None:
        return
    if brokers.unavailable:
        meaning = f"{_wait(waiting)}. An unavailable broker uses up no retry"
        advice = "see that the brokers run and can be reached, then look again"
        command = "payctl doctor --only kafka"
        yield Cause(CauseKind.BROKERS, _sum(waiting), brokers.unavailable, meaning, advice, command)
    for event_type, why in brokers.stopped.items():
        stopped = [one for one in waiting if one.event_type == event_type]
        if stopped:
            topic = TOPICS.get(event_type, event_type)
            yield Cause(
                CauseKind.TOPIC,
                _sum(stopped),
                f"topic {topic} takes no message: {why}",
                f"{_wait(stopped)}, of type {event_type}. This uses up no retry",
                f"create {topic}, or grant Write and Describe on it, then look again",
                "payctl doctor --only kafka",
            )


def _of_table_locks(evidence: Evidence) -> Iterator[Cause]:
    for holder in evidence.table_locks:
        meaning = "no event can be claimed, and no callback can be settled, until its transaction ends"
        yield Cause(
            CauseKind.TABLE_LOCK, evidence.pending, f"the table outbox is locked by {holder}", meaning, _end(holder)
        )


def _of_row_locks(evidence: Evidence) -> Iterator[Cause]:
    for one in _overdue(evidence, Reason.LOCKED):
        holder = one.holder or Holder(None, None, None, None, None)
        yield Cause(
            CauseKind.ROW_LOCK,
            one.events,
            f"{count(one.events, 'event')} locked by {holder}",
            f"the oldest is {one.id}; publishers leave locked rows out and try them again",
            _end(holder),
        )


def _end(holder: Holder) -> str:
    if holder.pid is None:
        return "see pg_prepared_xacts; its owner commits it or rolls it back"
    return f"ask its owner to end it, or in psql: SELECT pg_terminate_backend({holder.pid})"


_CODES_OF_SIZE = ("MSG_SIZE_TOO_LARGE", "INVALID_MSG_SIZE", "RECORD_LIST_TOO_LARGE")
_HEADERS = 2_000
"""More bytes than key and headers of a message have."""


def _of_dead(evidence: Evidence) -> Iterator[Cause]:
    blocked = [one for one in evidence.waiting if one.reason is Reason.BLOCKED]
    for group in evidence.dead_groups:
        events = count(group.events, "event")
        verb = "is" if group.events == 1 else "are"
        fact = f"{events} {verb} dead: {group.error or 'no error was recorded'}"
        meaning = "no publisher sends a dead event, and it blocks the later events of its payment"
        advice, command = _of_superseded(group, blocked) or _of_error(group)
        yield Cause(CauseKind.DEAD, group.events, fact, meaning, advice, command)
    named = sum(group.events for group in evidence.dead_groups)
    if evidence.dead > named:
        rest = evidence.dead - named
        fact = f"{count(rest, 'more dead event')} with other errors"
        yield Cause(CauseKind.DEAD, rest, fact, "each blocks the later events of its payment", None, "payctl errors")
    if blocked:
        yield _of_blocked(evidence, blocked)


_RELEASE = "let the success pass", "payctl publish-outbox --on-dead release"


def _of_superseded(group: DeadGroup, blocked: Sequence[Waiting]) -> tuple[str, str] | None:
    """Return how to go on if the group is failures that a success behind them supersedes."""
    superseded = {one.blocker_type for one in blocked if _is_superseded(one)}
    return _RELEASE if superseded and superseded >= {*group.event_types} else None


def _of_error(group: DeadGroup) -> tuple[str, str]:
    """Return what to do before a replay, and the replay. An event that must die again is not replayed."""
    code = (group.error or "").partition(":")[0]
    replay = shlex.join(["payctl", "replay", "--failed", "--error-group", group.group])
    show = shlex.join(["payctl", "show", group.id])
    topics = ", ".join(sorted({TOPICS.get(name, name) for name in group.event_types}))
    if code in _CODES_OF_SIZE and group.payload_bytes + _HEADERS > LARGEST_MESSAGE:
        largest = f"{size(group.payload_bytes)}, and payctl sends at most {size(LARGEST_MESSAGE)}"
        return f"do not replay: the payload has {largest}; see which payment it is", show
    if code in _CODES_OF_SIZE:
        return f"raise max.message.bytes of {topics} to {size(group.payload_bytes + _HEADERS)} or more, then", replay
    if any(name not in TOPICS for name in group.event_types):
        return f"do not replay: no topic is known for {topics}; see who wrote it", show
    return "remove the cause, then", replay


def _of_blocked(evidence: Evidence, blocked: Sequence[Waiting]) -> Cause:
    oldest = max(blocked, key=lambda one: one.oldest_s)
    events = max(evidence.blocked, _sum(blocked))
    if events == 1:
        fact = f"event {oldest.id} waits behind dead event {oldest.blocker} of its payment"
    else:
        fact = f"{events:,} events wait behind a dead event of their payment; {oldest.id} waits behind {oldest.blocker}"
    if _is_superseded(oldest):
        meaning = f"the dead {oldest.blocker_type} is superseded by the success behind it: do not replay it"
        return Cause(CauseKind.BLOCKED, events, fact, meaning, *_RELEASE)
    meaning = "an event is sent only after the earlier events of its payment"
    command = shlex.join(["payctl", "show", oldest.blocker or ""])
    return Cause(CauseKind.BLOCKED, events, fact, meaning, "deal with the dead event first", command)


def _is_superseded(blocked: Waiting) -> bool:
    return blocked.event_type == "PAYMENT_COMPLETED" and blocked.blocker_type in {"PAYMENT_FAILED", "PAYMENT_CANCELLED"}


def _of_failures(evidence: Evidence) -> Iterator[Cause]:
    failing = _overdue(evidence, Reason.FAILING)
    if failing and evidence.running and evidence.slot_active is None:
        oldest = max(failing, key=lambda one: one.oldest_s)
        fact = f"{_wait(failing)}, and failed: {oldest.error or 'no error was recorded'}"
        meaning = f"the oldest is {oldest.id}; the publisher tries it again until it is out of retries"
        command = shlex.join(["payctl", "show", oldest.id])
        yield Cause(CauseKind.FAILING, _sum(failing), fact, meaning, "see its payment", command)
    not_due = [one for one in evidence.waiting if one.reason is Reason.NOT_DUE]
    if not_due:
        events = _sum(not_due)
        soonest = min(not_due, key=lambda one: one.due_in_s or 0)
        when = duration(max(0.0, soonest.due_in_s or 0))
        fact = f"{count(events, 'event')} failed and {'waits' if events == 1 else 'wait'} for the next retry in {when}"
        meaning = f"the last error of {soonest.id}: {soonest.error or 'none was recorded'}"
        command = shlex.join(["payctl", "show", soonest.id])
        yield Cause(CauseKind.NOT_DUE, events, fact, meaning, None, command)


def _alive(evidence: Evidence) -> str:
    if not evidence.running:
        return "nothing shows whether a publisher runs"
    one = evidence.running[0]
    return f"{one.name} is working" if one.working else f"{one.name} was seen {duration(one.seconds)} ago"


def _unexplained(evidence: Evidence, ready: Sequence[Waiting], brokers: Brokers | None) -> Cause:
    """Return what is left to say of overdue events: a publisher works them off, or no known cause was found."""
    events = _sum(ready)
    oldest = max(ready, key=lambda one: one.oldest_s)
    newest_sent = evidence.newest_sent_s
    overtaken = newest_sent is not None and newest_sent < oldest.oldest_s - OVERDUE_AFTER.total_seconds()
    working = bool(evidence.sent_lately) or any(one.working for one in evidence.publishers)
    if evidence.slot_active is None and evidence.running and working and not overtaken:
        fact = f"{_wait(ready)}; a publisher is working through them"
        meaning = "events are sent in the order of their creation; watch that the backlog shrinks"
        return Cause(CauseKind.BACKLOG, events, fact, meaning, None, "payctl stats -w")
    if brokers is None:
        fact = f"{_wait(ready)}, and the database does not show why"
        meaning = f"{_alive(evidence)}, no row of them is locked, and nothing blocks them"
        return Cause(CauseKind.UNKNOWN, events, fact, meaning, "ask the brokers too", "payctl doctor")
    fact = f"{_wait(ready)}, and no known cause was found"
    topics = f"the brokers were not asked: {brokers.not_asked}" if brokers.not_asked else "its topics take messages"
    meaning = f"{_alive(evidence)}, {topics}, no row of them is locked, and nothing blocks them"
    command = shlex.join(["payctl", "show", oldest.id])
    return Cause(CauseKind.UNKNOWN, events, fact, meaning, "read the publisher's log; the oldest event is", command)
