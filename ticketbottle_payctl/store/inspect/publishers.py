"""Read which publishers are working or idle, and when each was last seen.

A working publisher holds the lock of its shard. An idle publisher holds it for only a millisecond per second, so the
lock does not show an idle one reliably. But an idle publisher updates its instant in ``payctl.publishers`` every 30
seconds. Without a pooler, its session also shows its application name.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.causes import SeenPublisher
from ticketbottle_payctl.store.db import advisory_locks
from ticketbottle_payctl.store.db.advisory_locks import Namespace
from ticketbottle_payctl.store.outbox import shard_lock

APPLICATION = "payctl publish-outbox"
"""The application name of a publisher's sessions."""


class Publisher(NamedTuple):
    """A session that holds a shard, and its publisher's number of shards."""

    shard: int
    shards: int
    pid: int
    application: str | None


def working(connection: Connection) -> list[Publisher]:
    """Return the working publishers. They are found by the locks that they hold."""
    rows = connection.exec_driver_sql(
        f"""
        SELECT l.objid::bigint, l.pid, nullif(a.application_name, '')
        FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE {advisory_locks.held(Namespace.SHARDS)}
        ORDER BY 1, 2
        """  # noqa: S608 - built from constants only
    )
    found = [Publisher(*shard_lock.shard_of(lock), pid, name) for lock, pid, name in rows]
    return list({(one.shard, one.shards, one.pid): one for one in found}.values())


def seen(connection: Connection) -> tuple[list[SeenPublisher], bool]:
    """Return each publisher that was seen, the latest first, and whether the role may see all of them."""
    at_work = [
        SeenPublisher(f"pid {one.pid}, {one.application or 'unnamed'}", one.shards, 0.0, working=True)
        for one in working(connection)
    ]
    noted = _noted(connection)
    found = [*at_work, *_connected(connection), *(noted or ())]
    return sorted(found, key=lambda one: (not one.working, one.seconds)), noted is not None


def _connected(connection: Connection) -> list[SeenPublisher]:
    """Return publishers by their sessions, if the role may see when each session was last used.

    A pooler keeps the session of a publisher that has ended, so a session alone does not show that its publisher runs.
    """
    rows = connection.exec_driver_sql(
        """
        SELECT pid, GREATEST(EXTRACT(epoch FROM clock_timestamp() - state_change)::float8, 0) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = %(name)s AND state_change IS NOT NULL
        """,
        {"name": APPLICATION},
    )
    return [SeenPublisher(f"pid {pid}, {APPLICATION}", None, seconds) for pid, seconds in rows]


def _noted(connection: Connection) -> list[SeenPublisher] | None:
    """Return the last publisher of each shard without duplicates, or None if the role may not read the table."""
    may_read = connection.exec_driver_sql(
        """
        SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'payctl' AND c.relname = 'publishers'
        """
    ).scalar_one_or_none()
    if not may_read:
        return None
    rows = connection.exec_driver_sql(
        "SELECT shard, owner, GREATEST(EXTRACT(epoch FROM clock_timestamp() - since)::float8, 0)"
        " FROM payctl.publishers WHERE shard <> %(replay)s ORDER BY since",
        {"replay": shard_lock.REPLAY_PLACE},
    )
    latest = {owner: (shard_lock.shard_of(lock)[1], seconds) for lock, owner, seconds in rows}
    return [
        SeenPublisher(name, shards, seconds, ended=ended)
        for owner, (shards, seconds) in latest.items()
        for name, ended in [shard_lock.name_of(owner)]
    ]
