"""Read the state of the outbox at a cost that does not grow with the number of published events.

Pending and dead events are counted exactly. The counts use the index on (published, "createdAt"), which skips published
rows. Only a limited number of published rows is read, newest first. The total number of rows is counted if the table is
small, and is estimated from the table's statistics if the table is large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import NOW, aware, stored
from ticketbottle_payctl.store.outbox import republished, states
from ticketbottle_payctl.store.outbox.dead import CLOSED_DEAD, NO_RIGHTS, Rights, rights
from ticketbottle_payctl.store.outbox.selector import GROUP, PATTERN

NEWEST = 10_000
"""The maximum number of published events to read. More events would hardly change the rates and lags."""

PARTS = 30
"""The number of equal parts into which the window is divided."""

_MOST_GROUPS = 50
_SMALL_BYTES = 16 * 1_048_576
_SAMPLED_PAGES = 200
_RECENT_S = 60


class By(StrEnum):
    """The property by which events are grouped."""

    TYPE = "type"
    STATUS = "status"
    PROVIDER = "provider"
    ERROR = "error"


class Recent(NamedTuple):
    """Counts and lags of the newest published events. All times are in UTC without a zone, as in the table.

    ``created_since`` and ``sent_since`` are the earliest times for which the counts are complete. Both times are
    later than the window's start if the window has more than :data:`NEWEST` events. The ``recent`` counts cover the
    last minute. Lags are seconds from ``"createdAt"`` to ``"publishedAt"``, or None if no event was sent.
    ``newest_sent`` is the creation time of the newest event that was sent in the last minute. ``last_sent`` is the time
    when an event was last sent, or None. ``rights`` is what the role is allowed to read.
    """

    now: datetime
    created_since: datetime
    sent_since: datetime
    created: int
    sent: int
    recent_created: int
    recent_sent: int
    lag_p50: float | None
    lag_p95: float | None
    lag_p99: float | None
    created_in: Mapping[str, int]
    sent_in: Mapping[str, int]
    newest_sent: datetime | None = None
    last_sent: datetime | None = None
    rights: Rights = NO_RIGHTS

    @property
    def runs_readable(self) -> bool:
        """Whether the role is allowed to read the rows of runs."""
        return self.rights.runs

    @property
    def last_sent_s(self) -> float | None:
        """The number of seconds since an event was last sent, or None."""
        return None if self.last_sent is None else max(0.0, (self.now - self.last_sent).total_seconds())


class Unpublished(NamedTuple):
    """Exact counts of the events that are not marked as published.

    Ages are in seconds by the database's clock, or None. ``late`` counts pending events that are older than
    ``late_after_s``. ``sent_unmarked`` counts half-marked events, which the old service sent. ``created`` and
    ``recent_created`` count the events in all these states that were created in the window and in the last minute.
    """

    pending: int
    dead: int
    sent_unmarked: int
    late: int
    oldest_pending_age_s: float | None
    oldest_pending_id: str | None
    oldest_dead_age_s: float | None
    created: int
    recent_created: int
    created_in: Mapping[str, int]


class Group(NamedTuple):
    """Unpublished events that have the same state and the same values in the grouping fields.

    Fields that are not used for grouping are None. ``error`` is the kind of the last error, and ``error_group`` is the
    id of this kind.
    """

    dead: bool
    event_type: str | None
    provider: str | None
    error: str | None
    error_group: str | None
    events: int
    oldest: datetime
    age_s: float


class Total(NamedTuple):
    """The number of rows in the table.

    ``exact`` is true if they were counted, and false if the number was estimated.
    """

    rows: int
    exact: bool


_PROVIDER = """COALESCE(upper(o.payload->>'provider'),
    (SELECT upper(p.provider) FROM payments AS p WHERE p.id = o."aggregateId"))"""
_COLUMNS: Mapping[By, Mapping[str, str]] = {
    By.TYPE: {"type": 'o."eventType"'},
    By.STATUS: {},
    By.PROVIDER: {"provider": _PROVIDER},
    By.ERROR: {
        "error": f'CASE WHEN o."lastError" IS NOT NULL THEN {PATTERN} END',
        "name": f'CASE WHEN o."lastError" IS NOT NULL THEN {GROUP} END',
    },
}
_LABELS = ("type", "provider", "error", "name")
_PART = """width_bucket(date_part('epoch', {at}), date_part('epoch', {start}), date_part('epoch', {now}) + 0.001,
    {parts})"""


def recent(connection: Connection, window_s: float = _RECENT_S) -> Recent:
    """Read the newest published events, at most :data:`NEWEST`.

    Newest means created last, because only the creation time has an index. Therefore an old event that was sent
    recently may be missing. Events that a replay sent again are left out of the lags, if the role is allowed to read
    the rows of runs.
    """
    allowed = rights(connection)
    again = republished.was_sent_before("newest.id") if allowed.runs else "false"
    sql = f"""
        WITH newest AS MATERIALIZED (
            SELECT id, "createdAt" AS made, COALESCE("publishedAt", "createdAt") AS sent FROM outbox
            WHERE published = true ORDER BY "createdAt" DESC LIMIT {NEWEST}
        ), clock AS MATERIALIZED (
            SELECT now, now - %(window)s * interval '1 second' AS start, now - {_RECENT_S} * interval '1 second' AS late
            FROM (SELECT {NOW} AS now) AS read
        ), span AS MATERIALIZED (
            SELECT now, late,
                CASE WHEN count(made) < {NEWEST} THEN start ELSE GREATEST(start, min(made)) END AS made_since,
                CASE WHEN count(made) < {NEWEST} THEN start ELSE GREATEST(start, min(sent)) END AS sent_since
            FROM clock LEFT JOIN newest ON true GROUP BY now, late, start
        ), counted AS (
            SELECT count(*) FILTER (WHERE made >= made_since) AS created,
                count(*) FILTER (WHERE sent >= sent_since) AS sent,
                count(*) FILTER (WHERE made >= GREATEST(late, made_since)) AS recent_created,
                count(*) FILTER (WHERE sent >= GREATEST(late, sent_since)) AS recent_sent,
                percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY GREATEST(sent - made, interval '0'))
                    FILTER (WHERE sent >= sent_since AND NOT {again}) AS lags,
                max(made) FILTER (WHERE sent >= late) AS newest_sent, max(sent) AS last_sent
            FROM newest, span
        )
        SELECT now, made_since, sent_since, created, sent, recent_created, recent_sent,
            EXTRACT(epoch FROM lags[1])::float8, EXTRACT(epoch FROM lags[2])::float8,
            EXTRACT(epoch FROM lags[3])::float8,
            (SELECT json_object_agg(part, n) FROM (
                SELECT {_part("made")} AS part, count(*) AS n FROM newest WHERE made >= made_since GROUP BY 1) AS p),
            (SELECT json_object_agg(part, n) FROM (
                SELECT {_part("sent")} AS part, count(*) AS n FROM newest WHERE sent >= made_since GROUP BY 1) AS p),
            newest_sent, last_sent
        FROM span, counted
    """  # noqa: S608 - built from constants only
    row = connection.exec_driver_sql(sql, {"window": window_s}).one()
    return Recent._make((*row[:10], row[10] or {}, row[11] or {}, *row[12:], allowed))


def unpublished(
    connection: Connection, max_retries: int, *, late_after_s: float, seen: Recent | None = None
) -> Unpublished:
    """Count the events that are not marked as published.

    Also count how many of them were created in the time window that ``seen`` covers.
    """
    sql = f"""
        WITH each AS (
            SELECT CASE WHEN {states.half_marked()} THEN 'sent' ELSE {states.name()} END AS state, "createdAt" AS made
            FROM outbox WHERE published = false
        ), clock AS MATERIALIZED (
            SELECT now, COALESCE(%(since)s, now) AS start, now - {_RECENT_S} * interval '1 second' AS late
            FROM (SELECT COALESCE(%(now)s, {NOW}) AS now) AS read
        ), grouped AS MATERIALIZED (
            SELECT state, {_part("made", "start")} AS part, count(*) AS n, min(made) AS oldest,
                count(*) FILTER (WHERE made < now - %(late)s * interval '1 second') AS overdue,
                count(*) FILTER (WHERE made >= start) AS created,
                count(*) FILTER (WHERE made >= GREATEST(late, start)) AS recent
            FROM each, clock GROUP BY 1, 2
        ), each_state AS (
            SELECT state, sum(n)::int AS n, min(oldest) AS oldest, sum(overdue)::int AS overdue,
                GREATEST(0, EXTRACT(epoch FROM now - min(oldest)))::float8 AS age
            FROM grouped, clock GROUP BY state, now
        )
        SELECT COALESCE(json_object_agg(state, json_build_object('n', n, 'age', age, 'late', overdue)), '{{}}'),
            (SELECT o.id FROM outbox AS o WHERE {states.pending("o.")}
             AND o."createdAt" = (SELECT oldest FROM each_state WHERE state = 'pending')
             ORDER BY id COLLATE "C" LIMIT 1),
            (SELECT COALESCE(sum(created), 0)::int FROM grouped), (SELECT COALESCE(sum(recent), 0)::int FROM grouped),
            (SELECT json_object_agg(part, n) FROM (
                SELECT part, sum(n)::int AS n FROM grouped WHERE part > 0 GROUP BY part) AS p)
        FROM each_state
    """  # noqa: S608 - built from constants only
    parameters = {
        "max_retries": max_retries,
        "late": late_after_s,
        "now": seen and seen.now,
        "since": seen and seen.created_since,
    }
    by_state, oldest_id, created, recently, parts = connection.exec_driver_sql(sql, parameters).one()
    pending, dead, sent = (by_state.get(name, {}) for name in ("pending", "dead", "sent"))
    return Unpublished(
        pending=pending.get("n", 0),
        dead=dead.get("n", 0),
        sent_unmarked=sent.get("n", 0),
        late=pending.get("late", 0),
        oldest_pending_age_s=pending.get("age"),
        oldest_pending_id=oldest_id,
        oldest_dead_age_s=dead.get("age"),
        created=created,
        recent_created=recently,
        created_in=parts or {},
    )


def created_after(connection: Connection, at: datetime) -> int:
    """Count the published and unpublished events that were created after ``at``. Only those rows are read."""
    sql = """
        SELECT (SELECT count(*) FROM outbox WHERE published = true AND "createdAt" > %(at)s)
            + (SELECT count(*) FROM outbox WHERE published = false AND "createdAt" > %(at)s)
    """
    return int(connection.exec_driver_sql(sql, {"at": stored(at)}).scalar_one())


def groups(connection: Connection, max_retries: int, by: Sequence[By], *, without_closed: bool = False) -> list[Group]:
    """Return the largest groups of unpublished events, at most 50 groups for each state.

    Groups of dead events come first. If ``without_closed`` is true, closed events are left out, and the role must be
    allowed to read the payments and the closing records.
    """
    kept = f"AND NOT {CLOSED_DEAD}" if without_closed else ""
    asked = {name: column for each in by for name, column in _COLUMNS[each].items()}
    columns = ", ".join(f"{asked.get(name, 'NULL::text')} AS {name}" for name in _LABELS)
    sql = f"""
        WITH each AS (
            SELECT {states.dead("o.")} AS dead, {columns}, o."createdAt" AS made
            FROM outbox AS o WHERE {states.unpublished("o.")} {kept}
        ), grouped AS (
            SELECT dead, type, provider, error, name, count(*) AS n, min(made) AS oldest
            FROM each GROUP BY dead, type, provider, error, name
        ), ranked AS (
            SELECT *, row_number() OVER (PARTITION BY dead ORDER BY n DESC, oldest) AS rank FROM grouped
        )
        SELECT dead, type, provider, error, name, n, oldest,
            GREATEST(0, EXTRACT(epoch FROM {NOW} - oldest))::float8
        FROM ranked WHERE rank <= {_MOST_GROUPS} ORDER BY dead DESC, rank
    """  # noqa: S608 - built from constants only
    rows = connection.exec_driver_sql(sql, {"max_retries": max_retries})
    return [Group._make((*row[:6], aware(row[6]), row[7])) for row in rows]


def sent_by(connection: Connection, by: By, since: datetime) -> dict[str | None, int]:
    """Count the newest published events that were sent since an instant (UTC, without a zone), by type or provider."""
    (label,) = _COLUMNS[by].values()
    sql = f"""
        SELECT {label}, count(*) FROM (
            SELECT "eventType", payload, "aggregateId", COALESCE("publishedAt", "createdAt") AS sent FROM outbox
            WHERE published = true ORDER BY "createdAt" DESC LIMIT {NEWEST}) AS o
        WHERE sent >= %(since)s GROUP BY 1
    """  # noqa: S608 - built from constants only
    return {name: int(events) for name, events in connection.exec_driver_sql(sql, {"since": since})}


def total(connection: Connection) -> Total:
    """Count the rows if the table is small. Otherwise estimate the count from the table's statistics and file size."""
    row = connection.exec_driver_sql(
        """
        SELECT pg_relation_size(oid), current_setting('block_size')::int, reltuples, relpages
        FROM pg_class WHERE oid = to_regclass('outbox')
        """
    ).first()
    size, page, rows, pages = row or (0, 8192, 0.0, 0)
    if size <= _SMALL_BYTES:
        return Total(int(connection.exec_driver_sql("SELECT count(*) FROM outbox").scalar_one()), exact=True)
    if rows < 0 or not pages:  # the table was never analysed
        share = min(100.0, 100.0 * _SAMPLED_PAGES * page / size)
        sql = "SELECT count(*) FROM outbox TABLESAMPLE SYSTEM (%(share)s) REPEATABLE (1)"
        sampled = connection.exec_driver_sql(sql, {"share": share}).scalar_one()
        return Total(round(int(sampled) * 100 / share), exact=False)
    return Total(round(rows / pages * (size / page)), exact=False)


def _part(at: str, start: str = "made_since") -> str:
    return _PART.format(at=at, start=start, now="now", parts=PARTS)
