"""Find the busy and the idle publishers, and when each of them was last seen.

A busy publisher holds its shard's lock. An idle publisher holds the lock for only a millisecond per second, so the lock
does not reliably show that the publisher is running. However, an idle publisher updates its time in
``payctl.publishers`` every 30 seconds. Without a pooler, the publisher's sessions also show its application name.

A publisher process has up to three sessions, and can hold several shards. Such a process counts as one publisher.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from sqlalchemy import Connection

from ticketbottle_payctl.domain.causes import SEEN_WITHIN, SeenPublisher
from ticketbottle_payctl.store.db import advisory_locks
from ticketbottle_payctl.store.db.advisory_locks import Namespace
from ticketbottle_payctl.store.db.privileges import may_read_all_of_ours, may_read_outbox
from ticketbottle_payctl.store.outbox import blocked, republished, shard_lock, without_brokers

APPLICATION = "payctl publish-outbox"
"""The application name of a publisher's sessions."""


class Publisher(NamedTuple):
    """A running publisher as the database shows it.

    ``shard`` is the number of a shard that the publisher holds, and ``shards`` is the total number of shards. ``pid``
    is the process id of one of its database sessions.
    """

    shard: int
    shards: int
    pid: int
    application: str | None
    address: str

    @property
    def name(self) -> str:
        """Return a readable name for the session."""
        return f"pid {self.pid}, {self.application or 'unnamed'}"


_MOST_SESSIONS = 3
"""The maximum number of database sessions of one publisher, for any number of shards.

A publisher drains one shard at a time. A publisher uses one session while it is idle, and two sessions while it claims
the next batch. A publisher uses a third session if it looks at the outbox during a batch.
"""

_USED_WITHIN_S = 10.0
"""A running publisher that holds no shard uses its sessions every second, and at least once in this time."""


class _Session(NamedTuple):
    """A session with a publisher's application name, and the seconds since it was last used."""

    pid: int
    address: str
    seconds: float


@dataclass(slots=True)
class _Noted:
    """A publisher in ``payctl.publishers``. ``places`` are its shards that no other publisher has taken over since."""

    seen: SeenPublisher
    places: set[tuple[int, int]]


def working(connection: Connection) -> list[Publisher]:
    """Return each shard that a publisher holds now, based on the publishers' locks."""
    rows = connection.exec_driver_sql(
        f"""
        SELECT l.objid::bigint, l.pid, nullif(a.application_name, ''), COALESCE(host(a.client_addr), '')
        FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE {advisory_locks.held(Namespace.SHARDS)}
        ORDER BY 1, 2
        """  # noqa: S608 - built from constants only
    )
    found = [Publisher(*shard_lock.shard_of(lock), *rest) for lock, *rest in rows]
    return list({(one.shard, one.shards): one for one in reversed(found)}.values())[::-1]


def seen(connection: Connection) -> tuple[list[SeenPublisher], bool]:
    """Return the publishers that were seen, most recent first, and whether the role can see all publishers."""
    at_work = working(connection)
    sessions = _sessions(connection)
    noted = _noted(connection)
    found = _merged(at_work, sessions, noted or ())
    return sorted(found, key=lambda one: (not one.working, one.seconds)), noted is not None


def on_standby(connection: Connection, running: int) -> int:
    """Return the smallest possible number of publishers besides the ``running`` ones, judged by the database sessions.

    A publisher on standby writes its name nowhere, so only its sessions show that it is running. The sessions of one
    address belong to one or more publishers, and sessions of two addresses belong to different publishers.
    """
    used = Counter(one.address for one in _sessions(connection) if one.seconds < _USED_WITHIN_S)
    least = sum(ceil(sessions / _MOST_SESSIONS) for sessions in used.values())
    return max(0, least - running)


def _merged(at_work: Sequence[Publisher], sessions: Sequence[_Session], noted: Sequence[_Noted]) -> list[SeenPublisher]:
    """Return one entry for each publisher.

    The last name that was written on a held shard is the holder's name, unless the publisher with this name has ended.
    An idle session does not show which process it belongs to. Therefore the session counts as a session of the
    publisher that was seen last, preferably of a publisher that can reach its brokers. If no publisher was seen lately,
    the session gets its own entry.
    """
    found = {id(one): one.seen for one in noted}
    unnamed: dict[str, SeenPublisher] = {}
    for held in at_work:
        owner = next((one for one in noted if (held.shard, held.shards) in one.places and not one.seen.ended), None)
        if owner is not None:
            found[id(owner)] = owner.seen._replace(seconds=0.0, working=True, without_brokers=None)
        else:
            unnamed.setdefault(held.address, SeenPublisher(held.name, held.shards, 0.0, working=True))
    alive = [key for key, one in found.items() if not one.ended and one.seconds < SEEN_WITHIN.total_seconds()]
    busy = {held.address for held in at_work}
    idle = [one for one in sessions if one.address not in busy]
    if idle and alive:
        latest = min(alive, key=lambda key: (bool(found[key].without_brokers), found[key].seconds))
        found[latest] = found[latest]._replace(seconds=min(found[latest].seconds, idle[0].seconds))
    elif idle:
        first = {one.address: one for one in reversed(idle)}
        return [
            *found.values(), *unnamed.values(),
            *(SeenPublisher(f"pid {one.pid}, {APPLICATION}", None, one.seconds) for one in first.values()),
        ]  # fmt: skip
    return [*found.values(), *unnamed.values()]


def _sessions(connection: Connection) -> list[_Session]:
    """Return the publishers' sessions, most recently used first.

    Omit sessions whose last use the role is not allowed to see.

    A pooler keeps sessions open after their publisher stops, so a session does not prove that its publisher is running.
    """
    rows = connection.exec_driver_sql(
        """
        SELECT pid, COALESCE(host(client_addr), ''),
            GREATEST(EXTRACT(epoch FROM clock_timestamp() - state_change)::float8, 0) AS seconds
        FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = %(name)s AND state_change IS NOT NULL
        ORDER BY seconds, pid
        """,
        {"name": APPLICATION},
    )
    return [_Session(*row) for row in rows]


def _noted(connection: Connection) -> list[_Noted] | None:
    """Return the last publisher of each shard without duplicates, or None if the role cannot read the table."""
    if not connection.exec_driver_sql(f"SELECT {may_read_all_of_ours('publishers')}").scalar_one():
        return None
    rows = connection.exec_driver_sql(
        "SELECT shard, owner, GREATEST(EXTRACT(epoch FROM clock_timestamp() - since)::float8, 0)"
        " FROM payctl.publishers WHERE shard <> %(replay)s ORDER BY since",
        {"replay": shard_lock.REPLAY_PLACE},
    ).all()
    found: dict[str, _Noted] = {}
    for lock, owner, seconds in rows:
        if lock == shard_lock.NO_BROKERS_PLACE:
            if seconds < SEEN_WITHIN.total_seconds() or lock == rows[-1][0]:  # an older outage is over
                _note_brokers(found, owner, seconds)
            continue
        name, ended = shard_lock.name_of(owner)
        shard, shards = shard_lock.shard_of(lock)
        places = found[owner].places if owner in found else set()
        found[owner] = _Noted(SeenPublisher(name, shards, seconds, ended=ended), {*places, (shard, shards)})
    return list(found.values())


def _note_brokers(found: dict[str, _Noted], text: str, seconds: float) -> None:
    """Add the publisher that cannot reach its brokers. This publisher may have held a shard, and may have ended.

    If the publisher later writes its name on a shard, the shard's row replaces this entry.
    """
    noted = without_brokers.read(text)
    if noted is None:
        return
    owner, error, ended = noted
    earlier = found.pop(shard_lock.ended(owner) if ended else owner, None)
    seen = SeenPublisher(shard_lock.name_of(owner)[0], None, seconds, ended=ended, without_brokers=error)
    if earlier is not None:
        seen = seen._replace(shards=earlier.seen.shards)
    found[owner] = _Noted(seen, earlier.places if earlier else set())


class Wait(NamedTuple):
    """The age of the oldest event that could be sent, in seconds. ``requeued_s`` is the time since its last replay."""

    age_s: float
    requeued_s: float | None = None


def longest_wait(connection: Connection, max_retries: int) -> Wait | None:
    """Return how long the oldest pending event that is not blocked has waited.

    Return None if there is no such event, or if the role is not allowed to read the events. The time since the replay
    is None if there was no replay, or if the role is not allowed to read the rows of runs.
    """
    columns = ("id", "aggregateId", "published", "publishedAt", "retryCount", "createdAt")
    may = connection.exec_driver_sql(f"SELECT {may_read_outbox(*columns)}").scalar_one()
    found = blocked.oldest_to_send(connection, max_retries) if may else None
    if found is None:
        return None
    if not republished.may_be_read(connection):
        return Wait(found.age_s)
    sql = f"SELECT {republished.requeued_before_s('SELECT %(id)s::text')}"
    return Wait(found.age_s, connection.exec_driver_sql(sql, {"id": found.id}).scalar_one())
