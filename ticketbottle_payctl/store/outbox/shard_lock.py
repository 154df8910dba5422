"""Who publishes a shard: one publisher at a time, so that no payment's events overtake each other.

A shard has two locks. A publisher at work alternates between two transactions and takes one lock with each, so
that at every moment it holds at least one of them, while the next batch is claimed before the last is committed.
A newcomer must get the first lock *and* see the second one free. It only tries, and leaves at once when refused;
the publisher at work waits those microseconds out.

The locks belong to the transaction (PgBouncer and RDS Proxy keep them intact) and die with it: nothing to reap.

Who comes back trusts what it remembers only if nobody was here since: its name is still on the shard, and no publisher
that divides the keys otherwise has put its own on any shard later. In ``payctl.publishers`` a shard goes by the number
of its first lock, which says out of how many it is one.
"""

from __future__ import annotations

from enum import Enum

from sqlalchemy import Connection

NAMESPACE = 7_262_002
"""Of the advisory locks that publishers hold."""

_LOCKS_PER_SHARD = 2
_LOCKS_PER_COUNT = 1000

# Two statements in one message: the second one's snapshot is younger than the lock, so it sees the owner before us.
# The second lock is looked at, not taken: taking it would be in the way of our own second transaction.
# Publishers that were told another number of shards divide the keys otherwise: they exclude each other.
_ENTER = """
SELECT pg_try_advisory_xact_lock(%(space)s, %(own)s);
SELECT COALESCE(bool_and(pid = pg_backend_pid()), false),
    (SELECT owner FROM payctl.publishers AS ours WHERE shard = %(place)s AND NOT EXISTS (
        SELECT FROM payctl.publishers AS theirs
        WHERE theirs.shard / %(per_count)s <> %(shards)s AND theirs.since >= ours.since))
FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = %(space)s::oid
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (objid IN (%(own)s::oid, %(other)s::oid) OR objid::bigint / %(per_count)s <> %(shards)s)
"""
# Later than every other row, whatever the clock did.
_TAKE_OVER = """
INSERT INTO payctl.publishers (shard, owner, since)
SELECT %(place)s, %(owner)s, GREATEST(clock_timestamp(), max(since) + interval '1 microsecond') FROM payctl.publishers
ON CONFLICT (shard) DO UPDATE SET owner = excluded.owner, since = excluded.since
"""

AT_WORK = f"""EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = {NAMESPACE}::oid
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""  # noqa: S608 - a constant
"""An expression: whether some publisher has a batch open at this moment."""


class Entry(Enum):
    """What became of an attempt to enter a shard."""

    REFUSED = "another publisher is at work"
    UNCHANGED = "ours, and nobody was here since we left"
    TAKEN_OVER = "ours, and what we remember of it is stale"


def enter(connection: Connection, shard: int, shards: int, lane: int, owner: str) -> Entry:
    """Become the publisher of a free shard. Where that is refused, leave this transaction at once."""
    parameters = {
        "space": NAMESPACE,
        "own": _lock(shard, shards, lane),
        "other": _lock(shard, shards, 1 - lane),
        "per_count": _LOCKS_PER_COUNT,
        "shards": shards,
        "place": _lock(shard, shards, 0),
    }
    alone, last_owner = connection.exec_driver_sql(_ENTER, parameters).one()
    if not alone:
        return Entry.REFUSED
    if last_owner == owner:
        return Entry.UNCHANGED
    connection.exec_driver_sql(_TAKE_OVER, parameters | {"owner": owner})
    return Entry.TAKEN_OVER


def keeping(shard: int, shards: int, lane: int) -> str:
    """The expression that takes a lane's lock while the other lane holds the other one.

    It waits for a newcomer that is just being refused, within the transaction's lock timeout.
    """
    return f"pg_advisory_xact_lock({NAMESPACE}, {_lock(shard, shards, lane)})"


def shard_of(lock: int) -> tuple[int, int]:
    """Of which shard, out of how many, a lock is; the reverse of how its number is made."""
    shards, rest = divmod(lock, _LOCKS_PER_COUNT)
    return rest // _LOCKS_PER_SHARD, shards


def _lock(shard: int, shards: int, lane: int) -> int:
    return shards * _LOCKS_PER_COUNT + shard * _LOCKS_PER_SHARD + lane
