"""List events, newest first, one page at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypedDict

from sqlalchemy import Connection

from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.store.db.pages import OLDER, Listed, PagePosition, page_parameters
from ticketbottle_payctl.store.outbox import states
from ticketbottle_payctl.store.outbox.blocked import Pending, blocked_among
from ticketbottle_payctl.store.outbox.dead import closed_among
from ticketbottle_payctl.store.outbox.selector import (
    SUPERSEDED,
    Selector,
    check_pattern,
    pattern_errors_as_input_errors,
    predicate,
    with_whole_ids,
)


class ListedEvent(TypedDict, total=False):
    """An event in the outbox, with the requested fields. All times are in UTC."""

    id: str
    event_type: str
    state: Literal["pending", "dead", "published"]
    """The event's state: pending, dead (out of retries) or published."""
    order_code: str | None
    aggregate_id: str
    """The payment's id, and the message's key."""
    aggregate_type: str
    provider: str | None
    created_at: datetime | None
    published_at: datetime | None
    retry_count: Count
    last_error: str | None
    superseded: bool | None
    """Whether this event reports a failure or cancellation of a payment that is COMPLETED now.

    In an archive, the value is null.
    """
    blocked: bool
    """Whether this event is pending and waits behind a dead event of its payment."""
    closed: bool
    """Whether a person has closed this dead event.

    The value is false while a pending event waits behind it.
    """


OUTBOX_FIELDS = tuple(ListedEvent.__annotations__)
"""The column names, in the order of the SELECT statement below. The last two are read separately."""


def list_events(
    connection: Connection, limit: int, before: PagePosition | None, *, selector: Selector, max_retries: int
) -> list[Listed]:
    """Return the selected events, newest first. The selector's own limit is ignored.

    Raises:
        InputError: the ``error`` pattern is not a regular expression, or a short id is ambiguous.
    """
    check_pattern(connection, selector)
    wanted = predicate(with_whole_ids(connection, selector), max_retries)
    older = OLDER.format('o."createdAt"') if before else "true"
    # The index is on (published, "createdAt"). Two short index scans are faster than a sort of the table.
    halves = " UNION ALL ".join(
        f"""(SELECT o.* FROM outbox AS o WHERE o.published = {half} AND {older} AND {wanted.sql}
        ORDER BY o."createdAt" DESC, o.id COLLATE "C" DESC LIMIT %(limit)s)"""  # noqa: S608
        for half in ("true", "false")
    )
    sql = f"""
        SELECT o.id, o."eventType", {states.name("o.")} AS state, y."orderCode", o."aggregateId", o."aggregateType",
            y.provider, o."createdAt", o."publishedAt", o."retryCount", o."lastError", {SUPERSEDED} AS superseded
        FROM (SELECT * FROM ({halves}) AS o ORDER BY o."createdAt" DESC, o.id COLLATE "C" DESC LIMIT %(limit)s) AS o
        LEFT JOIN payments AS y ON y.id = o."aggregateId"
        ORDER BY o."createdAt" DESC, o.id COLLATE "C" DESC
    """  # noqa: S608 - built from constants only
    with pattern_errors_as_input_errors(selector):
        rows = connection.exec_driver_sql(sql, wanted.parameters | page_parameters(limit, before)).all()
    # The closing records are read first, because blocked_among changes the planner settings of the transaction.
    closed = closed_among(connection, [row.id for row in rows if row.state == "dead"], max_retries)
    pending = [Pending(row.id, row.aggregateId, row.createdAt) for row in rows if row.state == "pending"]
    blocked = blocked_among(connection, pending, max_retries)
    return [Listed(OUTBOX_FIELDS, (*row, row.id in blocked, row.id in closed), "created_at") for row in rows]
