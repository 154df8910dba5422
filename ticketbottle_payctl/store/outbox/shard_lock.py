"""Lock a shard for one publisher at a time, so that no event is sent before an earlier event of the same payment.

A shard has two locks, numbered 0 and 1. A publisher alternates between two transactions, and each of them takes one of
the locks. The publisher claims the next batch before it commits the previous one, so it always holds at least one lock.
A new publisher must acquire one lock, and must find the other lock free. A new publisher never waits for a lock. A new
publisher that is refused may still hold one of the locks, but ends its transaction at once. Therefore the shard's
publisher waits only a few microseconds for this lock.

A returning publisher reuses its cached state of the shard only if no other publisher has held the shard since it left.
Two conditions show this. The returning publisher's name is still on the shard. No publisher with a different shard
count has written its name on any shard since then. ``payctl.publishers`` identifies a shard by the number of its lock
0. This number also contains the publisher's number of shards.

If another publisher has held the shard in the meantime and has not ended, the returning publisher first looks for new
events. If it does not find any, the returning publisher leaves without writing its name. Therefore the other publisher
keeps its cached state, and the returning publisher stays on standby.

A replay may requeue an event at a position that a publisher has already passed. Therefore a replay also writes a name,
in a row that does not belong to a shard. Then every publisher rescans before its next claim. The time in this row is
set in the future, because a publisher may write its own name before the replay's transaction commits.

The ``since`` column of ``payctl.publishers`` is the time when the publisher was last seen. A publisher writes this time
when it takes over a shard, when it rescans, and when it ends. Therefore payctl can distinguish an idle publisher from a
publisher that has died.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.store.db import advisory_locks
from ticketbottle_payctl.store.db.advisory_locks import Namespace

NO_BROKERS_PLACE = 1
"""The number of the row in ``payctl.publishers`` for a publisher that cannot reach its brokers.

No publisher uses this number, because it encodes zero shards. No publisher rescans because of this row.
"""

_ENDED = " ended"
_LOCKS_PER_SHARD = 2
_LOCKS_PER_COUNT = 1000

# Two statements are sent in one message. PostgreSQL takes the second statement's snapshot after the lock, so this
# statement sees the previous owner. The statement only looks at the shard's other lock, because taking that lock would
# block our own second transaction. Publishers with different numbers of shards divide the keys differently, so they
# exclude each other.
_ENTER = f"""
SELECT {advisory_locks.try_take(Namespace.SHARDS, "%(own)s")};
SELECT COALESCE(bool_and(l.pid = pg_backend_pid()), false),
    (SELECT owner FROM payctl.publishers AS ours WHERE shard = %(place)s AND NOT EXISTS (
        SELECT FROM payctl.publishers AS theirs
        WHERE theirs.shard <> {NO_BROKERS_PLACE} AND theirs.shard / {_LOCKS_PER_COUNT} <> %(shards)s
          AND theirs.since >= ours.since))
FROM pg_locks AS l
WHERE {advisory_locks.held(Namespace.SHARDS)}
  AND (l.objid IN (%(own)s::oid, %(other)s::oid) OR l.objid::bigint / {_LOCKS_PER_COUNT} <> %(shards)s)
"""  # noqa: S608 - built from constants only
# The new instant is later than the instant in every other row, even if the server's clock was set back.
_WRITE_OWNER = """
INSERT INTO payctl.publishers (shard, owner, since)
SELECT %(place)s, %(owner)s, GREATEST(clock_timestamp(), max(since) + interval '1 microsecond') FROM payctl.publishers
ON CONFLICT (shard) DO UPDATE SET owner = excluded.owner, since = excluded.since
"""

REPLAY_PLACE = 0
"""The number of the row for replays in ``payctl.publishers``.

Publishers never use this number, because it encodes zero shards.
"""

# Until the replay commits, a publisher does not see the replay's row, so the publisher writes the clock's time or a
# microsecond after the latest time. The replay's time must be later. Therefore it is 30 seconds ahead of the clock, and
# 10 milliseconds, which are 10,000 names, ahead of the latest time. Requeueing a chunk takes longer than 10
# milliseconds, so many chunks do not move the times further ahead of the clock. Another replay can commit while this
# replay waits for the row, so the row's own time counts too.
_MARGIN = "interval '10 milliseconds'"
MAKE_RESCAN = f"""
INSERT INTO payctl.publishers (shard, owner, since)
SELECT {REPLAY_PLACE}, 'replay', GREATEST(clock_timestamp() + interval '30 seconds', max(since) + {_MARGIN})
FROM payctl.publishers
HAVING {{condition}}
ON CONFLICT (shard) DO UPDATE SET owner = excluded.owner,
    since = GREATEST(excluded.since, publishers.since + {_MARGIN})
"""  # noqa: S608 - only constants are put in
"""An SQL statement that makes every publisher rescan if ``condition`` is true. The caller must commit within 30 s."""

IS_PUBLISHING = f"EXISTS (SELECT FROM pg_locks AS l WHERE {advisory_locks.held(Namespace.SHARDS)})"
"""An SQL expression that is true if any publisher has an open batch."""


class Holder(NamedTuple):
    """A session that prevents another publisher from using a shard.

    ``shards`` is the number of shards that the session's publisher uses.

    ``owner`` is the name of the last publisher that took over the shard. The name consists of the host, the process id
    and a random number. The name of a cut-over to Debezium has no host. Until the holder commits its first batch,
    ``owner`` is the previous publisher. ``pid`` is None if the lock is free now.
    """

    pid: int | None
    shards: int
    application: str | None
    address: str | None
    owner: str | None


class Entry(Enum):
    """The result of an attempt to lock a shard."""

    REFUSED = "another publisher holds the shard"
    UNCHANGED = "entered, and no other publisher has held the shard since"
    STANDBY = "another publisher has held the shard since, and there is no new event"
    TAKEN_OVER = "entered, but our cached state of the shard is stale"


def _never() -> bool:
    return False


def enter(  # noqa: PLR0913, PLR0917 - a lock's place is three numbers
    connection: Connection,
    shard: int,
    shards: int,
    lock: int,
    owner: str,
    nothing_new: Callable[[], bool] = _never,
) -> Entry:
    """Try to lock a shard for this publisher.

    If another publisher has held the shard since this publisher last held it, and is still running, call
    ``nothing_new``. If this returns True, the result is STANDBY. If the result is REFUSED or STANDBY, the caller must
    end the transaction at once.
    """
    parameters = {
        "own": _number(shard, shards, lock),
        "other": _number(shard, shards, 1 - lock),
        "shards": shards,
        "place": _number(shard, shards, 0),
    }
    alone, last_owner = connection.exec_driver_sql(_ENTER, parameters).one()
    if not alone:
        return Entry.REFUSED
    if last_owner == owner:
        return Entry.UNCHANGED
    if last_owner is not None and not name_of(last_owner)[1] and nothing_new():
        return Entry.STANDBY
    show_life(connection, shard, shards, owner)
    return Entry.TAKEN_OVER


def show_life(connection: Connection, shard: int, shards: int, owner: str) -> None:
    """Record that this publisher is alive now. Call this in a transaction in which :func:`enter` succeeded."""
    write_owner(connection, _number(shard, shards, 0), owner)


def holders(connection: Connection, shard: int, shards: int) -> list[Holder]:
    """Return the sessions that prevent a new publisher from using a shard.

    If the shard is free, return its last publisher.
    """
    rows = connection.exec_driver_sql(
        f"""
        WITH lock AS (
            SELECT DISTINCT l.pid, l.objid::bigint / {_LOCKS_PER_COUNT} AS shards,
                l.objid::bigint - l.objid::bigint %% {_LOCKS_PER_SHARD} AS place
            FROM pg_locks AS l
            WHERE {advisory_locks.held(Namespace.SHARDS)} AND l.pid <> pg_backend_pid()
              AND (l.objid IN (%(own)s::oid, %(other)s::oid) OR l.objid::bigint / {_LOCKS_PER_COUNT} <> %(shards)s))
        SELECT lock.pid, lock.shards, nullif(a.application_name, ''), host(a.client_addr), p.owner
        FROM lock LEFT JOIN pg_stat_activity AS a ON a.pid = lock.pid
        LEFT JOIN payctl.publishers AS p ON p.shard = lock.place
        UNION ALL
        SELECT NULL, %(shards)s, NULL, NULL, owner FROM payctl.publishers
        WHERE shard = %(own)s AND NOT EXISTS (SELECT FROM lock)
        ORDER BY 1
        """,  # noqa: S608 - built from constants only
        {"own": _number(shard, shards, 0), "other": _number(shard, shards, 1), "shards": shards},
    )
    return [Holder(*row) for row in rows]


def held_shards(connection: Connection, shards: int) -> list[int]:
    """Return which shards publishers hold now, by number. ``shards`` is the total number of shards."""
    return [
        shard for shard in range(shards) if any(each.pid is not None for each in holders(connection, shard, shards))
    ]


def keeping(shard: int, shards: int, lock: int) -> str:
    """Return the SQL expression that takes one of a shard's two locks while this publisher holds the other.

    A new publisher may hold the lock until it is refused. In that case the expression waits, up to the lock timeout.
    """
    return advisory_locks.take(Namespace.SHARDS, _number(shard, shards, lock))


def shard_of(number: int) -> tuple[int, int]:
    """Decode a lock's number. Return the shard and the number of shards."""
    shards, rest = divmod(number, _LOCKS_PER_COUNT)
    return rest // _LOCKS_PER_SHARD, shards


def sign_off(connection: Connection, owner: str) -> None:
    """Record that this publisher has ended.

    The record does not need a lock, because other publishers never use its name.
    """
    connection.exec_driver_sql(
        """
        UPDATE payctl.publishers SET owner = owner || %(mark)s, since = GREATEST(since, clock_timestamp())
        WHERE owner = %(owner)s
        """,
        {"owner": owner, "mark": _ENDED},
    )


def ended(owner: str) -> str:
    """Return the name that :func:`sign_off` writes for this publisher."""
    return owner + _ENDED


def name_of(owner: str) -> tuple[str, bool]:
    """Return a publisher's host and process id as text, and whether it has ended."""
    own, mark, _ = owner.partition(_ENDED)
    return own.rpartition(":")[0] or own, bool(mark)


def write_owner(connection: Connection, place: int, owner: str) -> None:
    """Write an owner, and a time later than that of every other row, to a row of ``payctl.publishers``."""
    connection.exec_driver_sql(_WRITE_OWNER, {"place": place, "owner": owner})


def _number(shard: int, shards: int, lock: int) -> int:
    return shards * _LOCKS_PER_COUNT + shard * _LOCKS_PER_SHARD + lock
