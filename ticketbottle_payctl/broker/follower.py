"""Read the events in Kafka. Each read begins where the previous read ended.

The position is stored in Kafka as the offsets of a consumer group. A reader does not join the group, so two readers can
read at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ticketbottle_payctl.broker.range_reader import Place, RangeReader, Received

_TIMEOUT = 10.0


class Seen(NamedTuple):
    """The id of an event in Kafka, with the topic and timestamp (UTC) of its record."""

    event_id: str
    topic: str
    at: datetime


class Follower:
    """A reader of ``topics`` that stores its position as the offsets of ``group``. The reader connects on first use.

    Every method raises BrokerUnavailableError if no broker answers, and BrokerRefusedError if the brokers refuse the
    connection. Every method raises ConfigError if the user is not allowed to use the group or to read a topic.
    """

    def __init__(self, config: Mapping[str, Any], group: str, topics: Sequence[str]) -> None:
        self._reader = RangeReader(config, group, _TIMEOUT)
        self._topics = topics

    def begin_at_end(self) -> None:
        """Skip the records that are in the topics now. The next read begins after these records."""
        self._reader.commit({place: end for place, (_, end) in self._bounds().items()})

    def open(self) -> None:
        """Begin a read at the stored position, or at the oldest record if no position is stored.

        The read ends at each topic's current end.
        """
        self._reader.stop()
        bounds = {place: (oldest, end) for place, (oldest, end) in self._bounds().items() if end > oldest}
        stored = self._reader.committed(bounds)
        # Retention may have deleted the record at the stored position.
        ranges = {place: (max(stored[place] or oldest, oldest), end) for place, (oldest, end) in bounds.items()}
        self._reader.start(ranges)

    def read(self, limit: int) -> list[Seen]:
        """Return the next events in no particular order. An empty list means that the read has reached the end.

        If no record arrives for 10 seconds before the end is reached, raise BrokerUnavailableError.
        """
        seen: list[Seen] = []
        while self._reader.unread and len(seen) < limit:
            records = self._reader.read(limit - len(seen), _TIMEOUT)
            if not records and self._reader.unread:
                raise self._reader.unavailable()
            seen += [found for found in map(_seen, records) if found is not None]
        return seen

    def keep(self) -> None:
        """Store the position. Call this after committing the changes for the events that were read."""
        self._reader.commit(self._reader.positions)

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()

    def _bounds(self) -> dict[Place, tuple[int, int]]:
        return self._reader.bounds([place for topic in self._topics for place in self._reader.places(topic)])


def _seen(record: Received) -> Seen | None:
    event_id = record.header.get("id")
    if event_id is None:
        return None
    return Seen(event_id.decode(errors="replace"), record.topic, record.at)
