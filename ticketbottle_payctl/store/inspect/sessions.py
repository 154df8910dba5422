"""Find the sessions, prepared transactions and replication slots that hold an old snapshot."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

WRITING_SESSIONS = (
    "SELECT pid, usename, application_name, state, xact_start FROM pg_stat_activity"
    " WHERE backend_xid IS NOT NULL AND datname = current_database()"
)
"""The SQL that lists this database's sessions whose open transaction has changed or locked a row."""


class SnapshotHolder(NamedTuple):
    """A session (``pid``), prepared transaction or replication slot that keeps vacuum from removing dead rows."""

    kind: str
    name: str
    pid: int | None
    seconds: float | None
    state: str | None


def snapshot_holders(connection: Connection, older_than: float) -> list[SnapshotHolder]:
    """Return the holders of snapshots that are older than ``older_than`` seconds, oldest first.

    Inactive replication slots of any age are included. Sessions of other roles are included only if the current role
    has ``pg_read_all_stats``.
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
    """Return whether the current role is allowed to see the activity of other roles' sessions."""
    return bool(connection.exec_driver_sql("SELECT pg_has_role('pg_read_all_stats', 'USAGE')").scalar_one())
