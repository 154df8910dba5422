"""Define types for causes of waiting and their evidence. Ages and waits are seconds by the database's clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from ticketbottle_payctl.formats import duration

OVERDUE_AFTER = timedelta(minutes=2)
"""An event that is pending for longer is overdue. A running publisher sends an event within seconds."""

WAITS_AFTER = timedelta(seconds=10)
"""If an event that could be sent is pending for longer, payctl asks whether a publisher is working."""

SEEN_WITHIN = timedelta(seconds=90)
"""A publisher that was seen within this time counts as running. A running publisher reports every 30 seconds."""


class CauseKind(StrEnum):
    """The kinds of causes, most urgent first."""

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
    SUPERSEDED = "superseded"


class Command(NamedTuple):
    """A payctl command that helps. ``changes`` is true if it changes data, in about ``rows`` rows."""

    verb: tuple[str, ...]
    operands: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    changes: bool = False
    rows: int = 1


class Cause(NamedTuple):
    """One cause of waiting: the number of events, the fact, its meaning, and the advice.

    If there is a ``command`` too, the operator follows ``advice`` before running it.
    """

    kind: CauseKind
    events: int
    fact: str
    meaning: str
    advice: str | None = None
    command: Command | None = None

    @property
    def ends_by_itself(self) -> bool:
        """Whether the events will be sent without action by the operator."""
        return self.kind in {CauseKind.NOT_DUE, CauseKind.BACKLOG}

    @property
    def is_harmless(self) -> bool:
        """Whether no customer waits because of it."""
        return self.kind is CauseKind.SUPERSEDED


class Reason(StrEnum):
    """The reason why a pending event waits, as its row shows it."""

    BLOCKED = "blocked"
    LOCKED = "locked"
    NOT_DUE = "not_due"
    FAILING = "failing"
    READY = "ready"


class Holder(NamedTuple):
    """A session that holds a lock, and the age of its transaction. A field is None if the role may not see it."""

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
    """Pending events of one type that wait for the same reason. ``id`` is the oldest of them.

    ``blocker`` is the earlier event of the same payment that blocks the oldest one, with its type and error.
    ``due_in_s`` is the time until the first of them is retried.
    ``order_code`` is of the oldest one's payment, or None if its payload has none.
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
    order_code: str | None = None


class DeadGroup(NamedTuple):
    """Dead events with the same kind of error. ``id``, ``error`` and ``payload_bytes`` describe the newest of them.

    ``superseded`` counts those that a replay leaves out, because their payments are COMPLETED now.
    """

    group: str
    events: int
    event_types: Sequence[str]
    id: str
    error: str | None
    payload_bytes: int
    superseded: int = 0


class SeenPublisher(NamedTuple):
    """A publisher and the time since it was last seen. ``shards`` is None if the number is not known.

    ``ended`` is true if it shut down normally.
    """

    name: str
    shards: int | None
    seconds: float
    working: bool = False
    ended: bool = False

    def __str__(self) -> str:
        """Return the publisher's name and when it was last seen."""
        if self.working:
            return f"{self.name} is working"
        ago = f"{duration(self.seconds)} ago"
        return f"{self.name} ended {ago}" if self.ended else f"{self.name} was seen {ago}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The facts that the database shows about waiting events.

    ``blocked`` is exact. ``superseded`` counts the dead events whose payment is COMPLETED now, and
    ``superseded_ids`` and ``superseded_orders`` name the oldest of them; 0 if the role may not read the payments.
    ``waiting`` describes only the oldest pending events; ``sampled`` is true if there are more. ``sent_lately``
    counts events that were published within the last minute. ``newest_sent_s`` is the age of the newest event that
    was published within the last minute, and ``last_sent_s`` the time since the last one was published.
    ``publishers_known`` is false if the role may not read when the last publisher ran. ``slot_active`` is None if
    Debezium does not publish.
    """

    pending: int = 0
    dead: int = 0
    blocked: int = 0
    superseded: int = 0
    superseded_ids: Sequence[str] = ()
    superseded_orders: Sequence[str | None] = ()
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
    last_sent_s: float | None = None
    sampled: bool = False

    @property
    def running(self) -> Sequence[SeenPublisher]:
        """The publishers that work now or were seen recently, such as scheduled ones between two runs."""
        return [one for one in self.publishers if one.working or one.seconds < SEEN_WITHIN.total_seconds()]

    @property
    def last_seen_s(self) -> float | None:
        """The time since any publisher was last seen, or None if no publisher was ever seen."""
        return min((one.seconds for one in self.publishers), default=None)


@dataclass(frozen=True, slots=True)
class Brokers:
    """The brokers' answers. ``stopped`` maps each event type that cannot be sent to the reason.

    ``unavailable`` is the reason why the brokers did not answer. ``not_asked`` is the reason why payctl could not ask
    them.
    """

    unavailable: str | None = None
    not_asked: str | None = None
    stopped: Mapping[str, str] = field(default_factory=dict)
