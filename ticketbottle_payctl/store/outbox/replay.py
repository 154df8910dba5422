"""Find the events that a replay would requeue, and apply a run's plan one chunk at a time.

::

    published = false, "publishedAt" = null, "retryCount" = 0    "lastError" stays, because it says why the event failed

An event is changed only if its row still has the planned version. The event's id never changes. A publisher copies the
run's id from ``payctl.event_context`` to the message's headers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db.owner_time import aware, stored
from ticketbottle_payctl.store.db.privileges import may_read_outbox
from ticketbottle_payctl.store.outbox import shard_lock, states
from ticketbottle_payctl.store.outbox.run_errors import hide_secrets
from ticketbottle_payctl.store.outbox.selector import (
    SUPERSEDED,
    TOO_LARGE,
    UNKNOWN_TYPE,
    Selector,
    check_pattern,
    pattern_errors_as_input_errors,
    predicate,
)

# This string separates ids in one parameter, which is faster than a list. An id that contains this string matches no
# row and is skipped.
_BETWEEN = "\x1f"

CHUNK = 1000
"""The maximum number of rows in one transaction."""


class Row(NamedTuple):
    """The id of a row, its location in the table, and the id of the transaction that wrote it.

    Every change of the row changes the location and the transaction.
    """

    id: str
    place: str
    version: int


class Candidate(NamedTuple):
    """An event that the selector matches.

    ``retries`` counts the failures since the event was last requeued. ``too_large`` is true if the event failed because
    it is larger than the largest message that payctl sends.
    """

    row: Row
    aggregate_id: str
    event_type: str
    created_at: datetime
    state: str
    superseded: bool
    retries: int
    too_large: bool


class Superseded(NamedTuple):
    """A failure or cancellation event whose payment is COMPLETED now.

    If a PAYMENT_FAILED event were sent again, a customer who has paid would lose their tickets.
    """

    id: str
    event_type: str
    aggregate_id: str


class Chunk(NamedTuple):
    """The result of one transaction. ``outcomes`` contains the number of events by outcome and reason."""

    number: int
    outcomes: dict[tuple[str, str | None], int]


@dataclass(frozen=True, slots=True)
class Progress:
    """The number of a run's requeued events in each current state."""

    published: int
    dead: int
    pending: int


def candidates(connection: Connection, selector: Selector, max_retries: int) -> list[Candidate]:
    """Return the selected events, oldest first.

    Include published events only if the selector contains this state or ids.

    Raises:
        InputError: the ``error`` pattern is not a regular expression.
    """
    check_pattern(connection, selector)
    chosen, parameters = _chosen(selector, max_retries)
    sql = f"""
        SELECT o.id, o.ctid::text, o.xmin::text::bigint, o."aggregateId", o."eventType", o."createdAt",
            {states.name("o.")}, {SUPERSEDED}, o."retryCount",
            COALESCE({TOO_LARGE}, false)
        FROM {chosen} AS o ORDER BY o."createdAt", o.id COLLATE "C"
    """  # noqa: S608 - built from constants only
    with pattern_errors_as_input_errors(selector):
        rows = connection.exec_driver_sql(sql, parameters)
        return [Candidate(Row(*row[:3]), row[3], row[4], aware(row[5]), *row[6:]) for row in rows]


def count_candidates(
    connection: Connection, selector: Selector, max_retries: int, *, published: bool, superseded: bool
) -> int:
    """Count the selected events that a replay with these options would requeue.

    Raises:
        InputError: the ``error`` pattern is not a regular expression.
    """
    check_pattern(connection, selector)
    chosen, parameters = _chosen(selector, max_retries)
    leave = {"published": published, "superseded": superseded}
    sql = f"""
        SELECT count(*) FROM {chosen} AS o
        WHERE NOT {UNKNOWN_TYPE} AND {TOO_LARGE} IS NOT TRUE AND (%(published)s OR {states.unpublished("o.")})
          AND (%(superseded)s OR NOT {SUPERSEDED})
    """  # noqa: S608 - built from constants only
    with pattern_errors_as_input_errors(selector):
        return int(connection.exec_driver_sql(sql, parameters | leave).scalar_one())


def count_failed(connection: Connection, ids: Sequence[str]) -> int:
    """Count the given events that have failed since they were last requeued."""
    if not ids:
        return 0
    sql = 'SELECT count(*) FROM outbox WHERE id = ANY(%(ids)s) AND "retryCount" > 0'
    return int(connection.exec_driver_sql(sql, {"ids": [*ids]}).scalar_one())


def keys_with_newer_events(connection: Connection, planned: Sequence[Candidate]) -> int:
    """Count the payments in the plan that have a newer published event outside the plan.

    A newer pending event does not count, because publishers send it after the replayed event.
    """
    if not planned:
        return 0
    newest: dict[str, datetime] = {}
    for event in planned:  # events are in order, so the last event of a key is its newest
        newest[event.aggregate_id] = event.created_at
    return int(
        connection.exec_driver_sql(
            f"""
            SELECT count(DISTINCT o."aggregateId")
            FROM unnest(%(keys)s::text[], %(newest)s::timestamp[]) AS k (key, at)
            JOIN outbox AS o ON o."aggregateId" = k.key AND o."createdAt" > k.at
            WHERE o.published IN (true, false) AND {states.published("o.")} AND o."createdAt" > %(oldest)s
            """,  # noqa: S608 - built from constants only
            {
                "keys": list(newest),
                "newest": [stored(at) for at in newest.values()],
                "oldest": stored(min(newest.values())),
            },
        ).scalar_one()
    )


def superseded_among(connection: Connection, ids: Sequence[str]) -> tuple[Superseded, ...]:
    """Return the given events that are superseded now, oldest first."""
    if not ids:
        return ()
    return _superseded(connection, "o.id = ANY(%(ids)s)", {"ids": list(ids)})


def superseded_left(connection: Connection, run_id: str) -> tuple[Superseded, ...]:
    """Return the superseded events in the part of the run's plan that has not been applied yet, oldest first."""
    left = """o.id = ANY(ARRAY(SELECT unnest(event_ids) FROM payctl.run_chunks
        WHERE run_id = %(run)s::uuid AND applied_at IS NULL))"""
    return _superseded(connection, left, {"run": run_id})


def _superseded(connection: Connection, which: str, parameters: dict[str, object]) -> tuple[Superseded, ...]:
    sql = f"""
        SELECT o.id, o."eventType", o."aggregateId" FROM outbox AS o
        WHERE {which} AND {SUPERSEDED} ORDER BY o."createdAt", o.id COLLATE "C"
    """  # noqa: S608 - built from constants only
    return tuple(Superseded(*row) for row in connection.exec_driver_sql(sql, parameters))


def store_plan(connection: Connection, run_id: str, chunks: Iterable[Sequence[Row]]) -> None:
    """Store a run's plan in chunks. Each chunk will be applied in one transaction."""
    for number, chunk in enumerate(chunks):
        connection.exec_driver_sql(
            """
            INSERT INTO payctl.run_chunks (run_id, number, event_ids, places, versions)
            VALUES (%(run)s::uuid, %(number)s, string_to_array(%(ids)s, %(between)s),
                string_to_array(%(places)s, %(between)s)::tid[], string_to_array(%(versions)s, %(between)s)::bigint[])
            """,
            {
                "run": run_id,
                "number": number,
                "between": _BETWEEN,
                "ids": _BETWEEN.join([row.id for row in chunk]),
                "places": _BETWEEN.join([row.place for row in chunk]),
                "versions": _BETWEEN.join([str(row.version) for row in chunk]),
            },
        )


def apply_next(connection: Connection, run_id: str, *, allow_published: bool, allow_superseded: bool) -> Chunk | None:
    """Apply the run's next chunk. Return None if no chunk is left or the run was cancelled.

    A row is requeued only if it exists, no other session has locked it, and it still has the planned version. An
    event of an unknown type is never requeued. A published or superseded event is requeued only if this is allowed.
    Any other row is left unchanged, and the reason is recorded.
    """
    number = connection.exec_driver_sql(_NEXT, {"run": run_id}).scalar_one_or_none()
    if number is None:
        return None
    allowed = {"allow_published": allow_published, "allow_superseded": allow_superseded}
    parameters = {"run": run_id, "number": number, **allowed}
    rows = connection.exec_driver_sql(_APPLY, parameters).all()
    hide_secrets(connection, run_id, number, {error for *_, errors in rows for error in errors})
    return Chunk(number, {(outcome, reason): count for outcome, reason, count, _ in rows})


def remaining(connection: Connection, run_id: str) -> tuple[int, int]:
    """Return how many chunks of the run's plan have not been applied yet, and how many events they contain."""
    row = connection.exec_driver_sql(
        """
        SELECT count(*), coalesce(sum(cardinality(event_ids)), 0)::bigint FROM payctl.run_chunks
        WHERE run_id = %(run)s::uuid AND applied_at IS NULL
        """,
        {"run": run_id},
    ).one()
    return int(row[0]), int(row[1])


def may_read_progress(connection: Connection) -> bool:
    """Return whether the role is allowed to read the columns that :func:`progress` reads."""
    columns = may_read_outbox("id", "published", "publishedAt", "retryCount")
    return bool(connection.exec_driver_sql(f"SELECT {columns}").scalar_one())


def progress(connection: Connection, run_id: str, max_retries: int, *, chunk: int | None = None) -> Progress:
    """Count the requeued events of a run or of one chunk by state. A deleted event counts as published."""
    row = connection.exec_driver_sql(
        f"""
        SELECT count(*) FILTER (WHERE o.id IS NULL OR {states.published("o.")}),
            count(*) FILTER (WHERE {states.dead("o.")}),
            count(*) FILTER (WHERE {states.pending("o.")})
        FROM payctl.run_items AS i LEFT JOIN outbox AS o ON o.id = i.item_id
        WHERE i.run_id = %(run)s::uuid AND i.outcome = 'requeued' AND i.chunk = COALESCE(%(chunk)s, i.chunk)
        """,  # noqa: S608 - built from constants only
        {"run": run_id, "chunk": chunk, "max_retries": max_retries},
    ).one()
    return Progress(*row)


def outcomes(connection: Connection, run_id: str, *, chunk: int | None = None) -> dict[tuple[str, str | None], int]:
    """Count the events of a run or of one chunk by outcome and reason."""
    rows = connection.exec_driver_sql(
        """
        SELECT outcome, reason, count(*) FROM payctl.run_items
        WHERE run_id = %(run)s::uuid AND chunk = COALESCE(%(chunk)s, chunk) GROUP BY 1, 2
        """,
        {"run": run_id, "chunk": chunk},
    )
    return {(outcome, reason): count for outcome, reason, count in rows}


def _chosen(selector: Selector, max_retries: int) -> tuple[str, dict[str, object]]:
    wanted = predicate(selector, max_retries)
    conditions = [wanted.sql]
    if not selector.published and selector.ids is None:
        conditions.append(states.unpublished("o."))
    where = " AND ".join(conditions)
    limit = 'ORDER BY o."createdAt", o.id COLLATE "C" LIMIT %(limit)s' if selector.limit is not None else ""
    sql = f"(SELECT o.*, o.ctid, o.xmin FROM outbox AS o WHERE {where} {limit})"  # noqa: S608 - constant text
    return sql, wanted.parameters | {"limit": selector.limit}


# If a run is resumed twice at the same time, the row lock makes sure that a chunk is applied once. The chunk's commit
# does not wait for the disk. If the server crashes, it may lose the last chunks. A chunk's mark is then lost along with
# the chunk's row changes, so a resumed run applies the chunk again. The final update of the run's record is
# committed as usual.
_NEXT = """
SELECT c.number FROM payctl.run_chunks AS c JOIN payctl.runs AS r ON r.id = c.run_id,
    set_config('synchronous_commit', 'off', true)
WHERE c.run_id = %(run)s::uuid AND c.applied_at IS NULL AND r.status <> 'cancelled'
ORDER BY c.number LIMIT 1 FOR UPDATE OF c
"""

# A customer can still pay after a failure was published. If a replay requeues the failure, publishers must rescan, so
# that they do not send it after the success. A dead event needs no rescan. Publishers remember it as dead until they
# rescan, so it blocks its payment.
_RESCAN = shard_lock.MAKE_RESCAN.format(
    condition="""EXISTS (SELECT FROM judged
    WHERE reason IS NULL AND published AND type IN ('PAYMENT_FAILED', 'PAYMENT_CANCELLED'))"""
)

# A row that another session has locked is skipped. The statement locks the row first and then reads its version, so the
# row that is checked is also the row that is updated. Every change of a row changes its ctid.
_APPLY = f"""
WITH chunk AS (
    UPDATE payctl.run_chunks SET applied_at = clock_timestamp()
    WHERE run_id = %(run)s::uuid AND number = %(number)s
    RETURNING event_ids, places, versions
), planned AS MATERIALIZED (
    SELECT p.* FROM chunk, unnest(chunk.event_ids, chunk.places, chunk.versions) WITH ORDINALITY
        AS p (id, ctid_then, version, place)
), held AS MATERIALIZED (
    SELECT o.ctid AS here, o.id, o."aggregateId", o."eventType", o.published, o."publishedAt", o."retryCount",
        o."lastError", o.xmin::text::bigint AS version
    FROM outbox AS o WHERE o.ctid = ANY (ARRAY(SELECT ctid_then FROM planned)) FOR NO KEY UPDATE SKIP LOCKED
), judged AS MATERIALIZED (
    SELECT p.id, p.place, o.here, o.published, o."publishedAt", o."retryCount", o."lastError", o."eventType" AS type,
        CASE
            WHEN o.id IS NULL THEN COALESCE((SELECT CASE x.ctid WHEN p.ctid_then THEN 'locked' ELSE 'changed' END
                FROM outbox AS x WHERE x.id = p.id), 'gone')
            WHEN o.version <> p.version THEN 'changed'
            WHEN {UNKNOWN_TYPE} THEN 'unknown_type'
            WHEN NOT %(allow_published)s AND o.published THEN 'published'
            WHEN NOT %(allow_superseded)s AND {SUPERSEDED} THEN 'superseded'
        END AS reason
    FROM planned AS p LEFT JOIN held AS o ON o.id = p.id AND o.here = p.ctid_then
), requeued AS (
    UPDATE outbox AS o SET published = false, "publishedAt" = NULL, "retryCount" = 0
    WHERE o.ctid = ANY (ARRAY(SELECT here FROM judged WHERE reason IS NULL))
    RETURNING o.id
), rescan AS ({_RESCAN}), context AS (
    INSERT INTO payctl.event_context (event_id, replay_run_id) SELECT id, %(run)s FROM requeued
    ON CONFLICT (event_id) DO UPDATE SET replay_run_id = excluded.replay_run_id
), recorded AS (
    INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, reason, before, after)
    SELECT %(run)s::uuid, %(number)s, j.place, j.id,
        CASE WHEN j.reason IS NULL THEN 'requeued' WHEN j.reason = 'locked' THEN 'failed' ELSE 'skipped' END, j.reason,
        CASE WHEN j.here IS NOT NULL THEN jsonb_build_object('published', j.published,
            'published_at', j."publishedAt", 'retry_count', j."retryCount", 'last_error', j."lastError") END,
        CASE WHEN j.reason IS NULL THEN jsonb_build_object('published', false, 'published_at', NULL,
            'retry_count', 0, 'last_error', j."lastError") END
    FROM judged AS j
    RETURNING outcome, reason, before->>'last_error' AS error
)
SELECT outcome, reason, count(*), array_remove(array_agg(DISTINCT error), NULL) FROM recorded GROUP BY 1, 2
"""  # noqa: S608 - built from constants only
