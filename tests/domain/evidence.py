"""Define evidence about pending and dead events for the tests of causes."""

from __future__ import annotations

from ticketbottle_payctl.domain.causes import (
    OVERDUE_AFTER,
    WAITS_AFTER,
    Brokers,
    DeadGroup,
    Evidence,
    Holder,
    Reason,
    SeenPublisher,
    Waiting,
)
from ticketbottle_payctl.formats import command_line

LATE = OVERDUE_AFTER.total_seconds() + 60
COMPLETED, FAILED = "PAYMENT_COMPLETED", "PAYMENT_FAILED"
IDLES = SeenPublisher("host:12", 1, 20.0)
ENDED = IDLES._replace(ended=True)
CUT_OFF = SeenPublisher("host:12", 1, 4.0, without_brokers="Kafka at b:9092 is not available")
GONE = SeenPublisher("host:12", 1, 720.0)
WORKS = SeenPublisher("pid 7, payctl publish-outbox", 1, 0.0, working=True)
OTHER = SeenPublisher("host:99", 4, 20.0)
READY = Waiting(Reason.READY, COMPLETED, 3, LATE, "e1")
YOUNG = READY._replace(oldest_s=WAITS_AFTER.total_seconds() + 1)
FAILING = Waiting(Reason.FAILING, COMPLETED, 2, LATE, "e2", error="INVALID_REQUEST: no")
BEHIND = Waiting(Reason.BEHIND_FAILING, FAILED, 1, LATE, "e6", error="INVALID_REQUEST: no", blocker="e2")
UNANSWERED = Waiting(Reason.UNANSWERED, COMPLETED, 2, LATE, "e7", error="_MSG_TIMED_OUT: Local: Message timed out")
NOT_DUE = Waiting(Reason.NOT_DUE, COMPLETED, 1, LATE, "e3", error="INVALID_REQUEST: no", due_in_s=95.0)
LOCKED = Waiting(
    Reason.LOCKED, COMPLETED, 1, LATE, "e4", holder=Holder(4711, "psql", "minh", "idle in transaction", 90)
)
BLOCKED = Waiting(Reason.BLOCKED, COMPLETED, 1, 5.0, "e5", blocker="d1", blocker_type=COMPLETED)
SUPERSEDED = BLOCKED._replace(blocker_type=FAILED, error="MSG_SIZE_TOO_LARGE: Broker: Message size too large")
TOO_LARGE = DeadGroup(
    *("0a1b2c3d", 1, [COMPLETED], "d1", "MSG_SIZE_TOO_LARGE: Broker: Message size too large", 2_000),
    superseded=0, unknown=0, blocking=0, too_large=0, closed=0, repeated=0,
)  # fmt: skip
OLD_FAILURE = TOO_LARGE._replace(event_types=[FAILED], superseded=1)
IN_THE_WAY = OLD_FAILURE._replace(blocking=1)
NO_TOPIC = Brokers(stopped={COMPLETED: "Broker: Unknown topic or partition"})
AWAY = Brokers(unavailable="Kafka at b:9092 is not available")
ANSWERED = Brokers()
NOT_LOCKED = "and no row lock or dead event is in the way"


def seen(*waiting, **facts):
    """Return evidence with these pending events and these other facts."""
    pending = sum(one.events for one in waiting)
    oldest = max((one.oldest_s for one in waiting), default=None)
    return Evidence(**{"pending": pending, "oldest_s": oldest, "oldest_id": "e1", "waiting": waiting, **facts})


def typed(command):
    """Return the command as an operator types it."""
    return command_line(command.verb, command.operands, command.options)
