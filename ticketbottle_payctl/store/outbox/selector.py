"""Compile a selector of outbox events into an SQL condition.

A selector selects all matching events, never just one page. An event must match every condition of the selector. If
several states (``failed``, ``stuck``, ``published``) are given, the event must be in one of them. Every value is passed
as a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.domain.message_size import ERRORS_OF_SIZE, LARGEST_MESSAGE
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.store.db import short_ids
from ticketbottle_payctl.store.db.gateway_names import SAME_GATEWAY
from ticketbottle_payctl.store.db.owner_time import NOW, stored
from ticketbottle_payctl.store.outbox import states
from ticketbottle_payctl.store.outbox.message_size import message_bytes

# The old service stored "createdAt" in the session's time zone, and no zone differs more from UTC than this.
_WRONG_ZONE = timedelta(hours=15)
_INVALID_REGEX = "2201B"
_TIMED_OUT = "57014"

SUPERSEDED = """(o."eventType" IN ('PAYMENT_FAILED', 'PAYMENT_CANCELLED') AND EXISTS (
    SELECT 1 FROM payments AS p WHERE p.id = o."aggregateId" AND p.status::text = 'COMPLETED'))"""
"""An SQL condition that is true if an event is superseded.

If a PAYMENT_FAILED event were sent again, a customer who has paid would lose their tickets.
"""

UNKNOWN_TYPE = f"""(o."eventType" NOT IN ({", ".join(f"'{name}'" for name in TOPICS)}))"""
"""An SQL condition that is true if payctl does not know an event's type, so no publisher sends the event."""

REFUSED_FOR_SIZE = f"""({states.unpublished("o.")}
    AND split_part(o."lastError", ':', 1) IN ({", ".join(f"'{name}'" for name in ERRORS_OF_SIZE)}))"""
"""An SQL condition that is true if an event's last error is about its size."""

TOO_LARGE = f"(CASE WHEN {REFUSED_FOR_SIZE} THEN {message_bytes('o.')} > {LARGEST_MESSAGE} ELSE false END)"
"""An SQL condition that is true if an event failed because it is larger than the largest message that payctl sends.

A payload is read only if the event's last error is about its size.
"""

# A word with a digit is an id, a number, an address or an instant. The other words describe the kind of error.
PATTERN = r"""regexp_replace(regexp_replace(left(coalesce(o."lastError", ''), 500),
    '[[:alnum:]_-]*[0-9][[:alnum:]_-]*', '#', 'g'), '\s+', ' ', 'g')"""
"""The SQL expression for an event's last error, without the parts that differ between events."""


def group_of(pattern: str) -> str:
    """Return the SQL expression for the id of an error group.

    ``pattern`` is the SQL expression for a normalised error, such as :data:`PATTERN`.
    """
    return f"left(md5({pattern}), 8)"


GROUP = group_of(PATTERN)
"""The SQL expression for the id of an event's error group, which has eight hexadecimal digits."""


class WindowBy(StrEnum):
    """The event timestamp to which a time window applies."""

    CREATED = "created"
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class Selector:
    """A selector of events. ``ids`` is None if no id was given. Times are aware.

    ``limit`` selects only this many of the oldest events. ``stuck`` is the minimum time that an event must have been
    pending. ``provider`` is a gateway's name in any spelling.
    """

    ids: tuple[str, ...] | None = None
    failed: bool = False
    stuck: timedelta | None = None
    published: bool = False
    types: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    order_codes: tuple[str, ...] = ()
    provider: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    by: WindowBy = WindowBy.CREATED
    error: str | None = None
    error_group: str | None = None
    limit: int | None = None

    @property
    def is_empty(self) -> bool:
        """Return whether the selector has no conditions. A limit does not count as a condition."""
        nothing = Selector(limit=self.limit, by=self.by)
        return self == nothing

    def described(self) -> dict[str, object]:
        """Return the selector's conditions for the record of a run. If there are many ids, return only their number."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        nothing = Selector()
        given = {name: value for name, value in said.items() if value != getattr(nothing, name)}
        if self.ids is not None:
            given["ids"] = list(self.ids) if len(self.ids) <= _MOST_IDS_NOTED else f"{len(self.ids)} ids"
        return {name: _plain(value) for name, value in given.items()}


_MOST_IDS_NOTED = 20


def with_whole_ids(connection: Connection, selector: Selector) -> Selector:
    """Return the selector with the short ids of events and payments expanded.

    Raises:
        InputError: several ids begin with one of the short ids.
    """
    ids = None if selector.ids is None else short_ids.whole(connection, "outbox", selector.ids)
    return replace(selector, ids=ids, aggregates=short_ids.whole(connection, "payments", selector.aggregates))


@dataclass(frozen=True, slots=True)
class Predicate:
    """An SQL condition on ``outbox AS o``, and its parameters."""

    sql: str
    parameters: dict[str, object]


def predicate(selector: Selector, max_retries: int) -> Predicate:
    """Return the selector's SQL condition. The caller must add the ORDER BY clause and the selector's limit."""
    conditions = [*_of_state(selector), *_of_row(selector), *_of_payment(selector), *_of_window(selector)]
    parameters: dict[str, object] = {
        "max_retries": max_retries,
        "ids": list(selector.ids or ()),
        "stuck": selector.stuck,
        "types": list(selector.types),
        "aggregates": list(selector.aggregates),
        "order_codes": list(selector.order_codes),
        "provider": selector.provider,
        "since": stored(selector.since),
        "until": stored(selector.until),
        "until_created": stored(selector.until + _WRONG_ZONE) if selector.until else None,
        "error": selector.error,
        "error_group": selector.error_group,
    }
    return Predicate(" AND ".join(conditions) or "true", parameters)


@contextmanager
def pattern_errors_as_input_errors(selector: Selector) -> Iterator[None]:
    """Raise an input error if the selector's pattern is invalid in PostgreSQL, or if the search takes too long.

    Raises:
        InputError: the ``--error`` pattern is not a regular expression, or the pattern made the statement time out.
    """
    try:
        yield
    except DBAPIError as error:
        state = getattr(error.orig, "pgcode", None)
        if state == _INVALID_REGEX:
            reason = str(error.orig).strip().partition("\n")[0].removeprefix("invalid regular expression: ")
            message = f"--error is not a regular expression: {reason}"
            raise InputError(
                message, hint="use PostgreSQL's regular expression syntax; write a literal dot as \\."
            ) from error
        if state == _TIMED_OUT and selector.error is not None:
            message = "the search with this --error pattern took too long"
            raise InputError(
                message, hint="use a simpler pattern, or narrow the search with --failed, --since or --type"
            ) from error
        raise


def check_pattern(connection: Connection, selector: Selector) -> None:
    """Check in PostgreSQL that the selector's pattern is valid, even if there are no rows to match.

    Raises:
        InputError: the pattern is not a regular expression.
    """
    if selector.error is not None:
        with pattern_errors_as_input_errors(selector):
            connection.exec_driver_sql("SELECT '' ~ %(error)s", {"error": selector.error})


def _of_state(selector: Selector) -> list[str]:
    wanted = [states.published("o.")] if selector.published else []
    if selector.failed:
        wanted.append(states.dead("o."))
    if selector.stuck is not None:
        wanted.append(f"""({states.pending("o.")} AND o."createdAt" <= {NOW} - %(stuck)s::interval)""")
    return [f"({' OR '.join(wanted)})"] if wanted else []


def _of_row(selector: Selector) -> Iterator[str]:
    if selector.ids is not None:
        yield "o.id = ANY(%(ids)s)"
    if selector.types:
        yield 'o."eventType" = ANY(%(types)s)'
    if selector.aggregates:
        yield 'o."aggregateId" = ANY(%(aggregates)s)'
    if selector.error is not None:
        yield 'o."lastError" ~ %(error)s'
    if selector.error_group is not None:
        # A group of `payctl errors` contains only events that failed. An event that waits for its first attempt, or for
        # the first attempt after a replay, is in no group, even if it has an error text.
        yield f'o."retryCount" > 0 AND {GROUP} = %(error_group)s'


def _of_payment(selector: Selector) -> Iterator[str]:
    if selector.order_codes:
        yield """o."aggregateId" IN (SELECT p.id FROM payments AS p WHERE p."orderCode" = ANY(%(order_codes)s))"""
    if selector.provider is not None:
        same = SAME_GATEWAY.format("p.provider")
        yield f'EXISTS (SELECT 1 FROM payments AS p WHERE p.id = o."aggregateId" AND {same})'  # noqa: S608


def _of_window(selector: Selector) -> Iterator[str]:
    column = 'o."createdAt"' if selector.by is WindowBy.CREATED else 'o."publishedAt"'
    if selector.since is not None:
        yield f"{column} >= %(since)s"
    if selector.until is not None:
        yield f"{column} < %(until)s"
    if selector.by is WindowBy.PUBLISHED and selector.until is not None:
        yield 'o."createdAt" < %(until_created)s'  # "createdAt" has an index, and is before the compared instant
    if selector.since is not None or selector.until is not None:
        yield "o.published IN (true, false)"  # always true; makes the index on (published, "createdAt") usable


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat()
        case timedelta():
            return f"{value.total_seconds():g}s"
        case tuple():
            return list(value)
        case _:
            return value
