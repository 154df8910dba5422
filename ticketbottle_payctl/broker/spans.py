"""Choose the first offset to read in each partition, so that all records since a given instant are read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from ticketbottle_payctl.broker.range_reader import Place, RangeReader
from ticketbottle_payctl.errors import BrokerUnavailableError

_EARLIER = 1000
"""The number of additional records to read before the instant, because producers' and brokers' clocks can differ."""
_EPOCH = datetime.fromtimestamp(0, UTC)


class Span(NamedTuple):
    """A partition's oldest offset, the first offset to read, and the next new offset."""

    oldest: int
    begin: int
    end: int


def spans_since(
    reader: RangeReader, places: Iterable[Place], since: datetime, *, most: int | None = None
) -> dict[Place, Span | None]:
    """Return the span in each partition with all records since ``since`` (UTC), or None if the partition is unreadable.

    Some brokers cannot look up an offset by time. In this case the span is the whole partition, or only its last
    ``most`` records if ``most`` is given.

    Raises:
        BrokerUnavailableError: the brokers did not answer, or no partition can be read.
        ConfigError: the user is not allowed to read a topic.
    """
    bounds = readable_bounds(reader, places)
    readable = {place: found for place, found in bounds.items() if found is not None}
    begins = reader.offsets_at(readable, since)
    blind = _without_lookup(reader, [place for place, (oldest, end) in readable.items() if end > oldest], begins)
    spans: dict[Place, Span | None] = dict.fromkeys(bounds)
    for place, (oldest, end) in readable.items():
        begin = begins[place]
        if place in blind:
            first = oldest if most is None else end - most
        else:
            first = (end if begin is None else begin) - _EARLIER
        spans[place] = Span(oldest, min(max(oldest, first), end), end)
    return spans


def readable_bounds(reader: RangeReader, places: Iterable[Place]) -> dict[Place, tuple[int, int] | None]:
    """Return each partition's oldest offset and next new offset, or None if the partition has no leader.

    Raises:
        BrokerUnavailableError: the brokers did not answer, or no partition can be read.
        ConfigError: the user is not allowed to read a topic.
    """
    bounds: dict[Place, tuple[int, int] | None] = {}
    failed: BrokerUnavailableError | None = None
    for place in places:
        try:
            bounds[place] = reader.bounds([place])[place]
        except BrokerUnavailableError as error:
            bounds[place], failed = None, error
    if failed is not None and not any(bounds.values()):
        raise failed
    return bounds


def _without_lookup(reader: RangeReader, filled: Iterable[Place], begins: dict[Place, int | None]) -> set[Place]:
    """Return the partitions whose brokers cannot look up offsets by time.

    Such brokers find no record even if the requested time is in 1970.
    """
    silent = [place for place in filled if begins[place] is None]
    return {place for place, offset in reader.offsets_at(silent, _EPOCH).items() if offset is None}
