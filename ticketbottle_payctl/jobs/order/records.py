"""Search Kafka for the records of a payment's published events."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ticketbottle_payctl.broker.consumers import Readers, readers_of
from ticketbottle_payctl.broker.range_reader import Received
from ticketbottle_payctl.broker.search import Search, SearchQuery, find_records
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.errors import BrokerUnavailableError, ConfigError
from ticketbottle_payctl.jobs.order.model import Step
from ticketbottle_payctl.store.payments.history import EventRow, History, Replayed

# Clocks differ. All rows in a batch have the same publishing time, which can be earlier than the batch's last message.
_EARLIER, _LATER = timedelta(minutes=1), timedelta(minutes=10)
_PATIENCE = timedelta(seconds=10)
_READERS_PATIENCE = timedelta(seconds=2)


@dataclass(slots=True)
class Records:
    """The result of a search.

    ``steps`` contains one step for each record found. ``latest`` contains the latest record of each event. ``missing``
    contains the events without a record. If an event is in neither ``latest`` nor ``missing``, the search did not
    finish, and ``warnings`` says why. ``readers`` contains the consumer groups for the latest record of each event, if
    the brokers list them.
    """

    steps: list[Step] = field(default_factory=list)
    latest: dict[str, Received] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    readers: dict[str, Readers] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def find_all(found: History, kafka: Mapping[str, str | int | bool]) -> Records:
    """Search the topics for each published event, at most ten seconds per event.

    An unavailable broker causes only a warning.
    """
    result = Records()
    for event in found.events:
        if event.state != "published" or event.event_type not in TOPICS:
            continue
        try:
            searches = list(_searched(event, _stretches(event, found.replays), kafka))
        except (BrokerUnavailableError, ConfigError) as error:
            result.warnings.append(f"{error.message}: the topics were not searched")
            return result
        # If the brokers have no record in a time range, they return the topic's end. So a search may find a copy twice.
        records = {(each.partition, each.offset): each for search in searches for each in search.records}
        result.steps += _found(records.values(), event)
        if records:
            latest = result.latest[event.id] = max(records.values(), key=lambda record: record.timestamp)
            readers = readers_of(kafka, latest.topic, latest.partition, latest.offset, _READERS_PATIENCE)
            if readers is not None:
                result.readers[event.id] = readers
            continue
        result.warnings.append(_not_found(searches, event))
        if all(search.complete for search in searches):
            result.missing.add(event.id)
    return result


def _searched(
    event: EventRow, stretches: Sequence[tuple[datetime, datetime]], kafka: Mapping[str, str | int | bool]
) -> Iterator[Search]:
    """Search the time ranges, latest first, within one common time limit."""
    deadline = time.monotonic() + _PATIENCE.total_seconds()
    for since, until in reversed(stretches):
        left = timedelta(seconds=deadline - time.monotonic())
        if left <= timedelta(0):
            yield Search(-1, (), complete=False)
            return
        query = SearchQuery(TOPICS[event.event_type], event.aggregate_id, event.id, since, until)
        yield find_records(kafka, query, left)


def _stretches(event: EventRow, replays: Sequence[Replayed]) -> list[tuple[datetime, datetime]]:
    """Return the time ranges in which the event may have been sent.

    For each replay, one range surrounds the time at which the event was published before this replay. Another range
    extends from the first replay to the last time that the event was published. The ranges are sorted by time. Adjacent
    ranges are merged, so that records are not found twice.
    """
    own = [each for each in replays if each.event_id == event.id]
    last = event.published_at or event.created_at
    spans = [(each.published_before, each.published_before) for each in own if each.published_before]
    spans.append((min([last, *(each.run.started_at for each in own)]), last))
    stretches: list[tuple[datetime, datetime]] = []
    for first, end in sorted(spans):
        since, until = first - _EARLIER, end + _LATER
        if stretches and since <= stretches[-1][1]:
            since, earlier = stretches.pop()
            until = max(until, earlier)
        stretches.append((since, until))
    return stretches


def _found(records: Iterable[Received], event: EventRow) -> Iterator[Step]:
    for record in records:
        run = record.text("replayRunId")
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        yield Step(record.at, "record", event.id, {**place, "replay_run_id": run})


def _not_found(searches: Sequence[Search], event: EventRow) -> str:
    where = f"{TOPICS[event.event_type]}, partition {searches[0].partition}"
    if not all(search.complete for search in searches):
        unread = f"payctl could not read the whole time range in {_PATIENCE.seconds} seconds"
        return f"event {event.id} was not found in {where}, but {unread}"
    return (
        f"event {event.id} is not in {where} around the time when it was published: never sent, or deleted by retention"
    )
