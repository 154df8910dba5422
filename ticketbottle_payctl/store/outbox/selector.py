"""Selectors of outbox events: a predicate compiled to SQL, never one page of results.

Different selectors narrow each other; the states (``failed``, ``stuck``, ``published``) widen: an event of any of the
named states is meant. Every value travels as a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.store.db.owner_time import NOW, stored
from ticketbottle_payctl.store.outbox import states

# The replaced service let the session's time zone into "createdAt", and no zone is further from UTC than this.
_WRONG_ZONE = timedelta(hours=15)
_INVALID_REGEX = "2201B"
_TIMED_OUT = "57014"

SUPERSEDED = """(o."eventType" IN ('PAYMENT_FAILED', 'PAYMENT_CANCELLED') AND EXISTS (
    SELECT 1 FROM payments AS p WHERE p.id = o."aggregateId" AND p.status::text = 'COMPLETED'))"""
"""Whether a later success has superseded the event: sent again, it would take a paid customer's tickets away."""

# A word that holds a digit is an id, a number, an address or an instant; what is left is the kind of the error.
PATTERN = r"""regexp_replace(regexp_replace(left(coalesce(o."lastError", ''), 500),
    '[[:alnum:]_-]*[0-9][[:alnum:]_-]*', '#', 'g'), '\s+', ' ', 'g')"""
"""The text of an error without what differs from one event to the next."""


def group_of(pattern: str) -> str:
    """The group's id of an expression that is a pattern already."""
    return f"left(md5({pattern}), 8)"


GROUP = group_of(PATTERN)
"""The error's group: eight hexadecimal digits, the same for the same kind of error."""

SAME_GATEWAY = "translate(lower({}), '-_ ', '') = translate(lower(%(provider)s), '-_ ', '')"
"""``ZALOPAY``, ``zalo-pay`` and ``ZaloPay`` are one gateway."""


class By(StrEnum):
    """Which instant of an event a window is about."""

    CREATED = "created"
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class Selector:
    """Which events are meant. ``ids`` None means that none were named. Instants are aware, ``limit`` is the oldest N.

    ``stuck`` is how long an event must have been pending. ``provider`` is a gateway's name in any spelling.
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
    by: By = By.CREATED
    error: str | None = None
    error_group: str | None = None
    limit: int | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing was said about which events; a limit alone does not say it."""
        nothing = Selector(limit=self.limit, by=self.by)
        return self == nothing

    def described(self) -> dict[str, object]:
        """What was said, for the record: only the parts that were given; of many ids, how many."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        nothing = Selector()
        given = {name: value for name, value in said.items() if value != getattr(nothing, name)}
        if self.ids is not None:
            given["ids"] = list(self.ids) if len(self.ids) <= _MOST_IDS_NOTED else f"{len(self.ids)} ids"
        return {name: _plain(value) for name, value in given.items()}


_MOST_IDS_NOTED = 20


@dataclass(frozen=True, slots=True)
class Predicate:
    """A condition on ``outbox AS o`` and its parameters."""

    sql: str
    parameters: dict[str, object]


def predicate(selector: Selector, max_retries: int) -> Predicate:
    """The selector as a condition. It does not limit: that is the caller's part, in the caller's order."""
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
def honest_pattern(selector: Selector) -> Iterator[None]:
    """Tell a pattern that PostgreSQL cannot read, or that takes too long, as the caller's mistake.

    Raises:
        InputError: the ``--error`` pattern is not a regular expression, or the statement's time was up with it.
    """
    try:
        yield
    except DBAPIError as error:
        state = getattr(error.orig, "pgcode", None)
        if state == _INVALID_REGEX:
            reason = str(error.orig).strip().partition("\n")[0].removeprefix("invalid regular expression: ")
            message = f"--error is not a regular expression: {reason}"
            raise InputError(message, hint="PostgreSQL's syntax; a literal dot is \\.") from error
        if state == _TIMED_OUT and selector.error is not None:
            message = "the search with this --error pattern took too long"
            raise InputError(
                message, hint="a simpler pattern, or narrow it with --failed, --since or --type"
            ) from error
        raise


def check_pattern(connection: Connection, selector: Selector) -> None:
    """Have PostgreSQL read the pattern even where no row would be compared with it.

    Raises:
        InputError: it is not a regular expression.
    """
    if selector.error is not None:
        with honest_pattern(selector):
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
        # A group of `payctl errors` is made of events that failed: what waits for its first try, or for its first one
        # after a replay, is in none of them, whatever its error says.
        yield f'o."retryCount" > 0 AND {GROUP} = %(error_group)s'


def _of_payment(selector: Selector) -> Iterator[str]:
    if selector.order_codes:
        yield """o."aggregateId" IN (SELECT p.id FROM payments AS p WHERE p."orderCode" = ANY(%(order_codes)s))"""
    if selector.provider is not None:
        same = SAME_GATEWAY.format("p.provider")
        yield f'EXISTS (SELECT 1 FROM payments AS p WHERE p.id = o."aggregateId" AND {same})'  # noqa: S608


def _of_window(selector: Selector) -> Iterator[str]:
    column = 'o."createdAt"' if selector.by is By.CREATED else 'o."publishedAt"'
    if selector.since is not None:
        yield f"{column} >= %(since)s"
    if selector.until is not None:
        yield f"{column} < %(until)s"
    if selector.by is By.PUBLISHED and selector.until is not None:
        yield 'o."createdAt" < %(until_created)s'  # an event is created before it is published; this has an index
    if selector.since is not None or selector.until is not None:
        yield "o.published IN (true, false)"  # always so; it lets the index on (published, "createdAt") be used


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
