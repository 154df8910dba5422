"""Find the records of one event in its topic within a time range."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ticketbottle_payctl.broker.partition import possible_partitions
from ticketbottle_payctl.broker.range_reader import RangeReader, Received
from ticketbottle_payctl.broker.spans import spans_since

_TIMEOUT = 3.0
_BATCH = 500


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """An event, with the earliest and latest time (UTC) at which it may have been sent."""

    topic: str
    key: str
    event_id: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Search:
    """The records that were found, oldest first, and the key's partition.

    ``complete`` is False if the search timed out before the end of the time range, or if a partition cannot be read.
    """

    partition: int
    records: tuple[Received, ...]
    complete: bool


def find_records(connection: Mapping[str, str | int | bool], query: SearchQuery, timeout: timedelta) -> Search:
    """Find every record of the event within the query's time range. A search that times out is not complete.

    If the key's current partition does not contain the event, search the partitions that the key may have had before
    partitions were added to the topic.

    Raises:
        BrokerUnavailableError: the brokers did not answer, or the topic does not exist.
        ConfigError: the brokers refused the connection, or the user is not allowed to read the topic.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    with RangeReader(connection, "payctl-show", _TIMEOUT) as reader:
        partitions = possible_partitions(query.key.encode(), len(reader.places(query.topic, required=True)))
        spans = spans_since(reader, [(query.topic, number) for number in partitions], query.since)
        complete = True
        for place, span in spans.items():
            if span is None:
                complete = False
                continue
            reader.start({place: (span.begin, span.end)})
            records, whole = _read(reader, query, deadline)
            complete = complete and whole
            if records:
                return Search(partitions[0], tuple(records), complete)
        return Search(partitions[0], (), complete)


def _read(reader: RangeReader, query: SearchQuery, deadline: float) -> tuple[list[Received], bool]:
    """Return the event's records in the range that ``reader`` has started, and whether the whole range was read."""
    records: list[Received] = []
    for batch in reader.batches(_BATCH, deadline):
        for record in batch:
            if record.at > query.until:
                return records, True
            if record.text("eventId") == query.event_id:
                records.append(record)
    return records, not reader.unread
