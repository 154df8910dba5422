"""Read which other sessions hold an old snapshot or publish."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db import advisory_locks
from ticketbottle_payctl.store.db.advisory_locks import Namespace
from ticketbottle_payctl.store.outbox import shard_lock


class SnapshotHolder(NamedTuple):
    """What keeps vacuum from removing dead rows: a session (``pid``), a prepared transaction or a replication slot."""

    kind: str
    name: str
    pid: int | None
    seconds: float | None
    state: str | None


class Publisher(NamedTuple):
    """A session that holds a shard, and the number of shards that it was configured with."""

    shard: int
    shards: int
    pid: int
    application: str | None
    seconds: float | None


class LastPublisher(NamedTuple):
    """The publisher that took over a shard last, and how many seconds ago."""

    shard: int
    owner: str
    seconds: float


def snapshot_holders(connection: Connection, older_than: float) -> list[SnapshotHolder]:
    """Return everything that has held a snapshot for more than ``older_than`` seconds, the oldest first.

    Sessions of other roles are included only as far as ``pg_read_all_stats`` shows them.
    """
    rows = connection.exec_driver_sql(
        """
        SELECT 'session', COALESCE(nullif(application_name, ''), 'unnamed') || ' (' || usename || ')', pid,
            EXTRACT(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds, state
        FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
          AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
          AND xact_start < clock_timestamp() - make_interval(secs => %(older)s)
        UNION ALL
        SELECT 'prepared transaction', gid, NULL, EXTRACT(epoch FROM clock_timestamp() - prepared)::float8, NULL
        FROM pg_prepared_xacts
        WHERE database = current_database() AND prepared < clock_timestamp() - make_interval(secs => %(older)s)
        UNION ALL
        SELECT 'replication slot', slot_name, active_pid, NULL, CASE WHEN active THEN 'active' ELSE 'inactive' END
        FROM pg_replication_slots
        WHERE (xmin IS NOT NULL OR catalog_xmin IS NOT NULL) AND NOT active
        ORDER BY seconds DESC NULLS LAST
        """,
        {"older": older_than},
    )
    return [SnapshotHolder(*row) for row in rows]


def sees_other_sessions(connection: Connection) -> bool:
    """Return whether the current role may see what sessions of other roles do."""
    return bool(connection.exec_driver_sql("SELECT pg_has_role('pg_read_all_stats', 'USAGE')").scalar_one())


def publishers(connection: Connection) -> list[Publisher]:
    """Return the publishers that are running, by the locks that they hold."""
    rows = connection.exec_driver_sql(
        f"""
        SELECT l.objid::bigint, l.pid, nullif(a.application_name, ''),
            EXTRACT(epoch FROM clock_timestamp() - a.backend_start)::float8
        FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE {advisory_locks.held(Namespace.SHARDS)}
        ORDER BY 1, 2
        """  # noqa: S608 - only constants are put in
    )
    found = [Publisher(*shard_lock.shard_of(lock), pid, name, seconds) for lock, pid, name, seconds in rows]
    return list({(one.shard, one.shards, one.pid): one for one in found}.values())


def last_publishers(connection: Connection) -> list[LastPublisher]:
    """Return the last publisher of each shard, or nothing if the role may not read the table."""
    may_read = connection.exec_driver_sql(
        """
        SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'payctl' AND c.relname = 'publishers'
        """
    ).scalar_one_or_none()
    if not may_read:
        return []
    rows = connection.exec_driver_sql(
        "SELECT shard, owner, GREATEST(EXTRACT(epoch FROM clock_timestamp() - since)::float8, 0)"
        " FROM payctl.publishers ORDER BY shard"
    )
    return [LastPublisher(shard_lock.shard_of(lock)[0], owner, seconds) for lock, owner, seconds in rows]
