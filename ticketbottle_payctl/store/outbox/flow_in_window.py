"""Read how many events were created, sent and waiting in a time window, and how long their lags were.

The creation time has an index, but the publishing time does not. Therefore payctl reads the newest published events by
creation time, at most :data:`MOST_READ`, and checks when each was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import aware, stored
from ticketbottle_payctl.store.outbox import republished, states

MOST_READ = 1_000_000
"""The maximum number of published events to read, starting with the newest."""

# The old service stored "createdAt" in the session's time zone, and no zone is further from UTC than this.
_WRONG_ZONE = timedelta(hours=15)


class Parts(NamedTuple):
    """A time window that is divided into parts of ``step_s`` seconds. The first part, number 0, begins at ``since``."""

    since: datetime
    until: datetime
    step_s: float

    @property
    def number(self) -> int:
        """Return the number of parts. The last part may be shorter."""
        return max(1, int(-(-(self.until - self.since).total_seconds() // self.step_s)))

    def start(self, part: int) -> datetime:
        """Return the instant at which a part begins."""
        return min(self.until, self.since + timedelta(seconds=part * self.step_s))


class SentPart(NamedTuple):
    """The number of events that were sent in one part of the window, and their lags in seconds.

    The first of these events was sent at ``first``, and the last at ``last``. The lags are None if all these events had
    already been sent before a replay requeued them.
    """

    sent: int
    lag_p50: float | None
    lag_p95: float | None
    longest: float | None
    first: datetime
    last: datetime


class Newcomers(NamedTuple):
    """The number of events that were created in a part of the window after the part's last event was sent.

    If no event was sent in the part, ``number`` counts all events that were created in it. The oldest counted event was
    created at ``first``.
    """

    number: int
    first: datetime


class Slowest(NamedTuple):
    """The event with the longest lag."""

    id: str
    event_type: str
    created_at: datetime
    published_at: datetime
    lag_s: float


class Flow(NamedTuple):
    """The flow of events in a window. The keys of the mappings are part numbers.

    The mappings omit parts without events. ``created`` counts all events that were created, and ``joined`` counts only
    the created events that are not dead now. ``newcomers`` counts the events that were created after the last event of
    the same part was sent. ``waiting`` counts the events that were waiting when the window started and are not dead
    now. Lags are seconds from ``"createdAt"`` to ``"publishedAt"``, or None if no event was sent. An event that a
    replay sent again has no lag, and waited only since it was requeued. Only published events that were created after
    ``read_since`` were read. If all published events were read, ``read_since`` is None.
    """

    created: Mapping[int, int]
    joined: Mapping[int, int]
    newcomers: Mapping[int, Newcomers]
    sent: Mapping[int, SentPart]
    waiting: int
    lag_p50: float | None
    lag_p95: float | None
    lag_p99: float | None
    slowest: Slowest | None
    read_since: datetime | None


def part_of(at: str, start: str = "%(since)s") -> str:
    """Return the SQL expression for the number of the part that contains an instant.

    The statement that contains the expression needs the ``since`` and ``step`` parameters.
    """
    return f"floor(date_part('epoch', {at} - {start}) / %(step)s::float8)::int"


_BEYOND = """
    SELECT "createdAt" FROM outbox WHERE published = true AND "createdAt" < %(until_created)s
    ORDER BY "createdAt" DESC OFFSET %(most)s LIMIT 1
"""

_CREATED = f"""
    SELECT {part_of('"createdAt"')}, count(*) FROM outbox
    WHERE published = ANY('{{t,f}}') AND "createdAt" >= %(since)s AND "createdAt" < %(until)s GROUP BY 1
"""  # noqa: S608 - only constants are put in

_REQUEUED = "max(at) AT TIME ZONE 'UTC' AS requeued FROM payctl.run_items"

# The record of replays grows without a limit. If it has more rows than the window has events, the server looks up each
# event in the record's index. Otherwise the server reads the record once, which is cheaper than many lookups.
_AGAIN_EACH = f"""CROSS JOIN LATERAL (
    SELECT {_REQUEUED} WHERE item_id = o.id AND {republished.IS_REPUBLISHED}) AS again"""
_AGAIN_ONCE = f"""LEFT JOIN (
    SELECT item_id, {_REQUEUED} WHERE {republished.IS_REPUBLISHED} GROUP BY item_id) AS again ON again.item_id = o.id"""
_RECORDED = "SELECT reltuples FROM pg_class WHERE oid = 'payctl.run_items'::regclass"


def _flow_sql(again: str) -> str:
    """Return the statement that finds each event that waited or was sent in the window. ``again`` finds the replays.

    An event that a replay sends again counts from when it was requeued, and has no lag, because the customer did not
    wait for it.
    """
    # The index skips the published events when the server reads the unpublished ones. Each event's parts and lag are
    # computed once, because the events are then read six times. A part is NULL if its instant is outside the window.
    # The lag is NULL unless the event was first sent in the window.
    return f"""
    WITH found AS NOT MATERIALIZED (
        SELECT o.ctid AS place, COALESCE(requeued, o."createdAt") AS made, o."publishedAt" AS sent,
            requeued IS NULL AS first
        FROM outbox AS o {again}
        WHERE o.published = true AND o."createdAt" > %(read_since)s AND o."createdAt" < %(until_created)s
          AND o."publishedAt" >= %(since)s
        UNION ALL
        SELECT o.ctid, COALESCE(requeued, o."createdAt"), o."publishedAt", requeued IS NULL
        FROM outbox AS o {again}
        WHERE o.published = false AND o."createdAt" < %(until_created)s
          AND (o."publishedAt" >= %(since)s OR {states.pending("o.")})
    ), touched AS MATERIALIZED (
        SELECT place, made, sent,
            CASE WHEN made >= %(since)s AND made < %(until)s THEN {part_of("made")} END AS joined_in,
            CASE WHEN sent >= %(since)s AND sent < %(until)s THEN {part_of("sent")} END AS sent_in,
            CASE WHEN first AND sent >= %(since)s AND sent < %(until)s
                THEN GREATEST(0, date_part('epoch', sent - made)) END AS lag
        FROM found
    ), parts AS (
        SELECT sent_in, count(*) AS n, max(lag) AS longest, min(sent) AS first, max(sent) AS last,
            percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY lag) AS l
        FROM touched WHERE sent_in IS NOT NULL GROUP BY 1
    ), newcomers AS (
        SELECT joined_in, count(*) AS n, min(made) AS first
        FROM touched LEFT JOIN parts ON parts.sent_in = joined_in
        WHERE joined_in IS NOT NULL AND (last IS NULL OR made > last) GROUP BY 1
    ), lags AS (
        SELECT percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY lag) AS p FROM touched
    )
    SELECT
        (SELECT json_object_agg(joined_in, n) FROM (
            SELECT joined_in, count(*) AS n FROM touched WHERE joined_in IS NOT NULL GROUP BY 1) AS p),
        (SELECT json_object_agg(sent_in, json_build_array(n, l[1], l[2], longest, first, last)) FROM parts),
        (SELECT json_object_agg(joined_in, json_build_array(n, first)) FROM newcomers),
        (SELECT count(*) FROM touched WHERE made < %(since)s), p[1], p[2], p[3],
        o.id, o."eventType", o."createdAt", o."publishedAt", slowest.lag
    FROM lags LEFT JOIN (
        SELECT place, lag FROM touched WHERE lag IS NOT NULL ORDER BY lag DESC, sent, made LIMIT 1) AS slowest ON true
    LEFT JOIN outbox AS o ON o.ctid = slowest.place
"""  # noqa: S608 - only constants are put in


def flow(connection: Connection, parts: Parts, max_retries: int, most: int = MOST_READ) -> Flow:
    """Read the flow of events in a window. At most ``most`` published events are read.

    If an event was sent more than once, only the last time counts, because the row does not contain the earlier times.
    """
    parameters: dict[str, object] = {
        "since": stored(parts.since),
        "until": stored(parts.until),
        "until_created": stored(parts.until + _WRONG_ZONE),
        "step": parts.step_s,
        "max_retries": max_retries,
        "most": most,
    }
    beyond = connection.exec_driver_sql(_BEYOND, parameters).scalar_one_or_none()
    created = {int(part): int(n) for part, n in connection.exec_driver_sql(_CREATED, parameters)}
    recorded = connection.exec_driver_sql(_RECORDED).scalar_one()
    sql = _flow_sql(_AGAIN_EACH if recorded > sum(created.values()) else _AGAIN_ONCE)
    row = connection.exec_driver_sql(sql, parameters | {"read_since": beyond or "-infinity"}).one()
    joined, sent, newcomers, waiting, p50, p95, p99, slowest_id, slowest_type, made, published, lag = row
    slowest = None if slowest_id is None else Slowest(slowest_id, slowest_type, aware(made), aware(published), lag)
    return Flow(
        created=created,
        joined={int(part): n for part, n in (joined or {}).items()},
        newcomers={int(part): Newcomers(n, _read(first)) for part, (n, first) in (newcomers or {}).items()},
        sent={int(part): _sent(*each) for part, each in (sent or {}).items()},
        waiting=waiting,
        lag_p50=p50,
        lag_p95=p95,
        lag_p99=p99,
        slowest=slowest,
        read_since=aware(beyond),
    )


def _sent(  # noqa: PLR0913, PLR0917 - a row
    sent: int, p50: float | None, p95: float | None, longest: float | None, first: str, last: str
) -> SentPart:
    return SentPart(sent, p50, p95, longest, _read(first), _read(last))


def _read(text: str) -> datetime:
    """Parse an instant from PostgreSQL's JSON."""
    return aware(datetime.fromisoformat(text))
