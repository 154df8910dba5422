"""Test that a shard has one publisher at a time, which learns whether another publisher held the shard before."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from threading import Thread

import pytest

from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.store.db.advisory_locks import Namespace
from ticketbottle_payctl.store.outbox.shard_lock import (
    MAKE_RESCAN,
    Entry,
    enter,
    held_shards,
    holders,
    keeping,
    name_of,
    shard_of,
    show_life,
    sign_off,
)


@pytest.fixture
def session(engine):
    """Yield a function that opens a new transaction on a separate connection."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(engine.connect())


def test_a_shard_has_one_publisher_at_a_time(session):
    """A second publisher of a shard is refused until the first one commits.

    The second publisher then takes over the shard and learns that another publisher has held it.
    """
    first, second = session(), session()
    assert enter(first, 0, 1, 0, "a") is Entry.TAKEN_OVER
    assert enter(second, 0, 1, 0, "b") is Entry.REFUSED
    second.rollback()
    first.commit()
    assert enter(second, 0, 1, 0, "b") is Entry.TAKEN_OVER


def test_a_returning_publisher_learns_whether_another_one_held_the_shard(session):
    """A returning publisher gets TAKEN_OVER if another publisher held the shard in the meantime, or UNCHANGED."""
    first, second = session(), session()
    enter(first, 0, 1, 0, "a")
    first.commit()
    assert enter(first, 0, 1, 0, "a") is Entry.UNCHANGED
    first.commit()
    enter(second, 0, 1, 0, "b")
    second.commit()
    assert enter(first, 0, 1, 0, "a") is Entry.TAKEN_OVER


def test_a_publisher_that_rolled_back_does_not_count_as_holder(session):
    """A publisher that takes a shard and rolls back changes nothing.

    The previous publisher's cached state stays valid.
    """
    first, second = session(), session()
    enter(first, 0, 1, 0, "a")
    first.commit()
    enter(second, 0, 1, 0, "b")
    second.rollback()
    assert enter(first, 0, 1, 0, "a") is Entry.UNCHANGED


def test_a_second_publisher_is_refused_while_the_first_one_changes_locks(session):
    """The first publisher's next transaction takes its lock before the previous one commits.

    The shard is never free.
    """
    publisher, newcomer = [session(), session()], session()
    enter(publisher[0], 0, 1, 0, "a")
    for step in range(1, 6):
        lock, before = step % 2, (step - 1) % 2
        publisher[lock].exec_driver_sql(f"SELECT {keeping(0, 1, lock)}")
        assert enter(newcomer, 0, 1, 0, "b") is Entry.REFUSED
        newcomer.rollback()
        publisher[before].commit()
        assert enter(newcomer, 0, 1, 0, "b") is Entry.REFUSED
        newcomer.rollback()
    publisher[1].commit()
    assert enter(newcomer, 0, 1, 0, "b") is Entry.TAKEN_OVER


def test_the_first_publisher_waits_while_a_second_one_is_refused(session, engine):
    """A new publisher can briefly hold lock 0 until it is refused. The shard's publisher gets the lock after that."""
    worker, second, newcomer = session(), session(), session()
    enter(worker, 0, 1, 0, "a")
    second.exec_driver_sql(f"SELECT {keeping(0, 1, 1)}")
    worker.commit()
    assert enter(newcomer, 0, 1, 0, "b") is Entry.REFUSED
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    worker.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
    with pytest.raises(Exception, match="lock timeout"):
        worker.exec_driver_sql(f"SELECT {keeping(0, 1, 0)}")
    worker.rollback()
    newcomer.rollback()
    worker.exec_driver_sql(f"SELECT {keeping(0, 1, 0)}")
    with engine.connect() as connection:
        assert connection.exec_driver_sql(waits).scalar_one() == 0


@pytest.mark.parametrize(("one", "other"), [((0, 1), (1, 2)), ((3, 4), (0, 2)), ((0, 1), (0, 64))])
def test_publishers_with_different_numbers_of_shards_exclude_each_other(session, one, other):
    """A publisher with a different shard count is refused, because both publishers might send the same event."""
    first, second = session(), session()
    enter(first, *one, 0, "a")
    assert enter(second, *other, 0, "b") is Entry.REFUSED


@pytest.mark.parametrize("clock_turned_back", [False, True])
def test_a_returning_publisher_learns_of_one_with_another_number_of_shards(session, clock_turned_back):
    """Two publishers with different numbers of shards always detect each other on return, even if the clock jumps."""
    one, two = session(), session()
    for _ in range(3):
        for shard in (0, 1):
            assert enter(two, shard, 2, 0, "b") is Entry.TAKEN_OVER
            two.commit()
            assert enter(two, shard, 2, 0, "b") is Entry.UNCHANGED
            two.commit()
            if clock_turned_back:
                one.exec_driver_sql("UPDATE payctl.publishers SET since = since + interval '1 hour'")
            assert enter(one, 0, 1, 0, "a") is Entry.TAKEN_OVER
            one.commit()
            assert enter(one, 0, 1, 0, "a") is Entry.UNCHANGED
            one.commit()


SINCE = "SELECT since FROM payctl.publishers ORDER BY since"


def test_a_name_of_the_same_instant_counts_as_later(session):
    """If a publisher with a different number of shards wrote its name at the same time, cached state is not valid."""
    one, two = session(), session()
    enter(one, 0, 1, 0, "a")
    one.commit()
    enter(two, 0, 2, 0, "b")
    two.exec_driver_sql("UPDATE payctl.publishers SET since = '2026-11-29 12:00Z'")
    two.commit()
    assert enter(one, 0, 1, 0, "a") is Entry.TAKEN_OVER


def test_a_name_is_written_a_microsecond_after_the_latest_one(session):
    """If the clock was set back, a new time is one microsecond after the latest recorded time."""
    publisher = session()
    for shard in (0, 1):
        enter(publisher, shard, 2, 0, "a")
    publisher.exec_driver_sql("UPDATE payctl.publishers SET since = since + interval '1 hour'")
    latest = publisher.exec_driver_sql(SINCE).scalars().all()[-1]
    show_life(publisher, 0, 2, "a")
    assert publisher.exec_driver_sql(SINCE).scalars().all() == [latest, latest + timedelta(microseconds=1)]


def test_a_publisher_is_refused_if_the_holder_ends_before_it_looks(session, execute):
    """If the shard's lock was not free at the attempt, the publisher is refused, even if the holder has ended since."""
    execute("CREATE FUNCTION public.pg_try_advisory_xact_lock(int, int) RETURNS boolean LANGUAGE sql RETURN false")
    newcomer = session()
    newcomer.exec_driver_sql("SET search_path = public, pg_catalog")  # by default, pg_catalog is first
    assert enter(newcomer, 0, 1, 0, "b") is Entry.REFUSED


def test_only_the_publisher_that_has_ended_is_marked(session):
    """A publisher that ends is marked as ended on each of its shards. The names of other publishers stay unchanged."""
    publisher = session()
    for shard, owner in enumerate(("host:1:a", "host:2:b", "host:1:a")):
        enter(publisher, shard, 3, 0, owner)
    sign_off(publisher, "host:1:a")
    owners = publisher.exec_driver_sql("SELECT owner FROM payctl.publishers ORDER BY shard").scalars()
    assert [name_of(owner) for owner in owners] == [("host:1", True), ("host:2", False), ("host:1", True)]


RESCAN = MAKE_RESCAN.format(condition="true")
LATER = "UPDATE payctl.publishers SET since = since + %(ahead)s::interval"


def assert_each_shard(connection, entry):
    """Enter both shards of a publisher, and check each result."""
    for shard in (0, 1):
        assert enter(connection, shard, 2, 0, "a") is entry
        connection.commit()


@pytest.mark.parametrize("ahead", ["0 s", "1 hour"])
def test_each_chunk_of_a_replay_makes_each_shard_rescan_once(session, ahead):
    """Each chunk of a replay makes every shard rescan once, even if a publisher took the shard over during the replay.

    Many chunks do not move the times in payctl.publishers further ahead, even if the clock was turned back.
    """
    publisher, replay = session(), session()
    assert_each_shard(publisher, Entry.TAKEN_OVER)
    replay.exec_driver_sql(LATER, {"ahead": ahead})
    replay.commit()
    for _ in range(20):
        replay.exec_driver_sql(RESCAN)
        for shard in (0, 1):
            show_life(publisher, shard, 2, "a")
            publisher.commit()
        replay.commit()
        assert_each_shard(publisher, Entry.TAKEN_OVER)
        assert_each_shard(publisher, Entry.UNCHANGED)
    sql = "SELECT max(since) < clock_timestamp() + %(ahead)s::interval + interval '31 s' FROM payctl.publishers"
    assert replay.exec_driver_sql(sql, {"ahead": ahead}).scalar_one()


@pytest.mark.parametrize("ahead", ["0 s", "1 hour"])
def test_two_replays_at_the_same_time_both_make_a_publisher_rescan(session, ahead):
    """A publisher that rescans between the commits of two replays rescans again after the second commit."""
    publisher, first, second, watcher = (session() for _ in range(4))
    assert_each_shard(publisher, Entry.TAKEN_OVER)
    watcher.exec_driver_sql(RESCAN)
    watcher.exec_driver_sql(LATER, {"ahead": ahead})
    watcher.commit()
    assert_each_shard(publisher, Entry.TAKEN_OVER)
    first.exec_driver_sql(RESCAN)
    pid = {"pid": second.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()}
    waiting = Thread(target=second.exec_driver_sql, args=(RESCAN,))
    waiting.start()
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %(pid)s"
    wait_until(lambda: watcher.exec_driver_sql(waits, pid).scalar_one(), what="the second replay", timeout=20)
    first.commit()
    waiting.join(20)
    assert_each_shard(publisher, Entry.TAKEN_OVER)
    second.commit()
    assert_each_shard(publisher, Entry.TAKEN_OVER)
    assert_each_shard(publisher, Entry.UNCHANGED)


def test_a_rolled_back_publisher_with_other_shards_does_not_count(session):
    """A publisher with a different shard count that rolled back published nothing, so cached state is still valid."""
    one, two = session(), session()
    enter(one, 0, 1, 0, "a")
    one.commit()
    enter(two, 1, 2, 0, "b")
    two.rollback()
    assert enter(one, 0, 1, 0, "a") is Entry.UNCHANGED


def test_a_publisher_of_another_shard_does_not_invalidate_cached_state(session):
    """A publisher of another shard keeps cached state valid if both publishers use the same number of shards."""
    first, second = session(), session()
    enter(first, 0, 2, 0, "a")
    first.commit()
    enter(second, 1, 2, 0, "b")
    second.commit()
    assert enter(first, 0, 2, 0, "a") is Entry.UNCHANGED
    assert enter(second, 1, 2, 0, "b") is Entry.UNCHANGED


def test_four_publishers_hold_four_shards_at_once(session):
    """Publishers of different shards do not exclude each other if the number of shards is the same."""
    sessions = [session() for _ in range(4)]
    entries = [enter(connection, shard, 4, 0, str(shard)) for shard, connection in enumerate(sessions)]
    assert entries == [Entry.TAKEN_OVER] * 4


def test_advisory_locks_of_other_applications_do_not_block_a_shard(session):
    """An advisory lock in a different namespace, or with a single 64-bit number, does not block a publisher."""
    first, second, space = session(), session(), Namespace.SHARDS.value
    first.exec_driver_sql(f"SELECT pg_advisory_xact_lock({space} + 1, 2000)")
    first.exec_driver_sql(f"SELECT pg_advisory_xact_lock(({space}::bigint << 32) + 2000)")
    assert enter(second, 0, 1, 0, "a") is Entry.TAKEN_OVER


@pytest.mark.parametrize(("shard", "shards"), [(0, 1), (1, 2), (3, 4), (63, 64)])
def test_a_lock_number_gives_the_shard_and_the_number_of_shards(session, shard, shards):
    """For both locks of a shard, `shard_of` returns the same shard and the same number of shards."""
    first, second = session(), session()
    enter(first, shard, shards, 0, "a")
    second.exec_driver_sql(f"SELECT {keeping(shard, shards, 1)}")
    rows = first.exec_driver_sql(
        "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = %(space)s::oid",
        {"space": Namespace.SHARDS.value},
    )
    assert [shard_of(lock) for (lock,) in rows] == [(shard, shards)] * 2


def pid_of(connection):
    """Return the process id of a connection's session."""
    return connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()


def test_the_holder_of_a_shard_is_named_or_else_its_last_publisher(session):
    """A held shard has one holder, with the name of this publisher. A free shard has its last publisher."""
    first, second, reader = session(), session(), session()
    assert holders(reader, 0, 2) == []
    for connection, shard in ((first, 0), (second, 1)):
        enter(connection, shard, 2, 0, f"of {shard}")
        connection.commit()
    assert [(each.pid, each.shards, each.owner) for each in holders(reader, 0, 2)] == [(None, 2, "of 0")]
    enter(first, 0, 2, 0, "of 0")
    enter(second, 1, 2, 0, "of 1")
    assert [(each.pid, each.application, each.owner) for each in holders(reader, 0, 2)] == [
        (pid_of(first), "payctl", "of 0")
    ]
    assert held_shards(reader, 2) == [0, 1]
    second.rollback()
    assert held_shards(reader, 2) == [0]
    assert holders(first, 0, 2)[0].pid is None


def test_a_holder_that_has_ended_since_is_named_without_its_application(session, execute):
    """If a holder's session is no longer visible, the holder is reported without its application and address."""
    execute("CREATE VIEW public.pg_stat_activity AS SELECT * FROM pg_catalog.pg_stat_activity WHERE false")
    publisher, reader = session(), session()
    enter(publisher, 0, 1, 0, "a")
    publisher.commit()
    enter(publisher, 0, 1, 0, "a")
    reader.exec_driver_sql("SET search_path = public, pg_catalog")  # by default, pg_catalog is first
    assert holders(reader, 0, 1) == [(pid_of(publisher), 1, None, None, "a")]


def test_a_publisher_with_another_number_of_shards_holds_every_shard(session):
    """A publisher with a different shard count stops new publishers of every shard, so it is the reported holder."""
    other, reader = session(), session()
    enter(other, 3, 4, 1, "of four")
    assert [(each.pid, each.shards) for each in holders(reader, 0, 2)] == [(pid_of(other), 4)]
    assert holders(reader, 2, 4) == []
