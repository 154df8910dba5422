"""The evidence of why events wait, and a cause. Ages and waits are seconds by the database's clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from ticketbottle_payctl.formats import duration

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


class Command(NamedTuple):
    """A command of payctl that helps. ``changes`` says that it changes something, in about ``rows`` rows."""

    verb: tuple[str, ...]
    operands: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    changes: bool = False
    rows: int = 1


class Cause(NamedTuple):
    """A cause: how many events it concerns, what was found, what that means, and what to do.

    ``advice`` is in words. If there is a ``command`` too, the advice comes first.
    """

    kind: CauseKind
    events: int
    fact: str
    meaning: str
    advice: str | None = None
    command: Command | None = None

    @property
    def ends_by_itself(self) -> bool:
        """Whether the events will be sent without help."""
        return self.kind in {CauseKind.NOT_DUE, CauseKind.BACKLOG}


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
    """A publisher, and how many seconds ago it was seen. ``shards`` is None if that cannot be seen.

    ``ended`` says that it ended in order at that moment.
    """

    name: str
    shards: int | None
    seconds: float
    working: bool = False
    ended: bool = False

    def __str__(self) -> str:
        """Return its name, and when it was seen."""
        if self.working:
            return f"{self.name} is working"
        ago = f"{duration(self.seconds)} ago"
        return f"{self.name} ended {ago}" if self.ended else f"{self.name} was seen {ago}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the database shows.

    ``blocked`` is exact. ``waiting`` describes the oldest pending events only; ``sampled`` says that there are more.
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
    sampled: bool = False

    @property
    def running(self) -> Sequence[SeenPublisher]:
        """The publishers that work or idle now, or ended just now: a schedule starts the next one."""
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
