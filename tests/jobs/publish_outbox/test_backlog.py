"""Test the position and the blocked payments that a publisher remembers between its claims."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticketbottle_payctl.domain.event import START, OutboxEvent
from ticketbottle_payctl.domain.late_commits import LATE_COMMITS
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog, Block

NOON = datetime(2026, 11, 22, 12)  # noqa: DTZ001 - the owner's columns have no zone
LATER = 1e9


def at(second, id_="a"):
    """Return the position in publishing order that is ``second`` seconds after NOON."""
    return NOON + timedelta(seconds=second), id_


def event(key, second, id_="a"):
    """Return an event whose position is ``second`` seconds after NOON."""
    return OutboxEvent(id_, key, "payment", "PAYMENT_COMPLETED", "{}", NOON + timedelta(seconds=second), 0)


def test_a_new_backlog_begins_at_the_oldest_event():
    """The position of a new backlog is before every event."""
    assert Backlog(PublishOptions(), 0).position == START < (datetime(2000, 1, 1), "")  # noqa: DTZ001


def test_only_events_behind_a_block_of_their_payment_are_blocked():
    """A block in the backlog affects only later events of the same payment."""
    backlog = Backlog(PublishOptions(), 0)
    backlog.block(Block("k", at(5), None))
    assert [backlog.is_blocked(event("k", second)) for second in (4, 6)] == [False, True]
    assert not backlog.is_blocked(event("other", 6))


def test_a_blocking_event_is_itself_blocked_only_until_its_retry_is_due():
    """An event that waits for its retry is blocked.

    A dead event is not blocked, so the publisher can claim the event after a replay.
    """
    backlog = Backlog(PublishOptions(), 0)
    backlog.block(Block("k", at(5), 100.0))
    backlog.block(Block("dead", at(5), None))
    assert backlog.is_blocked(event("k", 5))
    assert not backlog.is_blocked(event("dead", 5))


def test_the_id_orders_events_of_one_instant():
    """If two events have the same timestamp, the event with the higher id comes later."""
    backlog = Backlog(PublishOptions(), 0)
    backlog.block(Block("k", at(5, "b"), None))
    assert [backlog.is_blocked(event("k", 5, id_)) for id_ in "abc"] == [False, False, True]


def test_a_block_ends_when_its_retry_is_due():
    """When an event's retry is due, the event's block ends, and the next claim starts at this event."""
    backlog = Backlog(PublishOptions(), 0)
    backlog.advance(at(60))
    backlog.block(Block("k", at(5), 100.0))
    backlog.release_due(99.9)
    assert (backlog.is_blocked(event("k", 6)), backlog.position, backlog.next_due()) == (True, at(60), 100.0)
    backlog.release_due(100.0)
    assert (backlog.is_blocked(event("k", 6)), backlog.position, backlog.next_due()) == (False, at(5, ""), None)


def test_a_dead_event_still_blocks_after_an_earlier_retry_is_due():
    """Events behind a dead event stay blocked even if the retry of an earlier event of the same payment is due."""
    backlog = Backlog(PublishOptions(), 0)
    backlog.block(Block("k", at(1), 100.0))
    backlog.block(Block("k", at(2), None))
    backlog.release_due(100.0)
    assert [backlog.is_blocked(event("k", second)) for second in (1, 2, 3)] == [False, False, True]


def test_releasing_a_block_never_moves_the_position_forward():
    """If a block ahead of the backlog's position is released, the position does not change."""
    backlog = Backlog(PublishOptions(), 0)
    backlog.advance(at(10))
    backlog.block(Block("k", at(60), 1.0))
    backlog.release_due(2.0)
    assert backlog.position == at(10)


@pytest.mark.parametrize("caught_up", [True, False])
def test_a_rewind_goes_back_by_the_late_commit_window(caught_up):
    """A rewind moves the backlog's position back by the late-commit window, so the next claim finds late commits."""
    backlog = Backlog(PublishOptions(), 0)
    backlog.rewind_for_late_commits(caught_up=caught_up)
    assert backlog.position == START
    backlog.advance(at(10))
    backlog.rewind_for_late_commits(caught_up=caught_up)
    assert backlog.position == (NOON + timedelta(seconds=10) - LATE_COMMITS, "")


def test_a_rewind_returns_to_the_newest_event_only_if_caught_up():
    """If the publisher has caught up, a rewind starts at its newest position, otherwise at its current position."""
    backlog = Backlog(PublishOptions(), 0)
    backlog.advance(at(1000))
    backlog.block(Block("k", at(5), 1.0))
    backlog.release_due(2.0)
    backlog.advance(at(5))
    backlog.rewind_for_late_commits(caught_up=False)
    assert backlog.position == (NOON + timedelta(seconds=5) - LATE_COMMITS, "")
    backlog.rewind_for_late_commits(caught_up=True)
    assert backlog.position == (NOON + timedelta(seconds=1000) - LATE_COMMITS, "")


def test_forgetting_makes_a_rescan_due():
    """After forget(), a backlog has no position and no blocks, and a rescan is due."""
    backlog = Backlog(PublishOptions(), 0)
    backlog.advance(at(10))
    backlog.block(Block("k", at(5), 1.0))
    backlog.exclude("k")
    backlog.forget()
    assert backlog.next_claim() == Backlog(PublishOptions(), 0).next_claim()
    assert (backlog.next_due(), backlog.rescan_is_due(0.0)) == (None, True)
    assert not backlog.is_blocked(event("k", 6))


def test_excluded_payments_are_not_claimed_until_their_block_is_lifted():
    """A claim excludes up to 1,000 blocked payments. Payments whose blocks have ended are not excluded."""
    backlog = Backlog(PublishOptions(), 0)
    for number in range(1500):
        backlog.block(Block(f"k{number}", at(1), 5.0))
        backlog.exclude(f"k{number}")
    assert len(backlog.next_claim().excluded) == 1000
    backlog.release_due(5.0)
    assert backlog.next_claim().excluded == []


keys = st.sampled_from("xyz")
positions = st.tuples(st.integers(0, 5), st.sampled_from("abc"))
blocks = st.lists(st.tuples(keys, positions, st.none() | st.floats(0, 100)), max_size=12)


@given(blocks, st.floats(0, 100), keys, positions)
def test_exactly_the_events_behind_a_block_are_blocked(blocked, now, key, place):
    """An event is blocked only if it is behind an active block of its payment or waits for its own retry."""
    backlog = Backlog(PublishOptions(), 0)
    left = {}
    for name, (second, id_), due in blocked:
        backlog.block(Block(name, at(second, id_), due))
        left[name, at(second, id_)] = due
    backlog.release_due(now)
    left = {where: due for where, due in left.items() if due is None or due > now}
    here = at(*place)
    expected = any(
        name == key and (position < here or (position == here and due is not None))
        for (name, position), due in left.items()
    )
    assert backlog.is_blocked(event(key, *place)) == expected
    assert backlog.next_due() == min((due for due in left.values() if due is not None), default=None)


@given(blocks, positions)
def test_the_position_is_before_every_released_event(blocked, place):
    """After blocks are released, the next claim starts before the earliest released event."""
    backlog = Backlog(PublishOptions(), 0)
    backlog.advance(at(*place))
    for name, where, due in blocked:
        backlog.block(Block(name, at(*where), due))
    last_word = {(name, where): due for name, where, due in blocked}
    backlog.release_due(LATER)
    released = [at(*where) for (_, where), due in last_word.items() if due is not None]
    assert all(backlog.position < position or position > at(*place) for position in released)
    assert backlog.position <= at(*place)


@pytest.mark.parametrize("due", [None, 5.0])
def test_a_later_block_of_an_event_replaces_the_earlier_one(due):
    """A new block for an event replaces the event's earlier block and has its own time limit."""
    backlog = Backlog(PublishOptions(), 0)
    backlog.block(Block("k", at(1), 5.0 if due is None else None))
    backlog.block(Block("k", at(1), due))
    assert backlog.next_due() == due


@pytest.mark.postgres
@pytest.mark.parametrize(("seconds", "due"), [(4.5, 100.5), (4.999, 100.001), (5, None), (6, None)])
def test_a_failed_event_blocks_its_payment_until_the_instant_of_its_retry(outbox, seconds, due):
    """A failed event blocks its payment until its retry is due, five seconds after the event was created."""
    outbox.add("k", retry_count=1)
    outbox.execute("""UPDATE outbox SET "createdAt" = '2026-11-22 12:00:00'""")
    backlog = Backlog(PublishOptions(), 0)
    with outbox.engine.connect() as connection:
        backlog._block_failed(connection, 100.0, NOON + timedelta(seconds=seconds))  # noqa: SLF001
    assert backlog.next_due() == (None if due is None else pytest.approx(due))
