"""Find the records of one event in its topic. One partition is read, for one stretch of time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ticketbottle_payctl.broker.partition import partition_of
from ticketbottle_payctl.broker.range_reader import RangeReader, Received

_TIMEOUT = 3.0
_BATCH = 500
_LAST = 1000
"""The number of records that are read if the brokers know none as late as the stretch begins."""


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """An event and when it was sent, at the earliest and at the latest (UTC). ``key`` decides the partition."""

    topic: str
    key: str
    event_id: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Search:
    """The records that were found, oldest first. ``complete`` is False if the time ended before the stretch did."""

    partition: int
    records: tuple[Received, ...]
    complete: bool


def find_records(connection: Mapping[str, str | int | bool], query: SearchQuery, timeout: timedelta) -> Search:
    """Find every record of the event within its stretch of time, as far as ``timeout`` allows.

    Raises:
        BrokerUnavailableError: the brokers did not answer, or the topic does not exist.
        ConfigError: the brokers refused the connection, or the user may not read the topic.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    with RangeReader(connection, "payctl-show", _TIMEOUT) as reader:
        places = reader.places(query.topic, required=True)
        place = (query.topic, partition_of(query.key.encode(), len(places)))
        begin = reader.offsets_at([place], query.since)[place]
        oldest, end = reader.bounds([place])[place]
        # No record is that late. The brokers' clock can differ, so look at the last records.
        reader.start({place: (max(oldest, end - _LAST) if begin is None else begin, end)})
        records: list[Received] = []
        for batch in reader.batches(_BATCH, deadline):
            for record in batch:
                if record.at > query.until:
                    return Search(place[1], tuple(records), complete=True)
                if record.text("eventId") == query.event_id:
                    records.append(record)
        return Search(place[1], tuple(records), complete=not reader.unread)
