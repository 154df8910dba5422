"""Decide whether payctl would have found an event's record if it were in Kafka.

The rules compare only records from the same partition, because clocks differ. Kafka deletes a partition's oldest
records first. So if a partition still contains an event's record, the partition also contains all later records. If
partitions were added to the topic, the event's key may have belonged to a different partition before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from ticketbottle_payctl.broker.partition import possible_partitions
from ticketbottle_payctl.broker.range_reader import Place
from ticketbottle_payctl.broker.window import Copy, PartitionRead, Window
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.store.outbox.sent_events import SentEvent

SLACK = timedelta(minutes=10)
"""The largest tolerated difference between the database's clock and the records' clock."""
_NEVER = datetime.max.replace(tzinfo=UTC)


class Unjudged(StrEnum):
    """The reasons why payctl cannot tell whether a missing event is lost."""

    UNKNOWN_TYPE = "unknown_type"
    TOPIC_MISSING = "topic_missing"
    TOPIC_EMPTY = "topic_empty"
    TOO_OLD = "too_old"
    RECORD_LIMIT = "record_limit"
    UNREADABLE = "unreadable"
    DEADLINE = "deadline"
    GAPS = "gaps"
    OPEN_TRANSACTION = "open_transaction"


class Coverage:
    """The state of the topics after payctl has read them.

    For each partition, it contains a time after which payctl has read every record.
    """

    def __init__(self, window: Window, events: Mapping[str, SentEvent], copies: Mapping[str, Sequence[Copy]]) -> None:
        self._partitions = window.partitions
        self._known = _known_since(window, events, copies)
        self._born = {
            topic: min((self._known[topic, number] for number in range(len(reads))), default=_NEVER)
            for topic, reads in window.partitions.items()
        }
        self._empty = {
            topic: all(each.first_at is None and not each.oldest and each.unread is None for each in reads)
            for topic, reads in window.partitions.items()
        }

    def why_unjudged(self, event: SentEvent, sent_at: datetime | None = None) -> Unjudged | None:
        """Return why the topic might contain a record of this event that payctl could not read, or None.

        None means that payctl would have found a record that was sent at ``sent_at`` (UTC). If ``sent_at`` is None, the
        time when the event was published applies.
        """
        topic = TOPICS.get(event.event_type)
        if topic is None:
            return Unjudged.UNKNOWN_TYPE
        reads = self._partitions.get(topic, ())
        if not reads:
            return Unjudged.TOPIC_MISSING
        if self._empty[topic]:
            return Unjudged.TOPIC_EMPTY
        at = sent_at or event.published_at
        known = (number for number in range(len(reads) - 1, -1, -1) if self._existed(topic, number, reads[number], at))
        fewest = 1 + next(known, 0)
        for number in possible_partitions(event.key.encode(), len(reads), at_least=fewest):
            reason = self._unknown(topic, number, at)
            if reason is not None:
                return reason
        return None

    def _unknown(self, topic: str, number: int, at: datetime) -> Unjudged | None:
        """Return why payctl cannot tell whether this partition contains a record sent at ``at``, or None if it can."""
        read = self._partitions[topic][number]
        if read.unread is not None:
            return Unjudged(read.unread.value)
        # If the partition begins at offset 0, no record was deleted, but the topic may have been created again.
        known = self._known[topic, number] if read.begin else self._born[topic]
        if at >= known:
            return None
        return Unjudged.RECORD_LIMIT if read.begin > read.oldest else Unjudged.TOO_OLD

    def _existed(self, topic: str, number: int, read: PartitionRead, at: datetime) -> bool:
        """Return whether older records prove that the partition existed at ``at``."""
        return bool(read.oldest) or self._known[topic, number] <= at


def _known_since(
    window: Window, events: Mapping[str, SentEvent], copies: Mapping[str, Sequence[Copy]]
) -> Mapping[Place, datetime]:
    """Return a time, in database time, for each partition.

    payctl has read every record that was sent to the partition after this time.
    """
    known: defaultdict[Place, datetime] = defaultdict(lambda: _NEVER)
    behind = _behind(events, copies)
    for topic, reads in window.partitions.items():
        for number, read in enumerate(reads):
            if read.first_at is not None:
                known[topic, number] = read.first_at + SLACK + behind
    for event_id, found in copies.items():
        published_at = events[event_id].published_at
        for copy in found:
            place = (copy.topic, copy.partition)
            if copy.at - SLACK <= published_at:  # a replay's record was sent much later, so it does not count
                known[place] = min(known[place], published_at)
    return known


def _behind(events: Mapping[str, SentEvent], copies: Mapping[str, Sequence[Copy]]) -> timedelta:
    """Return how far the records' clock is behind the database's clock.

    A publisher marks a row just after it has sent the record. Therefore the smallest difference between the two
    timestamps is the difference between the clocks.
    """
    lags = (events[event_id].published_at - max(copy.at for copy in found) for event_id, found in copies.items())
    return max(min(lags, default=timedelta(0)), timedelta(0))
