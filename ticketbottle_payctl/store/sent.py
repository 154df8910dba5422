"""Events that the outbox calls published, as they are to be found in Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection

_BUFFER = 5000


class SentEvent(NamedTuple):
    """A published event; ``digest`` is the SHA-256 of the value that was to be sent. Instants are UTC."""

    id: str
    key: str
    event_type: str
    created_at: datetime
    published_at: datetime
    digest: bytes


def created_between(connection: Connection, since: datetime, until: datetime, limit: int) -> Iterator[SentEvent]:
    """Published events created in the window, at most ``limit``, in no order; constant in memory.

    Rows that the replaced service left half marked count: they were sent. Read through (published, "createdAt").
    """
    connection.exec_driver_sql("SELECT")  # carries the transaction's limits, which cannot stand before a cursor's query
    rows = connection.execution_options(stream_results=True, max_row_buffer=_BUFFER).exec_driver_sql(
        """
        SELECT id, "aggregateId", "eventType", "createdAt", "publishedAt", sha256(convert_to(payload::text, 'UTF8'))
        FROM outbox
        WHERE published = ANY('{t,f}') AND "createdAt" >= %(since)s AND "createdAt" < %(until)s
          AND "publishedAt" IS NOT NULL
        LIMIT %(limit)s
        """,
        {"since": _naive(since), "until": _naive(until), "limit": limit},
    )
    for row in rows:
        event_id, key, event_type, created_at, published_at, digest = row
        created, published = created_at.replace(tzinfo=UTC), published_at.replace(tzinfo=UTC)
        yield SentEvent(event_id, key, event_type, created, published, bytes(digest))


def _naive(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(tzinfo=None)
