from __future__ import annotations

from contextlib import ExitStack

import pytest

from ticketbottle_payctl.store.outbox.shard_lock import NAMESPACE, Entry, enter, keeping, shard_of


@pytest.fixture
def session(engine):
    """New transactions, each on a connection of its own."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(engine.connect())


def test_the_first_one_enters_and_the_others_are_refused(session):
    """Until it leaves; then the next one enters at once and learns that somebody was there."""
    first, second = session(), session()
    assert enter(first, 0, 1, 0, "a") is Entry.TAKEN_OVER
    assert enter(second, 0, 1, 0, "b") is Entry.REFUSED
    second.rollback()
    first.commit()
    assert enter(second, 0, 1, 0, "b") is Entry.TAKEN_OVER


def test_who_comes_back_is_told_whether_somebody_was_there(session):
    """What it remembers of the shard holds only where nobody was."""
    first, second = session(), session()
    enter(first, 0, 1, 0, "a")
    first.commit()
    assert enter(first, 0, 1, 0, "a") is Entry.UNCHANGED
    first.commit()
    enter(second, 0, 1, 0, "b")
    second.commit()
    assert enter(first, 0, 1, 0, "a") is Entry.TAKEN_OVER


def test_a_visit_that_was_rolled_back_leaves_no_name(session):
    """Who crashed after it entered has changed nothing that another one remembers."""
    first, second = session(), session()
    enter(first, 0, 1, 0, "a")
    first.commit()
    enter(second, 0, 1, 0, "b")
    second.rollback()
    assert enter(first, 0, 1, 0, "a") is Entry.UNCHANGED


def test_hand_over_hand_nobody_gets_in(session):
    """One lane's transaction ends after the other's began: at each moment a newcomer is refused."""
    lanes, newcomer = [session(), session()], session()
    enter(lanes[0], 0, 1, 0, "a")
    for step in range(1, 6):
        lane, before = step % 2, (step - 1) % 2
        lanes[lane].exec_driver_sql(f"SELECT {keeping(0, 1, lane)}")
        assert enter(newcomer, 0, 1, 0, "b") is Entry.REFUSED
        newcomer.rollback()
        lanes[before].commit()
        assert enter(newcomer, 0, 1, 0, "b") is Entry.REFUSED
        newcomer.rollback()
    lanes[1].commit()
    assert enter(newcomer, 0, 1, 0, "b") is Entry.TAKEN_OVER


def test_a_newcomer_that_is_being_refused_is_waited_for(session, engine):
    """It holds the first lock for a moment; the publisher at work gets it as soon as it leaves."""
    worker, other_lane, newcomer = session(), session(), session()
    enter(worker, 0, 1, 0, "a")
    other_lane.exec_driver_sql(f"SELECT {keeping(0, 1, 1)}")
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
def test_another_number_of_shards_excludes(session, one, other):
    """Keys divided otherwise may be the same keys."""
    first, second = session(), session()
    enter(first, *one, 0, "a")
    assert enter(second, *other, 0, "b") is Entry.REFUSED


@pytest.mark.parametrize("clock_turned_back", [False, True])
def test_who_comes_back_is_told_that_somebody_divided_the_keys_otherwise(session, clock_turned_back):
    """Whichever shard that one had, again and again; and that one learns of the first in turn."""
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


def test_a_visit_with_another_number_that_was_rolled_back_is_no_visit(session):
    """It published nothing."""
    one, two = session(), session()
    enter(one, 0, 1, 0, "a")
    one.commit()
    enter(two, 1, 2, 0, "b")
    two.rollback()
    assert enter(one, 0, 1, 0, "a") is Entry.UNCHANGED


def test_publishers_of_one_number_do_not_disturb_each_other(session):
    """What each remembers of its own shard holds, whoever took another shard meanwhile."""
    first, second = session(), session()
    enter(first, 0, 2, 0, "a")
    first.commit()
    enter(second, 1, 2, 0, "b")
    second.commit()
    assert enter(first, 0, 2, 0, "a") is Entry.UNCHANGED
    assert enter(second, 1, 2, 0, "b") is Entry.UNCHANGED


def test_shards_of_one_number_do_not_exclude_each_other(session):
    """Four publishers, one shard each."""
    sessions = [session() for _ in range(4)]
    entries = [enter(connection, shard, 4, 0, str(shard)) for shard, connection in enumerate(sessions)]
    assert entries == [Entry.TAKEN_OVER] * 4


def test_locks_of_others_are_no_concern(session):
    """Another application's advisory locks, also with our numbers in the one-number form."""
    first, second = session(), session()
    first.exec_driver_sql("SELECT pg_advisory_xact_lock(%(space)s + 1, 2000)", {"space": NAMESPACE})
    first.exec_driver_sql("SELECT pg_advisory_xact_lock((%(space)s::bigint << 32) + 2000)", {"space": NAMESPACE})
    assert enter(second, 0, 1, 0, "a") is Entry.TAKEN_OVER


@pytest.mark.parametrize(("shard", "shards"), [(0, 1), (1, 2), (3, 4), (63, 64)])
def test_a_lock_tells_its_shard(session, shard, shards):
    """Both lanes' locks name the shard and of how many it is one."""
    first, second = session(), session()
    enter(first, shard, shards, 0, "a")
    second.exec_driver_sql(f"SELECT {keeping(shard, shards, 1)}")
    rows = first.exec_driver_sql(
        "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = %(space)s::oid",
        {"space": NAMESPACE},
    )
    assert [shard_of(lock) for (lock,) in rows] == [(shard, shards)] * 2
