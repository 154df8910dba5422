"""Define payctl's advisory locks, and the SQL that takes and finds them.

Every lock belongs to a transaction and ends with the transaction. Therefore the locks work behind PgBouncer and RDS
Proxy, and a process that dies leaves no lock behind.
"""

from __future__ import annotations

from enum import IntEnum

MIGRATIONS = 7_262_001
"""The lock of a schema upgrade. It is the only lock with a single 64-bit key."""


class Namespace(IntEnum):
    """The first of a lock's two keys. The second key is the number of the shard or of the run."""

    SHARDS = 7_262_002
    RUNS = 7_262_004


def take(namespace: Namespace, key: int | str) -> str:
    """Return the SQL expression that waits for a lock, up to the transaction's lock timeout. ``key`` may be SQL."""
    return f"pg_advisory_xact_lock({namespace:d}, {key})"


def try_take(namespace: Namespace, key: int | str) -> str:
    """Return the SQL expression that takes a lock if it is free, and is true if it was taken. ``key`` may be SQL."""
    return f"pg_try_advisory_xact_lock({namespace:d}, {key})"


def held(namespace: Namespace) -> str:
    """Return the SQL condition that a row ``l`` of ``pg_locks`` is a held lock of this namespace in this database.

    The lock's second key is ``l.objid``.
    """
    return f"""l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = {namespace:d}::oid
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""  # noqa: S608 - a constant
