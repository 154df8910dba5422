"""Define a cause: a reason why events are waiting, and what the operator can do about it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class CauseKind(StrEnum):
    """The kinds of causes, most urgent first."""

    LATE_FAILURE = "late_failure"
    DEBEZIUM = "debezium"
    BROKERS = "brokers"
    NO_PUBLISHER = "no_publisher"
    BETWEEN_RUNS = "between_runs"
    TOPIC = "topic"
    TABLE_LOCK = "table_lock"
    ROW_LOCK = "row_lock"
    SHARDS = "shards"
    NO_TICKET = "no_ticket"
    DEAD = "dead"
    BLOCKED = "blocked"
    FAILING = "failing"
    NOT_DUE = "not_due"
    BACKLOG = "backlog"
    RESCAN = "rescan"
    UNKNOWN = "unknown"
    SUPERSEDED = "superseded"


class Command(NamedTuple):
    """A payctl command that the operator can run.

    ``changes`` is True if the command changes data, in about ``rows`` rows.
    """

    verb: tuple[str, ...]
    operands: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    changes: bool = False
    rows: int = 1


class Cause(NamedTuple):
    """A reason why events are waiting, with the observed fact, its meaning, and the advice.

    ``events`` is the number of waiting events. If ``advice`` and a ``command`` or an ``sql`` statement are given, the
    operator must follow ``advice`` first.
    """

    kind: CauseKind
    events: int
    fact: str
    meaning: str
    advice: str | None = None
    command: Command | None = None
    sql: str | None = None

    @property
    def ends_by_itself(self) -> bool:
        """Whether the events will be sent without any action by the operator, if a publisher is scheduled."""
        return self.kind in {CauseKind.NOT_DUE, CauseKind.BACKLOG, CauseKind.RESCAN, CauseKind.BETWEEN_RUNS}

    @property
    def is_harmless(self) -> bool:
        """Whether no customer is waiting because of this cause."""
        return self.kind is CauseKind.SUPERSEDED
