from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticketbottle_payctl.domain.cursor import START, Cursor
from ticketbottle_payctl.domain.event import OutboxEvent
from ticketbottle_payctl.domain.ordering import LATE_COMMITS

NOON = datetime(2026, 11, 22, 12)  # noqa: DTZ001 - the owner's columns have no zone
LATER = 1e9


def at(second, id_="a"):
    """A place in the order."""
    return NOON + timedelta(seconds=second), id_


def event(key, second, id_="a"):
    """An event at a place."""
    return OutboxEvent(id_, key, "payment", "PAYMENT_COMPLETED", "{}", NOON + timedelta(seconds=second), 0)


def test_it_begins_before_everything():
    """A publisher that knows nothing claims the oldest event there is."""
    assert Cursor().position == START < (datetime(2000, 1, 1), "")  # noqa: DTZ001


def test_an_event_behind_a_block_waits_and_others_do_not():
    """Only the blocked payment waits, only behind the blocking event."""
    cursor = Cursor()
    cursor.block("k", at(5), None)
    assert [cursor.must_wait(event("k", second)) for second in (4, 6)] == [False, True]
    assert not cursor.must_wait(event("other", 6))


def test_the_blocking_event_itself_waits_only_for_its_time():
    """One that waits for a retry is not tried early; one that was dead and is pending again was replayed."""
    cursor = Cursor()
    cursor.block("k", at(5), 100.0)
    cursor.block("dead", at(5), None)
    assert cursor.must_wait(event("k", 5))
    assert not cursor.must_wait(event("dead", 5))


def test_equal_instants_are_told_apart_by_id():
    """Within a millisecond the id decides who is behind whom."""
    cursor = Cursor()
    cursor.block("k", at(5, "b"), None)
    assert [cursor.must_wait(event("k", 5, id_)) for id_ in "abc"] == [False, False, True]


def test_a_block_is_lifted_when_it_is_due_and_not_before():
    """Then the publisher steps back to the event that waited."""
    cursor = Cursor()
    cursor.advance(at(60))
    cursor.block("k", at(5), 100.0)
    cursor.release_due(99.9)
    assert (cursor.must_wait(event("k", 6)), cursor.position, cursor.next_due()) == (True, at(60), 100.0)
    cursor.release_due(100.0)
    assert (cursor.must_wait(event("k", 6)), cursor.position, cursor.next_due()) == (False, at(5, ""), None)


def test_a_dead_event_still_blocks_when_an_earlier_retry_is_lifted():
    """Each block counts for itself: what is behind the dead event goes on waiting."""
    cursor = Cursor()
    cursor.block("k", at(1), 100.0)
    cursor.block("k", at(2), None)
    cursor.release_due(100.0)
    assert [cursor.must_wait(event("k", second)) for second in (1, 2, 3)] == [False, False, True]


def test_a_step_back_never_goes_forward():
    """A block ahead of where the publisher stands leaves it there."""
    cursor = Cursor()
    cursor.advance(at(10))
    cursor.block("k", at(60), 1.0)
    cursor.release_due(2.0)
    assert cursor.position == at(10)


@pytest.mark.parametrize("caught_up", [True, False])
def test_it_looks_at_the_last_moments_again(caught_up):
    """Transactions that commit a little later than they wrote are seen by the next claim, in their place."""
    cursor = Cursor()
    cursor.look_back(caught_up=caught_up)
    assert cursor.position == START
    cursor.advance(at(10))
    cursor.look_back(caught_up=caught_up)
    assert cursor.position == (NOON + timedelta(seconds=10) - LATE_COMMITS, "")


def test_after_a_step_back_it_returns_to_the_newest_only_when_caught_up():
    """What lies between is walked over once, not with every look; while there is more, nothing is jumped over."""
    cursor = Cursor()
    cursor.advance(at(1000))
    cursor.block("k", at(5), 1.0)
    cursor.release_due(2.0)
    cursor.advance(at(5))
    cursor.look_back(caught_up=False)
    assert cursor.position == (NOON + timedelta(seconds=5) - LATE_COMMITS, "")
    cursor.look_back(caught_up=True)
    assert cursor.position == (NOON + timedelta(seconds=1000) - LATE_COMMITS, "")


def test_with_nothing_to_publish_it_looks_back_from_the_sweep():
    """Dead events at the head are not walked over with every look at an idle outbox."""
    cursor = Cursor()
    cursor.restart(NOON)
    assert cursor.position == START
    cursor.look_back(caught_up=True)
    assert cursor.position == (NOON - LATE_COMMITS, "")


def test_a_restart_forgets_everything():
    """Position, limits, blocks and held keys are the database's to tell again."""
    cursor = Cursor()
    cursor.advance(at(10))
    cursor.until = NOON
    cursor.block("k", at(5), 1.0)
    cursor.must_wait(event("k", 6))
    cursor.restart()
    assert (cursor.position, cursor.until, cursor.held, cursor.next_due()) == (START, None, [], None)
    assert not cursor.must_wait(event("k", 6))


def test_keys_seen_waiting_are_not_claimed_again():
    """Until their block is lifted; a bounded number of them, so that a claim stays a short statement."""
    cursor = Cursor()
    for number in range(1500):
        cursor.block(f"k{number}", at(1), 5.0)
        assert cursor.must_wait(event(f"k{number}", 2))
    assert len(cursor.held) == 1000
    cursor.release_due(5.0)
    assert cursor.held == []


keys = st.sampled_from("xyz")
positions = st.tuples(st.integers(0, 5), st.sampled_from("abc"))
blocks = st.lists(st.tuples(keys, positions, st.none() | st.floats(0, 100)), max_size=12)


@given(blocks, st.floats(0, 100), keys, positions)
def test_what_waits_is_what_lies_behind_a_block(blocked, now, key, place):
    """For any blocks and any instant: behind one that is not lifted, or the very event while it is not due."""
    cursor = Cursor()
    left = {}
    for name, (second, id_), due in blocked:
        cursor.block(name, at(second, id_), due)
        left[name, at(second, id_)] = due
    cursor.release_due(now)
    left = {where: due for where, due in left.items() if due is None or due > now}
    here = at(*place)
    expected = any(
        name == key and (position < here or (position == here and due is not None))
        for (name, position), due in left.items()
    )
    assert cursor.must_wait(event(key, *place)) == expected
    assert cursor.next_due() == min((due for due in left.values() if due is not None), default=None)


@given(blocks, positions)
def test_after_every_release_nothing_released_lies_behind_the_position(blocked, place):
    """Whatever was released is claimed again: the publisher stands before the earliest of it."""
    cursor = Cursor()
    cursor.advance(at(*place))
    for name, where, due in blocked:
        cursor.block(name, at(*where), due)
    last_word = {(name, where): due for name, where, due in blocked}
    cursor.release_due(LATER)
    released = [at(*where) for (_, where), due in last_word.items() if due is not None]
    assert all(cursor.position < position or position > at(*place) for position in released)
    assert cursor.position <= at(*place)


@pytest.mark.parametrize("due", [None, 5.0])
def test_the_last_word_about_an_event_counts(due):
    """An event that waited for a retry and died since blocks for good, and the other way round."""
    cursor = Cursor()
    cursor.block("k", at(1), 5.0 if due is None else None)
    cursor.block("k", at(1), due)
    assert cursor.next_due() == due
