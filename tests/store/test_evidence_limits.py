"""Test the age from which an event counts as waiting, due or overdue, and the event that represents a group."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.domain.causes import Reason
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.inspect import evidence
from ticketbottle_payctl.store.outbox import stats

pytestmark = pytest.mark.postgres
MINUTE = timedelta(minutes=1)
REQUEUED = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome)
    VALUES (gen_random_uuid(), 0, 0, %s, 'requeued')"""


@pytest.fixture
def order(engine):
    """Return a function that inserts a payment and returns a writer of its rows."""
    return lambda: Orders(engine).pay("COMPLETED")


def read(connection):
    """Return the evidence about pending and dead events. An event is dead after 20 retries."""
    connection.exec_driver_sql("SET LOCAL jit = off")  # payctl's commands also turn JIT off
    recent = stats.recent(connection, 3600)
    found = stats.unpublished(connection, 20, late_after_s=300, seen=recent)
    return evidence.evidence(connection, 20, found, recent)


@pytest.fixture
def waiting(engine):
    """Return a function that returns the groups of waiting events."""

    def run():
        with engine.connect() as connection:
            return read(connection).waiting

    return run


@pytest.fixture
def waiting_at_noon(at_noon, engine):
    """Return a function that returns the groups of waiting events at noon, after moving each event before noon.

    The events are given in order of their ids, as the number of seconds before noon.
    """

    def run(*ages):
        with engine.begin() as connection:
            names = connection.exec_driver_sql("SELECT id FROM outbox ORDER BY id").scalars().all()
            for name, age in zip(names, ages, strict=True):
                connection.exec_driver_sql(
                    """UPDATE outbox SET "createdAt" = timestamp '2026-11-29 12:00' - %s WHERE id = %s""",
                    (timedelta(seconds=age), name),
                )
        return read(at_noon).waiting

    return run


@pytest.mark.parametrize(
    ("age", "retries", "reason"),
    [
        (1, 0, None),
        (10, 0, None),
        (10.001, 0, Reason.READY),
        (3, 1, Reason.NOT_DUE),
        (5, 1, None),
        (19.999, 3, Reason.NOT_DUE),
        (20, 3, Reason.FAILING),
    ],
)
def test_an_event_waits_after_ten_seconds_or_until_its_retry_is_due(order, waiting_at_noon, age, retries, reason):
    """An event is in a group if it waits for its retry or is older than ten seconds.

    If its retry is due, the event counts as failing.
    """
    order().event(retries=retries)
    assert [each.reason for each in waiting_at_noon(age)] == ([reason] if reason else [])


@pytest.mark.parametrize(("age", "numbers"), [(120, [2]), (120.001, [1, 1])])
def test_an_event_is_overdue_after_two_minutes(order, waiting_at_noon, age, numbers):
    """An event that is older than two minutes is not grouped with the newer events."""
    for name in ("a", "b"):
        order().event(id=name)
    assert [each.events for each in waiting_at_noon(age, 60)] == numbers


def test_blocked_events_are_one_group_whatever_their_age_is(order, waiting):
    """Blocked events form one group, whether they are overdue or newer."""
    for age in (MINUTE, 3 * MINUTE):
        order().event("FAILED", age=age + MINUTE, retries=20).event(age=age)
    assert [(each.reason, each.events) for each in waiting()] == [(Reason.BLOCKED, 2)]


def test_the_oldest_event_speaks_for_a_group(order, waiting_at_noon):
    """A group has the age of its oldest event, and names the event that the oldest event waits for."""
    order().event("FAILED", id="a", retries=1).event(id="b")
    order().event("CANCELLED", id="c", retries=1).event(id="d")
    (group,) = (each for each in waiting_at_noon(60, 50, 40, 30) if each.event_type == "PAYMENT_COMPLETED")
    assert (group.reason, group.id, group.events, group.oldest_s) == (Reason.BEHIND_FAILING, "b", 2, 50)
    assert (group.blocker, group.blocker_type) == ("a", "PAYMENT_FAILED")


def test_the_group_with_the_oldest_event_comes_first(order, waiting):
    """The groups are sorted by their oldest events, even if the first group also has the newest event."""
    for kind, age in (("COMPLETED", 90), ("FAILED", 60), ("COMPLETED", 30)):
        order().event(kind, age=timedelta(seconds=age))
    assert [each.event_type for each in waiting()] == ["PAYMENT_COMPLETED", "PAYMENT_FAILED"]


def test_an_event_waits_for_a_dead_event_before_a_failed_one(order, waiting):
    """If a dead event and a failed event of the same payment come before an event, it waits behind the dead event."""
    orders = order().event("FAILED", age=3 * MINUTE, retries=20)
    orders.event("CANCELLED", age=2 * MINUTE, retries=1).event(age=MINUTE)
    (group,) = (each for each in waiting() if each.event_type == "PAYMENT_COMPLETED")
    assert (group.reason, group.blocker, group.blocker_type) == (Reason.BLOCKED, orders.events[0], "PAYMENT_FAILED")


@pytest.mark.parametrize("retries", [1, 20])
def test_an_error_is_cut_to_500_characters(order, waiting, retries):
    """A group has the first 500 characters of its event's own error, or of the earlier dead event's error."""
    order().event("FAILED", age=2 * MINUTE, retries=retries, error="x" * 501).event(age=MINUTE)
    assert {each.error for each in waiting()} == {"x" * 500}


@pytest.mark.parametrize(("place", "requeued"), [(0, True), (1, False), (2, False)])
def test_only_a_replay_before_the_oldest_event_counts(engine, order, waiting, place, requeued):
    """A group counts as requeued if a replay requeued its oldest event. A later event of the group does not count."""
    orders = order().event(age=6 * MINUTE).event("FAILED", age=5 * MINUTE)
    events = [*orders.events, *order().event(age=4 * MINUTE).events]
    with engine.begin() as connection:
        connection.exec_driver_sql(REQUEUED, (events[place],))
    (group,) = (each for each in waiting() if each.event_type == "PAYMENT_COMPLETED")
    assert (group.id, group.events, group.requeued_s is not None) == (events[0], 2, requeued)


def test_the_oldest_twenty_thousand_events_are_read(engine):
    """Only the oldest 20,000 pending events are grouped, and the evidence says so."""
    with engine.begin() as connection:
        insert_events(connection, 20_001, age=3 * MINUTE, payload_bytes=0)
        oldest = connection.exec_driver_sql('SELECT id FROM outbox ORDER BY "createdAt" LIMIT 1').scalar_one()
    with engine.connect() as connection:
        found = read(connection)
    assert ([(each.id, each.events) for each in found.waiting], found.sampled) == ([(oldest, 20_000)], True)


def test_the_planner_setting_ends_with_the_transaction(engine, order):
    """The planner setting for the evidence does not change later transactions of the connection."""
    order().event(age=MINUTE)
    with engine.connect() as connection:
        assert read(connection).waiting
        connection.commit()
        assert connection.exec_driver_sql("SHOW enable_nestloop").scalar_one() == "on"
