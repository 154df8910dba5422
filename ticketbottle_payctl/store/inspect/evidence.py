"""Collect evidence about why events are waiting.

payctl reads only a limited number of pending events, oldest first. payctl finds out which session has locked a row,
without locking the row itself. The row's ``xmax`` is the id of the transaction that has locked or changed the row, and
a running transaction holds a lock on its own id. payctl does not find a row lock that several sessions share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from ticketbottle_payctl.domain.causes import (
    NO_LATE_FAILURES,
    NO_PAID_ORDERS,
    OVERDUE_AFTER,
    WAITS_AFTER,
    DeadGroup,
    Evidence,
    Holder,
    PaidOrders,
    Reason,
    Waiting,
)
from ticketbottle_payctl.domain.retry import backoff
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.store.db import advisory_locks
from ticketbottle_payctl.store.db.advisory_locks import Namespace
from ticketbottle_payctl.store.db.owner_time import NOW
from ticketbottle_payctl.store.inspect import publishers
from ticketbottle_payctl.store.outbox import cdc, dead, error_groups, paid_orders, republished, states
from ticketbottle_payctl.store.outbox.orders_at_risk import OrdersAtRisk, orders_at_risk
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.outbox.stats import Recent, Unpublished

_MOST_LOOKED_AT = 20_000
_MOST_DEAD_GROUPS = 3
_MOST_RETRIES = 20
"""The number of retries after which the backoff no longer grows."""

_OLDEST = '(array_agg(judged.id ORDER BY judged.made, judged.id COLLATE "C"))[1]'
# A later event of a requeued payment could not be sent before the replay, if the requeued event blocked it.
_OLDEST_AND_EARLIER = """SELECT e.id FROM waiting AS e WHERE e.made <= min(judged.made)
    AND e.key = (array_agg(judged.key ORDER BY judged.made, judged.id COLLATE "C"))[1]"""
_HOLDER = "h.pid, h.application, h.usename, h.state, h.seconds"
_WAITING = f"""
    WITH clock AS MATERIALIZED (SELECT {NOW} AS now),
    waiting AS MATERIALIZED (
        SELECT id, "aggregateId" AS key, "eventType" AS type, "createdAt" AS made, "retryCount" AS tries,
            left("lastError", 500) AS error, xmax AS locker
        FROM outbox WHERE {states.pending()} ORDER BY "createdAt" LIMIT {_MOST_LOOKED_AT}
    ), failed AS MATERIALIZED (
        SELECT DISTINCT ON ("aggregateId", {states.dead()}) "aggregateId" AS key, {states.dead()} AS dead,
            id, "eventType" AS type, "createdAt" AS made, left("lastError", 500) AS error
        FROM outbox
        WHERE {states.unpublished()} AND ("retryCount" > 0 OR {states.dead()})
          AND "aggregateId" IN (SELECT key FROM waiting)
        ORDER BY "aggregateId", {states.dead()}, "createdAt", id COLLATE "C"
    ), holder AS MATERIALIZED (
        SELECT t.transactionid AS xid, t.pid, nullif(a.application_name, '') AS application, a.usename, a.state,
            EXTRACT(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds
        FROM pg_locks AS t LEFT JOIN pg_stat_activity AS a ON a.pid = t.pid
        WHERE t.locktype = 'transactionid' AND t.mode = 'ExclusiveLock' AND t.granted
          AND NOT EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = t.pid AND {advisory_locks.held(Namespace.SHARDS)})
    ), judged AS (
        SELECT w.*, now, COALESCE(d.id, f.id) AS blocker, COALESCE(d.type, f.type) AS blocker_type,
            COALESCE(d.error, w.error, f.error) AS last_error, w.made + b.wait * interval '1 second' AS due, {_HOLDER},
            CASE WHEN d.id IS NOT NULL THEN 'blocked'
                 WHEN h.xid IS NOT NULL THEN 'locked'
                 WHEN w.tries > 0 AND w.made + b.wait * interval '1 second' > now THEN 'not_due'
                 WHEN w.tries > 0 THEN 'failing'
                 WHEN f.id IS NOT NULL THEN 'behind_failing'
                 WHEN {{unanswered}} THEN 'unanswered'
                 ELSE 'ready' END AS reason, w.tries > 0 OR f.id IS NOT NULL AS failed
        FROM waiting AS w CROSS JOIN clock
        LEFT JOIN failed AS d ON d.dead AND d.key = w.key AND (d.made, d.id COLLATE "C") < (w.made, w.id COLLATE "C")
        LEFT JOIN failed AS f ON NOT f.dead AND f.key = w.key
            AND (f.made, f.id COLLATE "C") < (w.made, w.id COLLATE "C")
        LEFT JOIN holder AS h ON h.xid = w.locker
        LEFT JOIN unnest(%(tries)s::int[], %(waits)s::float8[]) AS b (tries, wait)
            ON b.tries = LEAST(w.tries, {_MOST_RETRIES})
    )
    SELECT reason, type, count(*)::int, EXTRACT(epoch FROM min(now) - min(made))::float8,
        (array_agg(id ORDER BY made, id COLLATE "C"))[1], (array_agg(last_error ORDER BY made, id COLLATE "C"))[1],
        (array_agg(blocker ORDER BY made, id COLLATE "C"))[1],
        (array_agg(blocker_type ORDER BY made, id COLLATE "C"))[1],
        EXTRACT(epoch FROM min(due) - min(now))::float8,
        (SELECT {states.order_code("e.")} FROM outbox AS e
         WHERE e.id = {_OLDEST}),
        {{requeued}}, count(*) FILTER (WHERE failed)::int, pid, application, usename, state, seconds
    FROM judged WHERE reason IN ('blocked', 'not_due') OR made < now - %(soon)s * interval '1 second'
    GROUP BY reason, type, CASE reason WHEN 'blocked' THEN blocker_type END, pid, application, usename, state, seconds,
        reason NOT IN ('blocked', 'not_due') AND made < now - %(overdue)s * interval '1 second'
    ORDER BY min(made)
"""  # noqa: S608 - built from constants only

# The planner expects few unpublished rows. With a nested loop it would search all of them again for each row.
_JOIN_BY_HASH = "SELECT set_config('enable_nestloop', 'off', true)"

# These lock modes conflict with claiming and settling. CREATE INDEX without CONCURRENTLY takes a ShareLock.
_TABLE_LOCKS = """
    SELECT l.pid, nullif(a.application_name, ''), a.usename, a.state,
        EXTRACT(epoch FROM clock_timestamp() - a.xact_start)::float8
    FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.granted AND l.relation = to_regclass('outbox')
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    ORDER BY l.pid
"""


def table_locks(connection: Connection) -> list[Holder]:
    """Return the sessions whose locks on the whole outbox table block its writers."""
    return [Holder(*row) for row in connection.exec_driver_sql(_TABLE_LOCKS)]


def evidence(connection: Connection, max_retries: int, found: Unpublished, recent: Recent) -> Evidence:
    """Return the database's evidence about pending and dead events.

    ``found`` and ``recent`` must have been read in the same transaction. This function changes the planner settings of
    the transaction, so the caller must not run other statements in it after this call. Error texts are redacted.
    """
    rights = recent.rights
    superseded, risk = dead.SupersededDead(), OrdersAtRisk(NO_PAID_ORDERS, NO_LATE_FAILURES)
    if rights.payments and (found.dead or found.pending):  # these queries need a nested loop
        risk = orders_at_risk(connection, max_retries, rights)
        superseded = dead.superseded(connection, max_retries, rights) if found.dead else superseded
    connection.exec_driver_sql(_JOIN_BY_HASH)
    slot = cdc.slot(connection)
    behind = paid_orders.BehindDead(0, NO_PAID_ORDERS)
    if found.dead:
        behind = paid_orders.behind_dead(
            connection, max_retries, superseded.repeats, superseded.sent, by_debezium=slot is not None
        )
    seen, known = publishers.seen(connection)
    newest_sent = recent.newest_sent
    return Evidence(
        pending=found.pending,
        dead=found.dead,
        blocked=behind.events,
        superseded=superseded.events,
        superseded_blocking=superseded.blocking,
        superseded_closed=superseded.closed,
        superseded_repeated=superseded.repeated,
        superseded_ids=superseded.ids,
        superseded_orders=superseded.orders,
        paid_orders=_both(behind.paid_orders, risk.unknown),
        late_failures=risk.late_failures,
        oldest_s=found.oldest_pending_age_s,
        oldest_id=found.oldest_pending_id,
        waiting=_waiting(connection, max_retries, with_runs=recent.runs_readable) if found.pending else (),
        dead_groups=_dead_groups(
            connection, max_retries, rights._replace(closings=superseded.closed > 0), superseded.repeats
        )
        if found.dead
        else (),
        table_locks=table_locks(connection) if found.pending else (),
        publishers=seen,
        publishers_known=known,
        sampled=found.pending > _MOST_LOOKED_AT,
        slot_active=None if slot is None else slot.active,
        sent_lately=recent.recent_sent,
        newest_sent_s=None if newest_sent is None else (recent.now - newest_sent).total_seconds(),
        last_sent_s=recent.last_sent_s,
    )


def _both(waiting: PaidOrders, unknown: PaidOrders) -> PaidOrders:
    """Return the orders of both kinds. No order is of both kinds. The orders with a success event come first."""
    oldest = (*waiting.oldest, *unknown.oldest)[: paid_orders.MOST_NAMED]
    return PaidOrders(waiting.number + unknown.number, oldest, unknown.number)


def _waiting(connection: Connection, max_retries: int, *, with_runs: bool) -> list[Waiting]:
    """Group the oldest pending events. If the role is not allowed to read runs, ``with_runs`` must be false."""
    tries = range(_MOST_RETRIES + 1)
    parameters = {
        "max_retries": max_retries,
        "overdue": OVERDUE_AFTER.total_seconds(),
        "soon": WAITS_AFTER.total_seconds(),
        "tries": [*tries],
        "waits": [backoff(number).total_seconds() for number in tries],
    }
    sql = _WAITING.format(
        requeued=republished.requeued_before_s(_OLDEST_AND_EARLIER) if with_runs else "NULL::float8",
        # A replay keeps an event's error but resets its retry count, so the error may be from before the replay.
        unanswered=f"w.error IS NOT NULL AND NOT {republished.was_requeued('w.id')}" if with_runs else "false",
    )
    return [_row(tuple(row)) for row in connection.exec_driver_sql(sql, parameters)]


def _row(row: tuple[Any, ...]) -> Waiting:
    (
        reason,
        event_type,
        events,
        oldest,
        event_id,
        error,
        blocker,
        blocker_type,
        due_in,
        order_code,
        requeued,
        failed,
        *holder,
    ) = row
    return Waiting(
        Reason(reason),
        event_type,
        events,
        max(0.0, oldest),
        event_id,
        redact(error) if error else None,
        blocker,
        blocker_type,
        due_in,
        Holder(*holder) if reason == Reason.LOCKED else None,
        order_code,
        requeued,
        failed,
    )


def _dead_groups(
    connection: Connection, max_retries: int, rights: dead.Rights, repeated: Sequence[str]
) -> list[DeadGroup]:
    """Return the largest groups of dead events. Leave out groups whose events all count as closed.

    The role must have the given ``rights``. If no event counts as closed, the right to read closing records is not
    needed. ``repeated`` contains the ids of the events that repeat a sent success.
    """
    found = error_groups.groups(
        connection,
        Selector(failed=True),
        max_retries,
        _MOST_DEAD_GROUPS,
        with_payments=rights.payments,
        with_closings=rights.closings,
        repeated=repeated,
    )
    return [
        DeadGroup(
            one.group, one.dead, one.open_types, one.sample_id, redact(one.sample) if one.sample else None,
            one.message_bytes, one.superseded + one.closed_unknown, one.open_unknown, one.blocking,
            one.too_large, one.closed, one.repeated, one.replay_types,
        )
        for one in found if not one.is_closed
    ]  # fmt: skip
