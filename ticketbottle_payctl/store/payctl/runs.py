"""Write and read ``payctl.runs`` (operators' runs) and ``payctl.run_items`` (the rows that each run processed)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.payment import OverdueKind
from ticketbottle_payctl.store.db.owner_time import aware
from ticketbottle_payctl.store.payctl.run_lock import AT_WORK

CLOSED = "closed"
"""The value of ``outcome`` in ``payctl.run_items`` if a run closed the findings about an order."""

IS_CLOSING = f"i.outcome = '{CLOSED}'"
"""An SQL condition that is true if row ``i`` of ``payctl.run_items`` is a closing record."""

OF_OVERDUE_PAYMENT = f"i.reason IN {tuple(kind.value for kind in OverdueKind)}"
"""An SQL condition that is true if the closing record in row ``i`` is about an overdue payment."""

UNTIL = "(i.after->>'until')::timestamptz"
"""The SQL expression for the latest instant that the closing record in row ``i`` covers."""

ASKED_AT = "COALESCE((i.after->>'asked_at')::timestamptz, i.at)"
"""The SQL expression for when payctl read the order and asked the gateway, for the closing record in row ``i``."""

_ENDED_BY = "ended_by"
"""The key in the JSON column ``options`` that says what ended a run. The table has no column of its own for this."""

# If the process of a run was killed, the run is not running, even if its record still says so.
_STATUS = f"CASE WHEN r.status = 'running' AND NOT {AT_WORK} THEN 'interrupted' ELSE r.status END"
_COLUMNS = f"""r.id::text, r.command, {_STATUS}, r.os_user, r.host, r.actor, r.db_role, r.reason, r.profile,
    r.selector, r.options, r.counts, r.started_at, r.finished_at, r.acts"""


class RunStatus(StrEnum):
    """The status of a run.

    A ``stopped`` run stopped because of errors. An ``interrupted`` run was ended by a signal or a crash. A replay with
    either of these statuses can be resumed. An ``incomplete`` run ended at its time limit or on a signal before all its
    work was done. The next run of the same command does the rest.
    """

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class Actor:
    """The account and the machine that ran a command, and the person's name if PAYCTL_ACTOR is set."""

    os_user: str
    host: str
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be recorded.

    ``selector`` and ``options`` are the plain values that are needed to show and resume the run.
    """

    id: str
    command: str
    who: Actor
    reason: str | None = None
    profile: str | None = None
    selector: Mapping[str, object] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)


class RunAction(StrEnum):
    """An operator's action on a run that has already begun."""

    RESUMED = "resumed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class RunAct:
    """An operator's recorded action on a run that had already begun, with the time (UTC) and the reason."""

    deed: str
    at: datetime
    who: Actor
    db_role: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """A recorded run. All times are in UTC. ``finished_at`` is None while the run is running or can be resumed.

    If a run is recorded as running but no process holds its lock, its status is shown as ``interrupted``. ``acts``
    lists the operators' actions on the run, in order. ``ended_by`` is the code of the error that ended the run, or the
    reason why the run ended before its work was done. It is None if neither applies.
    """

    id: str
    command: str
    status: str
    who: Actor
    db_role: str
    reason: str | None
    profile: str | None
    selector: Mapping[str, object]
    options: Mapping[str, object]
    counts: Mapping[str, int]
    started_at: datetime
    finished_at: datetime | None
    acts: Sequence[RunAct]
    ended_by: str | None = None


@dataclass(frozen=True, slots=True)
class RunItem:
    """A row that a run processed, with its values before and after. If the row was left unchanged, ``reason`` says why.

    ``chunk`` is -1 if the row was left out of the plan.
    """

    item_id: str
    outcome: str
    reason: str | None
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None
    at: datetime
    chunk: int


class Closing(NamedTuple):
    """A closing record, with the run that wrote it. ``until`` is the latest instant that the record covers.

    If the record is about an overdue payment, ``asked_at`` is the database's time when payctl read the order and asked
    the gateway. Otherwise it is None.
    """

    until: datetime
    run: Run
    asked_at: datetime | None = None


def start(connection: Connection, run: NewRun) -> None:
    """Record that a run begins."""
    connection.exec_driver_sql(
        """
        INSERT INTO payctl.runs (id, command, status, os_user, host, actor, reason, profile, selector, options)
        VALUES (%(id)s::uuid, %(command)s, 'running', %(os_user)s, %(host)s, %(actor)s, %(reason)s, %(profile)s,
                %(selector)s::jsonb, %(options)s::jsonb)
        """,
        {
            "id": run.id,
            "command": run.command,
            "os_user": run.who.os_user,
            "host": run.who.host,
            "actor": run.who.actor,
            "reason": run.reason,
            "profile": run.profile,
            "selector": json.dumps(run.selector, default=str),
            "options": json.dumps(run.options, default=str),
        },
    )


def act(connection: Connection, run_id: str, deed: RunAction, who: Actor, reason: str | None) -> bool:
    """Record that an operator resumes or cancels a run. Return False if the run's status does not allow this.

    A run that is done keeps its status even if it is resumed to search for remaining rows. The record of what ended a
    run is removed when the run is resumed.
    """
    row = connection.exec_driver_sql(
        f"""
        UPDATE payctl.runs SET status = CASE status WHEN 'done' THEN status ELSE %(status)s END,
            finished_at = CASE WHEN status = 'done' THEN finished_at
                WHEN %(status)s = 'cancelled' THEN statement_timestamp() END,
            options = CASE %(deed)s WHEN '{RunAction.RESUMED}' THEN options - '{_ENDED_BY}' ELSE options END,
            acts = acts || jsonb_build_array(jsonb_build_object('deed', %(deed)s::text, 'at', statement_timestamp(),
                'os_user', %(os_user)s::text, 'host', %(host)s::text, 'actor', %(actor)s::text,
                'db_role', session_user, 'reason', %(reason)s::text))
        WHERE id = %(id)s::uuid AND status NOT IN ('cancelled', 'incomplete')
          AND NOT (status = 'done' AND %(status)s = 'cancelled')
        RETURNING id
        """,  # noqa: S608 - only constants are put in
        {
            "id": run_id,
            "status": (RunStatus.RUNNING if deed is RunAction.RESUMED else RunStatus.CANCELLED).value,
            "deed": deed.value,
            "os_user": who.os_user,
            "host": who.host,
            "actor": who.actor,
            "reason": reason,
        },
    ).one_or_none()
    return row is not None


def update(
    connection: Connection,
    run_id: str,
    status: RunStatus,
    counts: Mapping[str, object],
    ended_by: str | None = None,
) -> None:
    """Record a run's status and counts, and what ended the run. A cancelled run stays cancelled."""
    connection.exec_driver_sql(
        f"""
        UPDATE payctl.runs SET status = %(status)s, counts = counts || %(counts)s::jsonb,
            options = (options - '{_ENDED_BY}')
                || jsonb_strip_nulls(jsonb_build_object('{_ENDED_BY}', %(ended_by)s::text)),
            finished_at = CASE WHEN %(status)s IN ('done', 'cancelled', 'incomplete')
                THEN COALESCE(finished_at, clock_timestamp()) END
        WHERE id = %(id)s::uuid AND status <> 'cancelled'
        """,  # noqa: S608 - only a constant is put in
        {"id": run_id, "status": status.value, "counts": json.dumps(dict(counts)), "ended_by": ended_by},
    )


def count(connection: Connection, run_id: str, counts: Mapping[str, int]) -> None:
    """Add these counts to a run's record. A count replaces an earlier count with the same name."""
    connection.exec_driver_sql(
        "UPDATE payctl.runs SET counts = counts || %(counts)s::jsonb WHERE id = %(id)s::uuid",
        {"id": run_id, "counts": json.dumps(dict(counts))},
    )


def find(connection: Connection, prefix: str) -> list[Run]:
    """Return at most two runs whose ids begin with ``prefix``."""
    sql = f"SELECT {_COLUMNS} FROM payctl.runs AS r WHERE r.id::text LIKE %(prefix)s ORDER BY r.started_at LIMIT 2"  # noqa: S608
    escaped = prefix.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return [_run(row) for row in connection.exec_driver_sql(sql, {"prefix": f"{escaped}%"})]


def page(connection: Connection, limit: int, before: tuple[datetime, str] | None = None) -> list[Run]:
    """Return the latest runs, newest first. ``before`` is the position of the last run on the previous page."""
    condition = "(r.started_at, r.id) < (%(at)s, %(id)s::uuid)" if before else "true"
    sql = f"""
        SELECT {_COLUMNS} FROM payctl.runs AS r WHERE {condition}
        ORDER BY r.started_at DESC, r.id DESC LIMIT %(limit)s
    """  # noqa: S608 - built from constants only
    at, run_id = before or (None, None)
    return [_run(row) for row in connection.exec_driver_sql(sql, {"limit": limit, "at": at, "id": run_id})]


def between(connection: Connection, since: datetime, until: datetime, limit: int) -> list[Run]:
    """Return the runs that began or ended in a window, earliest first."""
    sql = f"""
        SELECT {_COLUMNS} FROM payctl.runs AS r
        WHERE (r.started_at >= %(since)s AND r.started_at < %(until)s)
           OR (r.finished_at >= %(since)s AND r.finished_at < %(until)s)
        ORDER BY r.started_at, r.id LIMIT %(limit)s
    """  # noqa: S608 - only constants are put in
    rows = connection.exec_driver_sql(sql, {"since": since, "until": until, "limit": limit})
    return [_run(row) for row in rows]


def items(connection: Connection, run_id: str, limit: int, *, left: bool = False) -> list[RunItem]:
    """Return the first ``limit`` rows of a run in order. With ``left``, return only rows that were left unchanged."""
    condition = "AND after IS NULL" if left else ""
    rows = connection.exec_driver_sql(
        f"""
        SELECT item_id, outcome, reason, before, after, at, chunk FROM payctl.run_items
        WHERE run_id = %(id)s::uuid {condition}
        ORDER BY chunk, place LIMIT %(limit)s
        """,  # noqa: S608 - built from constants only
        {"id": run_id, "limit": limit},
    )
    return [RunItem(*row) for row in rows]


def of_item(connection: Connection, item_ids: list[str]) -> list[tuple[str, Run, datetime | None]]:
    """Return the runs that changed any of these rows, oldest first.

    Each run comes with the row's id and the row's publishing time before the change.
    """
    rows = connection.exec_driver_sql(
        f"""
        SELECT i.item_id, (i.before->>'published_at')::timestamp, {_COLUMNS}
        FROM payctl.run_items AS i JOIN payctl.runs AS r ON r.id = i.run_id
        WHERE i.item_id = ANY(%(ids)s) AND i.after IS NOT NULL ORDER BY i.at
        """,  # noqa: S608 - built from constants only
        {"ids": item_ids},
    )
    return [(row[0], _run(row[2:]), aware(row[1])) for row in rows]


def closings(connection: Connection, subjects: Sequence[str]) -> list[tuple[str, Closing]]:
    """Return the closing records of these payments, orders or receipts, each with its id or code, earliest first."""
    rows = connection.exec_driver_sql(
        f"""
        SELECT i.item_id, max({UNTIL}), max({ASKED_AT}) FILTER (WHERE {OF_OVERDUE_PAYMENT}), {_COLUMNS}
        FROM payctl.run_items AS i JOIN payctl.runs AS r ON r.id = i.run_id
        WHERE i.item_id = ANY(%(subjects)s) AND {IS_CLOSING}
        GROUP BY r.id, i.item_id ORDER BY r.started_at, r.id, i.item_id
        """,  # noqa: S608 - built from constants only
        {"subjects": list(subjects)},
    )
    return [(row[0], Closing(row[1], _run(row[3:]), row[2])) for row in rows]


def _run(row: Sequence[Any]) -> Run:
    run_id, command, status, os_user, host, actor, *rest, acts = row
    run = Run(run_id, command, status, Actor(os_user, host, actor), *[*rest, tuple(map(_act, acts))])
    if _ENDED_BY not in run.options:
        return run
    options = dict(run.options)
    ended_by = str(options.pop(_ENDED_BY))
    return replace(run, options=options, ended_by=ended_by)


def _act(stored: Mapping[str, Any]) -> RunAct:
    who = Actor(stored["os_user"], stored["host"], stored["actor"])
    at = datetime.fromisoformat(stored["at"]).astimezone(UTC)
    return RunAct(stored["deed"], at, who, stored["db_role"], stored["reason"])
