"""Group unpublished events by their last error.

Parts of an error that differ between events, such as ids, are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from ticketbottle_payctl.domain.message_size import LARGEST_MESSAGE
from ticketbottle_payctl.domain.why_needless import WhyNeedless
from ticketbottle_payctl.store.db.owner_time import aware
from ticketbottle_payctl.store.outbox import states
from ticketbottle_payctl.store.outbox.dead import BY_DEBEZIUM, CLOSED_DEAD, Rights, closed_dead, judged_superseded
from ticketbottle_payctl.store.outbox.message_size import message_bytes
from ticketbottle_payctl.store.outbox.needless_unknown import needless_among
from ticketbottle_payctl.store.outbox.selector import (
    PATTERN,
    REFUSED_FOR_SIZE,
    SUPERSEDED,
    UNKNOWN_TYPE,
    Selector,
    check_pattern,
    group_of,
    pattern_errors_as_input_errors,
    predicate,
)

_MOST_UNKNOWN = 5


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Unpublished events that failed in the same way. All times are in UTC.

    ``sample`` is the error of the newest open event that a replay does not leave out. If a replay leaves out all open
    events, ``sample`` is the error of the newest open event that is not superseded. If all open events are superseded,
    ``sample`` is the error of the newest open event. A closed event is the sample only if all events are closed.
    ``sample_type`` is the type of this event. ``by_type`` counts the events of each type. ``open_types`` are the types
    of the events that are not closed, in alphabetical order.

    ``superseded`` counts the superseded events, ``unknown`` the events of an unknown type, and ``too_large`` the other
    events that Kafka refused because they are larger than payctl sends. A replay leaves out all of them.
    ``message_bytes`` is the size of the largest message that Kafka refused and that a replay would send. If there is no
    such message, it is the size of the largest message that is too large, or of the sample's message.
    ``too_large_bytes`` is the size of the largest message that is too large, or 0. ``replay_types`` are the types of
    the events that a replay would send. ``blocking`` counts the superseded dead events that block a pending event of
    their payment. ``blocks`` counts the payments whose later events wait behind the group's dead events. ``closed``
    counts the dead events that count as closed. ``closed_unknown`` counts the closed events of an unknown type.
    ``repeated`` counts the harmless dead events that repeat a sent success, which a replay does not leave out.
    ``to_close`` is the id of the oldest harmless dead event that is not closed, or None.
    """

    group: str
    pattern: str
    count: int
    dead: int
    first: datetime
    last: datetime
    by_type: Mapping[str, int]
    sample: str | None
    sample_id: str
    superseded: int
    sample_type: str
    message_bytes: int
    blocking: int = 0
    closed: int = 0
    unknown: int = 0
    too_large: int = 0
    blocks: int = 0
    repeated: int = 0
    to_close: str | None = None
    closed_unknown: int = 0
    open_types: tuple[str, ...] = ()
    too_large_bytes: int = 0
    replay_types: tuple[str, ...] = ()

    @property
    def event_types(self) -> tuple[str, ...]:
        """The types of the events, in alphabetical order."""
        return tuple(sorted(self.by_type))

    @property
    def harmless(self) -> int:
        """The number of dead events that no customer waits for, and that block no pending event.

        An event of an unknown type counts only if a person has closed it.
        """
        return self.superseded + self.repeated + self.closed_unknown - self.blocking

    @property
    def open_unknown(self) -> int:
        """The number of events of an unknown type that no person has closed."""
        return self.unknown - self.closed_unknown

    @property
    def left_out(self) -> int:
        """The number of events that a replay leaves out."""
        return self.superseded + self.unknown + self.too_large

    @property
    def replayable(self) -> int:
        """The number of events that a replay does not leave out."""
        return self.count - self.left_out

    @property
    def is_closed(self) -> bool:
        """Whether a person has closed all events of the group, so that none of them is open."""
        return self.closed == self.count


def groups(  # noqa: PLR0913 - one argument per privilege that the role may lack
    connection: Connection,
    selector: Selector,
    max_retries: int,
    limit: int,
    *,
    with_payments: bool = True,
    with_closings: bool = False,
    repeated: Sequence[str] | None = None,
) -> list[ErrorGroup]:
    """Return groups of unpublished events that failed at least once, one for each kind of error, largest first.

    Groups whose events all count as closed come last.

    ``first`` and ``last`` are the times when the group's oldest and newest events were created. Without
    ``with_payments``, superseded events are not counted, and the role does not need privileges on the ``payments``
    table. Without ``with_closings``, no event counts as closed, and the role does not need privileges on the table with
    the closing records. ``repeated`` contains the ids of the events that repeat a sent success, or is None if they are
    not known yet.

    Raises:
        InputError: the selector's pattern is not a regular expression.
    """
    check_pattern(connection, selector)
    wanted, rights = predicate(selector, max_retries), Rights(with_payments, with_closings)
    failed = f'{states.unpublished("o.")} AND o."retryCount" > 0 AND {wanted.sql}'
    is_superseded = SUPERSEDED if with_payments else "(NOT true)"  # ORDER BY does not accept a constant
    # The planner expects few elements in an array, so it always uses a hash table.
    blocks = "o.id IN (SELECT unnest(ARRAY(SELECT id FROM superseded WHERE blocks)))" if with_payments else "false"
    again = f"SELECT id FROM superseded WHERE why = '{WhyNeedless.REPEATED}'"  # noqa: S608 - built from constants only
    repeats = f"o.id IN (SELECT unnest(ARRAY({again})))" if with_payments else "false"
    is_closed = "(o.id IN (SELECT unnest(ARRAY(SELECT id FROM closed_dead))))" if with_closings else "(NOT true)"
    larger = f"SELECT id FROM refused WHERE bytes > {LARGEST_MESSAGE}"  # noqa: S608 - built from constants only
    too_large = f"(o.id IN (SELECT unnest(ARRAY({larger}))))"
    # Grouping keeps only counts and bounds, not the rows. The sample is then found by its creation time. A payload is
    # read once, and only if Kafka refused the event because of its size.
    judged = f"{judged_superseded(wanted.sql, rights, given=repeated is not None)}," if with_payments else ""
    closed = f"closed_dead AS MATERIALIZED ({closed_dead()})," if with_closings else ""
    sql = f"""
        WITH {judged} {closed} refused AS MATERIALIZED (
            SELECT o.id, {PATTERN} AS pattern, o."eventType" AS type, {message_bytes("o.")} AS bytes FROM outbox AS o
            WHERE {failed} AND {REFUSED_FOR_SIZE} AND NOT {is_superseded} AND NOT {UNKNOWN_TYPE}
        ), sized AS MATERIALIZED (
            SELECT pattern, count(*) FILTER (WHERE bytes > {LARGEST_MESSAGE}) AS too_large,
                max(bytes) FILTER (WHERE bytes > {LARGEST_MESSAGE}) AS too_large_bytes,
                max(bytes) FILTER (WHERE bytes <= {LARGEST_MESSAGE}) AS largest,
                array_agg(DISTINCT type) FILTER (WHERE bytes <= {LARGEST_MESSAGE}) AS types
            FROM refused GROUP BY 1
        ), part AS (
            SELECT pattern, type, count(*) AS events, count(*) FILTER (WHERE dead) AS dead,
                count(*) FILTER (WHERE superseded) AS superseded, count(*) FILTER (WHERE blocks) AS blocking,
                count(*) FILTER (WHERE closed) AS closed, count(*) FILTER (WHERE repeats) AS repeated,
                min(at) AS first, max(at) AS last,
                max(at) FILTER (WHERE NOT superseded AND NOT too_large AND NOT closed) AS sampled,
                max(at) FILTER (WHERE NOT superseded AND NOT closed) AS kept,
                max(at) FILTER (WHERE NOT closed) AS open, unknown
            FROM (
                SELECT {PATTERN} AS pattern, o."eventType" AS type, o."createdAt" AS at,
                    NOT {states.has_retries("o.")} AS dead, {is_superseded} AS superseded, {blocks} AS blocks,
                    {is_closed} AS closed, {repeats} AS repeats, {too_large} AS too_large, {UNKNOWN_TYPE} AS unknown
                FROM outbox AS o WHERE {failed} OFFSET 0  -- each expression is planned and evaluated only once
            ) AS o GROUP BY pattern, type, unknown
        ), kind AS (
            SELECT {group_of("pattern")} AS id, pattern, sum(events)::bigint AS events, sum(dead)::bigint AS dead,
                sum(superseded)::bigint AS superseded, sum(blocking)::bigint AS blocking, sum(closed)::bigint AS closed,
                sum(repeated)::bigint AS repeated,
                COALESCE(sum(events) FILTER (WHERE unknown), 0)::bigint AS unknown,
                COALESCE(sum(closed) FILTER (WHERE unknown), 0)::bigint AS closed_unknown, min(first) AS first,
                max(last) AS last,
                COALESCE(max(sampled) FILTER (WHERE NOT unknown), max(kept) FILTER (WHERE NOT unknown), max(kept),
                    max(open), max(last)) AS sampled,
                json_object_agg(type, events ORDER BY events DESC, type) AS types,
                array_agg(type ORDER BY type) FILTER (WHERE events > closed) AS open_types,
                array_agg(type ORDER BY type) FILTER (WHERE NOT unknown AND events > superseded) AS replay_types
            FROM part GROUP BY 2 ORDER BY sum(closed) = sum(events), 3 DESC, 1 LIMIT %(limit)s
        )
        SELECT k.id, k.pattern, k.events, k.dead, k.first, k.last, k.types, sample.error, sample.id,
            k.superseded, sample.type, COALESCE(size.largest, size.too_large_bytes, sample.bytes), k.blocking, k.closed,
            k.unknown, COALESCE(size.too_large, 0), k.repeated, k.closed_unknown, k.open_types,
            COALESCE(size.too_large_bytes, 0),
            CASE WHEN size.pattern IS NULL THEN k.replay_types ELSE size.types END
        FROM kind AS k LEFT JOIN sized AS size ON size.pattern = k.pattern CROSS JOIN LATERAL (
            SELECT left(o."lastError", 500) AS error, o.id, o."eventType" AS type,
                {message_bytes("o.")} AS bytes
            FROM outbox AS o
            WHERE o."createdAt" = k.sampled AND {failed} AND {PATTERN} = k.pattern
            ORDER BY {is_closed}, {is_superseded}, {UNKNOWN_TYPE}, {too_large}, o.id COLLATE "C" DESC LIMIT 1
        ) AS sample
        ORDER BY k.closed = k.events, k.events DESC, k.id
    """  # noqa: S608 - built from constants only
    with pattern_errors_as_input_errors(selector):
        rows = connection.exec_driver_sql(
            sql, wanted.parameters | {"limit": limit, "repeated": list(repeated or ())}
        ).all()
    return [
        ErrorGroup(
            group=row[0],
            pattern=row[1],
            count=row[2],
            dead=row[3],
            first=aware(row[4]),
            last=aware(row[5]),
            by_type=row[6],
            sample=row[7],
            sample_id=row[8],
            superseded=row[9],
            sample_type=row[10],
            message_bytes=row[11],
            blocking=row[12],
            closed=row[13],
            unknown=row[14],
            too_large=row[15],
            repeated=row[16],
            closed_unknown=row[17],
            open_types=tuple(row[18] or ()),
            too_large_bytes=row[19],
            replay_types=tuple(sorted(row[20] or ())),
        )
        for row in rows
    ]


def with_blocked(
    connection: Connection, found: Sequence[ErrorGroup], selector: Selector, max_retries: int
) -> list[ErrorGroup]:
    """Return the groups. Add to each group the number of payments whose later events wait behind its dead events.

    This function changes the planner settings of the transaction, so the caller must not run other statements in it
    after this call.
    """
    if not any(group.dead for group in found):
        return [*found]
    connection.exec_driver_sql("SELECT set_config('enable_nestloop', 'off', true)")  # the planner expects few rows
    wanted = predicate(selector, max_retries)
    later = '(w."createdAt", w.id COLLATE "C") > (o."createdAt", o.id COLLATE "C")'
    sql = f"""
        SELECT {group_of(PATTERN)}, count(DISTINCT o."aggregateId") FROM outbox AS o
        WHERE {states.dead("o.")} AND NOT {BY_DEBEZIUM} AND {wanted.sql} AND EXISTS (
            SELECT FROM outbox AS w WHERE w."aggregateId" = o."aggregateId" AND {states.pending("w.")} AND {later})
        GROUP BY 1
    """  # noqa: S608 - built from constants only
    rows = connection.exec_driver_sql(sql, wanted.parameters).all()
    blocks: dict[str, int] = {group: payments for group, payments in rows}  # noqa: C416 - a row is not a tuple
    return [replace(group, blocks=blocks.get(group.group, 0)) for group in found]


def with_harmless(
    connection: Connection, found: Sequence[ErrorGroup], selector: Selector, max_retries: int, rights: Rights
) -> list[ErrorGroup]:
    """Return the groups. Add to each group its oldest harmless dead event, which a person can close.

    Among the events of an unknown type, only the oldest few are checked. The role must have the given ``rights``. If
    the role is not allowed to read closing records, no event is added, because the role cannot close an event. Like
    :func:`with_blocked`, this function changes the planner settings of the transaction.
    """
    if not rights.closings:
        return [*found]
    found = _with_needless_unknown(connection, found, selector, max_retries)
    if not any(group.harmless > group.closed for group in found):
        return found
    connection.exec_driver_sql("SELECT set_config('enable_nestloop', 'off', true)")  # the planner expects few rows
    wanted = predicate(selector, max_retries)
    sql = f"""
        WITH {judged_superseded(wanted.sql, rights)}
        SELECT DISTINCT ON (name) {group_of(PATTERN)} AS name, o.id FROM outbox AS o
        WHERE o.id IN (SELECT unnest(ARRAY(SELECT id FROM superseded WHERE NOT blocks))) AND NOT {CLOSED_DEAD}
        ORDER BY name, o."createdAt", o.id COLLATE "C"
    """  # noqa: S608 - built from constants only
    rows = connection.exec_driver_sql(sql, wanted.parameters).all()
    oldest: dict[str, str] = {group: event for group, event in rows}  # noqa: C416 - a row is not a tuple
    return [replace(group, to_close=oldest.get(group.group, group.to_close)) for group in found]


def _with_needless_unknown(
    connection: Connection, found: Sequence[ErrorGroup], selector: Selector, max_retries: int
) -> list[ErrorGroup]:
    """Return the groups. Add to each group its oldest event of an unknown type that a person can close.

    No customer and no other event waits for such an event. At most five events in all groups are checked, because each
    check reads published events. The oldest event of each group comes first.
    """
    if not any(group.open_unknown for group in found):
        return [*found]
    wanted = predicate(selector, max_retries)
    later = '(w."createdAt", w.id COLLATE "C") > (o."createdAt", o.id COLLATE "C")'
    sql = f"""
        SELECT name, id FROM (
            SELECT {group_of(PATTERN)} AS name, o.id, o."aggregateId", o."createdAt", row_number() OVER (
                PARTITION BY {PATTERN} ORDER BY o."createdAt", o.id COLLATE "C") AS place
            FROM outbox AS o WHERE {states.dead("o.")} AND {UNKNOWN_TYPE} AND NOT {CLOSED_DEAD} AND {wanted.sql}
        ) AS o WHERE {BY_DEBEZIUM} OR NOT EXISTS (
            SELECT FROM outbox AS w WHERE w."aggregateId" = o."aggregateId" AND {states.pending("w.")} AND {later})
        ORDER BY place, name LIMIT {_MOST_UNKNOWN}
    """  # noqa: S608 - built from constants only
    rows = connection.exec_driver_sql(sql, wanted.parameters).all()
    needless = needless_among(connection, [event for _, event in rows], max_retries)
    oldest: dict[str, str] = {group: event for group, event in reversed(rows) if event in needless}  # the oldest wins
    return [replace(group, to_close=oldest.get(group.group)) for group in found]
