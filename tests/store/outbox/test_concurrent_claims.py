"""Test claims next to other sessions: the end of the next claim, locked rows and interrupted claims."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from tests.store.outbox.conftest import ALL, NOON, ids
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox.claim import Released


def test_without_a_claimed_event_a_limited_number_of_locked_events_is_named(connection, add):
    """If a claim took no event, it reports at most as many locked events as it could have taken."""
    for id_ in "abc":
        add(id_)
    assert len(outbox.locked_by_others(connection, replace(ALL, limit=2), None)) == 2


def test_a_claim_waits_for_a_locked_row_or_skips_it(engine, connection, add):
    """A claim waits up to the lock timeout, or skips a locked row and reports the row's key and position."""
    add("a", 1)
    add("b", 2)
    add("c", 3)
    with engine.connect() as other:
        other.exec_driver_sql("SELECT 1 FROM outbox WHERE id = 'b' FOR UPDATE")
        connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
        with pytest.raises(OperationalError, match="lock timeout"):
            outbox.claim(connection, ALL)
        connection.rollback()
        claimed = outbox.claim(connection, ALL, skip_locked=True)
        assert (ids(claimed), claimed.complete) == (["a", "c"], True)
        left = outbox.locked_by_others(connection, ALL, claimed.events[-1].position)
        assert left == [("key of b", (NOON + timedelta(seconds=2), "b"))]
        other.rollback()


def place(second, id_):
    """Return an event's position in the publishing order."""
    return NOON + timedelta(seconds=second), id_


def test_the_end_of_the_next_claim_is_found_in_advance(connection, add):
    """The end of the next claim is the position of its last event, or None if too few events are pending."""
    for number in range(5):
        add(str(number), number, retryCount=5 * (number == 1))
    two = replace(ALL, limit=2)
    assert outbox.end_of_next(connection, two, "1") == place(2, "2")
    assert outbox.end_of_next(connection, replace(two, after=place(2, "2")), "1") == place(4, "4")
    assert outbox.end_of_next(connection, replace(two, after=place(3, "3")), "1") is None
    assert len(outbox.claim(connection, ALL).events) == 4


def test_finding_the_end_of_a_claim_also_takes_a_lock(connection):
    """One statement takes the advisory lock and then finds the end of the claim, even if no event is pending."""
    assert outbox.end_of_next(connection, ALL, "pg_advisory_xact_lock(1, 2)") is None
    held = connection.exec_driver_sql(
        "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    )
    assert held.scalar_one() == 2


def test_two_concurrent_claims_share_no_event(engine, connection, add):
    """Two concurrent claims, one up to a position and one after it, do not share events or wait for each other."""
    for number in range(6):
        add(str(number), number)
    end = outbox.end_of_next(connection, replace(ALL, limit=3), "1")
    with engine.connect() as other:
        for session in (connection, other):
            session.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
        second = outbox.claim(other, replace(ALL, after=end))
        first = outbox.claim(connection, replace(ALL, limit=3, end=end))
        other.rollback()
    assert (ids(first), ids(second)) == (["0", "1", "2"], ["3", "4", "5"])
    assert (first.complete, second.complete) == (True, True)


@pytest.mark.parametrize(("late", "complete"), [(1, True), (5, True), (6, False), (60, False)])
def test_a_range_with_too_many_late_events_is_not_complete(connection, add, monkeypatch, late, complete):
    """If too many events are committed into a range before the claim, the claim reports that it is incomplete."""
    monkeypatch.setattr(outbox, "_MOST_MORE_IN_RANGE", 6)
    end = place(9, "end")
    for number in range(1, 2 + late):
        add(f"{number:03}", number / 100)
    add("end", 9)
    claimed = outbox.claim(connection, replace(ALL, limit=2, end=end))
    assert (claimed.complete, len(claimed.events)) == (complete, min(2 + late, 8))


def claim_and_release(other):
    """Claim the first events, give them back and commit, as a publisher does when it is stopped."""
    claimed = outbox.claim(other, replace(ALL, limit=2), skip_locked=True).events
    outbox.release(other, [Released(event.id, 0, None) for event in claimed])
    other.commit()


def lock(other):
    """Lock the first event's row, as a person does in psql, and commit."""
    other.exec_driver_sql("SELECT FROM outbox WHERE id = 'a' FOR UPDATE")
    other.commit()


def lock_and_change(other):
    """Lock the first event's row, change the row and commit, as a replay does."""
    other.exec_driver_sql("SELECT FROM outbox WHERE id = 'a' FOR UPDATE")
    other.exec_driver_sql("""UPDATE outbox SET "retryCount" = 0 WHERE id = 'a'""")
    other.commit()


def claim_and_end(other):
    """Claim the first events in a session that ends without a commit, as a killed publisher does."""
    assert ids(outbox.claim(other, replace(ALL, limit=2))) == ["a", "b"]


@pytest.mark.parametrize(
    ("before", "skip_locked", "interrupted"),
    [
        (claim_and_end, False, True),
        (claim_and_end, True, False),
        (claim_and_release, False, False),
        (lock, False, False),
        (lock_and_change, False, False),
        (lambda _: None, False, False),
    ],
)
def test_a_claim_shows_whether_an_earlier_claim_of_its_events_was_interrupted(
    engine, connection, add, before, skip_locked, interrupted
):
    """Only an earlier claim of one of the claimed events counts, and only if it was not committed."""
    add("a", 1)
    add("b", 2)
    add("c", 3)
    with engine.connect() as other:
        before(other)
    assert outbox.claim(connection, replace(ALL, limit=1), skip_locked=skip_locked).interrupted is interrupted
    behind = replace(ALL, limit=1, after=(NOON + timedelta(seconds=2), "b"))
    assert outbox.claim(connection, behind).interrupted is False
