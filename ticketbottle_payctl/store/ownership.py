"""Who publishes a shard: one publisher at a time, so that no payment's events overtake each other.

A shard has two locks. A publisher at work alternates between two transactions and takes one lock with each, so
that at every moment it holds at least one of them, while the next batch is claimed before the last is committed.
A newcomer must get the first lock *and* see the second one free. It only tries, and leaves at once when refused;
the publisher at work waits those microseconds out.

The locks belong to the transaction (PgBouncer and RDS Proxy keep them intact) and die with it: nothing to reap.
"""

from __future__ import annotations

from sqlalchemy import Connection

_NAMESPACE = 7_262_002
_LOCKS_PER_SHARD = 2
_LOCKS_PER_COUNT = 1000

# The second lock is looked at, not taken: taking it would be in the way of our own second transaction.
# Publishers that were told another number of shards divide the keys otherwise: they exclude each other.
_ENTER = """
SELECT CASE WHEN pg_try_advisory_xact_lock(%(space)s, %(own)s) THEN NOT EXISTS (
    SELECT 1 FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = %(space)s::oid
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (objid = %(other)s::oid OR objid::bigint / %(per_count)s <> %(shards)s)
) ELSE false END
"""
_KEEP = "SELECT pg_advisory_xact_lock(%(space)s, %(own)s)"
_TAKE_OVER = """
INSERT INTO payctl.publishers (shard, owner) VALUES (%(shard)s, %(owner)s)
ON CONFLICT (shard) DO UPDATE SET owner = excluded.owner, since = clock_timestamp()
WHERE payctl.publishers.owner <> excluded.owner
RETURNING owner
"""


def enter(connection: Connection, shard: int, shards: int, lane: int) -> bool:
    """Become the publisher of a free shard. False where another one is at work: leave this transaction at once."""
    parameters = {
        "space": _NAMESPACE,
        "own": _lock(shard, shards, lane),
        "other": _lock(shard, shards, 1 - lane),
        "per_count": _LOCKS_PER_COUNT,
        "shards": shards,
    }
    return bool(connection.exec_driver_sql(_ENTER, parameters).scalar_one())


def keep(connection: Connection, shard: int, shards: int, lane: int) -> None:
    """Take the lane's lock while the other lane holds the other one.

    Raises:
        DatabaseUnavailableError: it was not to be had within the transaction's lock timeout.
    """
    connection.exec_driver_sql(_KEEP, {"space": _NAMESPACE, "own": _lock(shard, shards, lane)})


def take_over(connection: Connection, shard: int, owner: str) -> bool:
    """Write our name on the shard. True where another name stood there: what we remember of the shard is stale."""
    return connection.exec_driver_sql(_TAKE_OVER, {"shard": shard, "owner": owner}).first() is not None


def _lock(shard: int, shards: int, lane: int) -> int:
    return shards * _LOCKS_PER_COUNT + shard * _LOCKS_PER_SHARD + lane
