"""Define payctl's advisory locks, and the SQL for taking and finding them.

Every lock is held by a transaction and released when the transaction ends. Therefore the locks work behind PgBouncer
and RDS Proxy, and a process that dies does not leave locks behind.
"""

from __future__ import annotations

from enum import IntEnum

MIGRATIONS = 7_262_001
"""The key of the lock for schema upgrades. Only this lock has a single 64-bit key."""


class Namespace(IntEnum):
    """The first of a lock's two keys. The second key is the number of the shard or run."""

    SHARDS = 7_262_002
    RUNS = 7_262_004


def take(namespace: Namespace, key: int | str) -> str:
    """Return an SQL expression that waits for a lock, up to the transaction's lock timeout. ``key`` may be SQL."""
    return f"pg_advisory_xact_lock({namespace:d}, {key})"


def try_take(namespace: Namespace, key: int | str) -> str:
    """Return an SQL expression that tries to take a lock. The expression is true if the lock was taken.

    ``key`` may be SQL.
    """
    return f"pg_try_advisory_xact_lock({namespace:d}, {key})"


def held(namespace: Namespace) -> str:
    """Return an SQL condition that is true if row ``l`` of ``pg_locks`` is a lock of this namespace in this database.

    The lock's second key is ``l.objid``.
    """
    return f"""l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = {namespace:d}::oid
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""  # noqa: S608 - a constant
