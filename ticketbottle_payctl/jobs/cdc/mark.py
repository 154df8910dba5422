"""Find out from Kafka which events Debezium has sent, and mark them in the outbox.

Debezium does not write to the outbox table. Without this job, the events that Debezium has sent would stay pending. The
cleanup would never delete them, and the next publisher would send them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TypedDict

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.broker.follower import Follower, Seen
from ticketbottle_payctl.errors import GuardError
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import cdc
from ticketbottle_payctl.store.outbox.debezium_names import UNROUTABLE
from ticketbottle_payctl.store.payctl.run_lifecycle import Unrecorded

LIMITS = Limits(statement=timedelta(seconds=30), lock=timedelta(seconds=5))
BATCH = 5000
_UNROUTABLE = f"UNKNOWN_EVENT_TYPE: Debezium sent it to {UNROUTABLE}"


class MarkCounts(TypedDict):
    """The counts of a marking run."""

    marked: Count
    """The number of rows marked as published."""
    dead: Count
    """The number of events that became dead because their type is unknown."""
    read: Count
    """The number of messages read from Kafka."""
    pending: Count
    """The number of events that are still pending after this run."""


@dataclass(frozen=True, slots=True)
class MarkReport:
    """The result of a marking run.

    ``read`` is the number of messages read from Kafka. ``marked`` is the number of rows that this run marked as
    published. ``dead`` is the number of events that became dead. ``pending`` is the number of events that are still
    pending. ``unrecorded`` says what could not be recorded about the run.
    """

    read: int
    marked: int
    dead: int
    pending: int
    dry_run: bool = False
    run_id: str | None = None
    unrecorded: Unrecorded | None = None

    @property
    def counts(self) -> MarkCounts:
        """The counts, under the field names of the JSON output."""
        return {"marked": self.marked, "dead": self.dead, "read": self.read, "pending": self.pending}


def cdc_mark(engine: Engine, follower: Follower, max_retries: int, *, dry_run: bool = False) -> MarkReport:
    """Mark the events that are in Kafka as published. Repeated calls are harmless.

    An event in the ``payment.unroutable`` topic becomes dead, as it would with payctl's own publisher.

    Raises:
        GuardError: Debezium is not publishing this outbox.
        BrokerUnavailableError, DatabaseUnavailableError: the rows that this call has already marked stay marked.
    """
    with transaction(engine, LIMITS, commit=False) as connection:
        if cdc.slot(connection) is None:
            message = "there is no replication slot: Debezium is not publishing this outbox"
            raise GuardError(message, hint="`payctl publish-outbox` marks the events that it sends")
    return mark_all(engine, follower, max_retries, dry_run=dry_run)


def mark_all(engine: Engine, follower: Follower, max_retries: int, *, dry_run: bool) -> MarkReport:
    """Read the topics to the end, and mark the events in batches.

    The offsets of a batch are committed to Kafka only after its events are marked in the database.
    """
    read = marked = dead = 0
    follower.open()
    while seen := follower.read(BATCH):
        with transaction(engine, LIMITS, commit=not dry_run) as connection:
            published, unroutable = _mark(connection, seen, max_retries)
        if not dry_run:
            follower.keep()
        read, marked, dead = read + len(seen), marked + published, dead + unroutable
    with transaction(engine, LIMITS, commit=False) as connection:
        return MarkReport(read, marked, dead, cdc.count_pending(connection, max_retries), dry_run)


def _mark(connection: Connection, seen: list[Seen], max_retries: int) -> tuple[int, int]:
    routed = [cdc.Marked(one.event_id, one.at.astimezone(UTC).replace(tzinfo=None)) for one in seen if _is_routed(one)]
    lost = [one.event_id for one in seen if not _is_routed(one)]
    published = cdc.mark_published(connection, routed) if routed else 0
    return published, cdc.mark_dead(connection, lost, max_retries, _UNROUTABLE) if lost else 0


def _is_routed(seen: Seen) -> bool:
    return seen.topic != UNROUTABLE
