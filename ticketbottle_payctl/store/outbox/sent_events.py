"""Read published events, so that they can be compared with the records in Kafka."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import aware, stored

_AT_ONCE = 5000


class SentEvent(NamedTuple):
    """A published event. ``digest`` is the SHA-256 hash of the value that the event's Kafka record must have.

    All times are in UTC.

    ``version`` is the id of the transaction that wrote the row, so every change of the row changes the version.
    """

    id: str
    key: str
    event_type: str
    created_at: datetime
    published_at: datetime
    digest: bytes
    version: int


def created_between(connection: Connection, since: datetime, until: datetime, limit: int) -> Iterator[SentEvent]:
    """Yield at most ``limit`` published events that were created in the window. The events are not sorted.

    Memory use is constant.

    Half-marked events from the old service are included, because they were sent. The query uses the index on
    (published, "createdAt").
    """
    connection.exec_driver_sql(
        """
        DECLARE sent NO SCROLL CURSOR FOR
        SELECT id, "aggregateId", "eventType", "createdAt", "publishedAt", sha256(convert_to(payload::text, 'UTF8')),
            xmin::text::bigint
        FROM outbox
        WHERE published = ANY('{t,f}') AND "createdAt" >= %(since)s AND "createdAt" < %(until)s
          AND "publishedAt" IS NOT NULL
        LIMIT %(limit)s
        """,
        {"since": stored(since), "until": stored(until), "limit": limit},
    )
    while rows := connection.exec_driver_sql(f"FETCH {_AT_ONCE} FROM sent").all():
        yield from map(_event, rows)
    connection.exec_driver_sql("CLOSE sent")


def _event(row: Sequence[Any]) -> SentEvent:
    event_id, key, event_type, created_at, published_at, digest, version = row
    created, published = aware(created_at), aware(published_at)
    return SentEvent(event_id, key, event_type, created, published, bytes(digest), version)
