"""Why events are not published: their last errors, grouped by what is the same about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from ticketbottle_payctl.store.selection import (
    GROUP,
    PATTERN,
    UNPUBLISHED,
    Selector,
    check_pattern,
    honest_pattern,
    predicate,
)


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Unpublished events that failed in the same way. ``sample`` is the error of the newest. Instants are UTC."""

    group: str
    pattern: str
    count: int
    dead: int
    first: datetime
    last: datetime
    event_types: tuple[str, ...]
    sample: str | None
    sample_id: str


def groups(connection: Connection, selector: Selector, max_retries: int, limit: int) -> list[ErrorGroup]:
    """The kinds of error of unpublished events that failed at least once, the most frequent first.

    ``first`` and ``last`` are when the oldest and the newest of them was created.

    Raises:
        InputError: the selector's pattern is not one.
    """
    check_pattern(connection, selector)
    wanted = predicate(selector, max_retries)
    sql = f"""
        SELECT {GROUP}, {PATTERN}, count(*), count(*) FILTER (WHERE o."retryCount" >= %(max_retries)s),
            min(o."createdAt"), max(o."createdAt"), array_agg(DISTINCT o."eventType"),
            (array_agg(left(o."lastError", 500) ORDER BY o."createdAt" DESC))[1],
            (array_agg(o.id ORDER BY o."createdAt" DESC))[1]
        FROM outbox AS o WHERE {UNPUBLISHED} AND o."retryCount" > 0 AND {wanted.sql}
        GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT %(limit)s
    """  # noqa: S608 - only constants are put in
    with honest_pattern(selector):
        rows = connection.exec_driver_sql(sql, wanted.parameters | {"limit": limit}).all()
    return [
        ErrorGroup(
            group=row[0],
            pattern=row[1],
            count=row[2],
            dead=row[3],
            first=row[4].replace(tzinfo=UTC),
            last=row[5].replace(tzinfo=UTC),
            event_types=tuple(row[6]),
            sample=row[7],
            sample_id=row[8],
        )
        for row in rows
    ]
