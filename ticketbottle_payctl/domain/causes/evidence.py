"""Define the evidence from which causes are derived. Ages and waiting times are in seconds, in database time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from ticketbottle_payctl.formats import duration

OVERDUE_AFTER = timedelta(minutes=2)
"""The age at which a pending event becomes overdue. A running publisher sends events within seconds."""

WAITS_AFTER = timedelta(seconds=10)
"""If an event that could be sent is older than this, probably no publisher is active."""

USED_WITHIN = timedelta(seconds=5)
"""An idle publisher whose session was used within this time is active.

An idle publisher uses its session about once a second.
"""

SEEN_WITHIN = timedelta(seconds=90)
"""How long a publisher counts as running after its last report, unless it reported that it has ended.

A running publisher reports every 30 s.
"""


RESCANNED_WITHIN = timedelta(seconds=35)
"""How long a running publisher can take to find a requeued event.

A running publisher looks at old events every 30 s, and then needs a moment to send them.
"""


class Reason(StrEnum):
    """The reasons for which a pending event can wait, as its row shows them.

    ``BEHIND_FAILING`` events have not failed, but an earlier event of their payment has. The last attempt to send
    ``UNANSWERED`` events ended with an error that used up no retry, for example because the brokers did not answer.
    """

    BLOCKED = "blocked"
    LOCKED = "locked"
    NOT_DUE = "not_due"
    FAILING = "failing"
    BEHIND_FAILING = "behind_failing"
    UNANSWERED = "unanswered"
    READY = "ready"


SENDABLE = (Reason.READY, Reason.UNANSWERED, Reason.FAILING, Reason.BEHIND_FAILING)
"""A pending event with one of these reasons is waiting for a publisher."""


class Holder(NamedTuple):
    """A session that holds a lock, and the age of its transaction in seconds.

    A field is None if the role is not allowed to see its value.
    """

    pid: int | None
    application: str | None
    user: str | None
    state: str | None
    seconds: float | None

    def __str__(self) -> str:
        """Return a description of the session on one line."""
        if self.pid is None:
            return "a prepared transaction"
        name = f"pid {self.pid}, {self.application or 'unnamed'}"
        name += f" as {self.user}" if self.user else ""
        name += f", {self.state}" if self.state else ""
        return name + (f", for {duration(self.seconds)}" if self.seconds is not None else "")


class Waiting(NamedTuple):
    """A group of pending events of one type that are waiting for the same reason. ``id`` is the oldest event's id.

    ``blocker`` is the earlier event of the same payment that the oldest event waits for. ``error`` is the last error of
    the oldest event or of an earlier event of its payment. ``due_in_s`` is the number of seconds until the group's
    first retry. ``order_code`` is the order code of the oldest event, or None if the event's payload does not contain
    one.

    ``requeued_s`` is the number of seconds since a replay requeued the oldest event or an earlier pending event of its
    payment. This number is None if there was no replay or the role is not allowed to read replays. ``failed`` counts
    the events that have used up a retry, or that wait behind such an event.
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
    requeued_s: float | None = None
    failed: int = 0

    @property
    def awaits_rescan(self) -> bool:
        """Whether it is possible that a running publisher has not looked at the oldest event since its replay."""
        return self.requeued_s is not None and self.requeued_s < RESCANNED_WITHIN.total_seconds()


class DeadGroup(NamedTuple):
    """A group of dead events with the same kind of error.

    ``id`` and ``error`` describe one open event, and ``event_types`` are the types of the open events. A replay leaves
    out three kinds of events. ``superseded`` counts the superseded events, and the closed events of an unknown type.
    ``unknown`` counts the open events of an unknown type. ``too_large`` counts the events that are larger than payctl
    sends. ``message_bytes`` is the size of the largest message that Kafka refused and that a replay would send. If
    there is no such message, it is the size of the largest message that is too large, or of the described event's
    message. ``replay_types`` are the types of the events that a replay would send. ``blocking`` counts the superseded
    events that block a pending event of their payment. ``closed`` counts the events that a person has closed.
    ``repeated`` counts the harmless events that repeat a sent success, which a replay does not leave out.
    """

    group: str
    events: int
    event_types: Sequence[str]
    id: str
    error: str | None
    message_bytes: int
    superseded: int
    unknown: int
    blocking: int
    too_large: int
    closed: int
    repeated: int
    replay_types: Sequence[str] = ()

    @property
    def replayable(self) -> int:
        """The number of events that a replay does not leave out."""
        return self.events - self.superseded - self.unknown - self.too_large

    @property
    def harmless(self) -> int:
        """The number of events that no customer waits for, and that block no pending event."""
        return self.superseded + self.repeated - self.blocking


class PaidOrders(NamedTuple):
    """The number of paid orders that wait for a ticket because of a dead event.

    ``oldest`` contains the order codes of at most three of them, or the ids of their events. ``unknown`` counts the
    orders without a success event, whose dead event has an unknown type.
    """

    number: int = 0
    oldest: Sequence[str] = ()
    unknown: int = 0


NO_PAID_ORDERS = PaidOrders()
"""The value if no paid order waits because of a dead event."""


class LateFailures(NamedTuple):
    """The pending failure events of COMPLETED payments, if no success event waits behind them.

    ``id`` is the id of the oldest of these events. ``order_code`` is None if the event's payload has no order code. If
    ``blocked`` is true, an earlier event of its payment is dead.
    """

    number: int = 0
    id: str = ""
    order_code: str | None = None
    blocked: bool = False


NO_LATE_FAILURES = LateFailures()
"""The value if no pending failure event would take the tickets of a paid order."""


class SeenPublisher(NamedTuple):
    """A publisher, and the number of seconds since it was last seen.

    ``shards`` is None if the number of shards is not known. ``ended`` is True if the publisher has shut down normally.
    ``without_brokers`` is the error of a publisher that could not reach its brokers when it was last seen.
    """

    name: str
    shards: int | None
    seconds: float
    working: bool = False
    ended: bool = False
    without_brokers: str | None = None

    def __str__(self) -> str:
        """Return the publisher's name and when it was last seen."""
        if self.working:
            return f"{self.name} is working"
        ago = f"{duration(self.seconds)} ago"
        if self.without_brokers:
            return f"{self.name} could not reach its brokers {ago}"
        return f"{self.name} ended {ago}" if self.ended else f"{self.name} was seen {ago}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the database shows about waiting events.

    ``waiting`` describes only the oldest pending events, and ``sampled`` is True if more pending events exist.
    ``blocked`` counts all blocked events. ``superseded`` counts the dead events that no customer waits for. An event of
    an unknown type counts only if a person has closed it. The number is 0 if the role is not allowed to read the
    payments. ``superseded_blocking`` counts the superseded events that block a pending event of their payment. The
    other superseded events are harmless, and ``superseded_closed`` counts the harmless events that a person has closed.
    ``superseded_ids`` and ``superseded_orders`` are the ids and order codes of the oldest harmless events that are not
    closed. ``superseded_repeated`` counts the open harmless events that repeat a sent success. ``paid_orders`` are the
    paid orders that wait for a ticket because of a dead event. ``late_failures`` are the pending failure events
    that would take the tickets of paid orders.

    ``sent_lately`` counts the events published within the last minute, and ``newest_sent_s`` is the age of the newest
    of these events. ``last_sent_s`` is the time since an event was last published. ``publishers_known`` is False if the
    role is not allowed to read when publishers were last seen. ``slot_active`` says whether a connector reads from
    Debezium's slot. The value is None if Debezium does not publish the outbox.
    """

    pending: int = 0
    dead: int = 0
    blocked: int = 0
    superseded: int = 0
    superseded_blocking: int = 0
    superseded_closed: int = 0
    superseded_repeated: int = 0
    superseded_ids: Sequence[str] = ()
    superseded_orders: Sequence[str | None] = ()
    paid_orders: PaidOrders = NO_PAID_ORDERS
    late_failures: LateFailures = NO_LATE_FAILURES
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
    def harmless(self) -> int:
        """The number of dead events that no customer waits for, and that block no pending event."""
        return self.superseded - self.superseded_blocking

    @property
    def running(self) -> Sequence[SeenPublisher]:
        """The publishers that are active, or were seen recently and have not ended."""
        return [one for one in self.lately if not one.ended]

    @property
    def lately(self) -> Sequence[SeenPublisher]:
        """The publishers that are active, were seen recently, or ended recently and may run again."""
        return [one for one in self.publishers if one.working or one.seconds < SEEN_WITHIN.total_seconds()]

    @property
    def last_seen_s(self) -> float | None:
        """The number of seconds since any publisher was last seen, or None if no publisher was ever seen."""
        return min((one.seconds for one in self.publishers), default=None)


@dataclass(frozen=True, slots=True)
class Brokers:
    """The result of checking the brokers. ``stopped`` gives the reason for each event type that cannot be sent.

    ``unavailable`` is the reason why the brokers did not answer. ``not_asked`` is the reason why payctl could not check
    the brokers.
    """

    unavailable: str | None = None
    not_asked: str | None = None
    stopped: Mapping[str, str] = field(default_factory=dict)
