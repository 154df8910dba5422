"""Test the events that an error group counts and shows, and the plan of its statement for a large backlog."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.plans import plans_of
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.store.outbox import error_groups
from ticketbottle_payctl.store.outbox.dead import Rights
from ticketbottle_payctl.store.outbox.selector import Selector

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)
BEHIND = """
    UPDATE outbox SET "aggregateId" = (SELECT min("aggregateId") FROM outbox WHERE "retryCount" > 0)
    WHERE id = (SELECT max(id) FROM outbox WHERE "retryCount" = 0)
"""


@pytest.fixture
def grouped(engine):
    """Group 300 superseded dead events, and return the group and its plan. 4,000 events are pending.

    The memory limit is too small for a hash table of the pending events.
    """
    with engine.begin() as connection:
        insert_events(connection, 300, event_type="PAYMENT_FAILED", state="dead", age=HOUR)
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
        insert_events(connection, 4_000)
        connection.exec_driver_sql(BEHIND)
    with engine.begin() as connection, plans_of(engine, "WITH") as plans:
        connection.exec_driver_sql("ANALYZE; SET LOCAL work_mem = '64kB'")
        (group,) = error_groups.groups(connection, Selector(), 5, 10)
    (nodes,) = plans
    return group, nodes


def test_the_pending_events_behind_superseded_ones_are_found_in_hash_tables(grouped):
    """The server reads the pending events once, and searches for their payments in hash tables only.

    No success event is dead, so the server does not look for sent success events.
    """
    group, nodes = grouped
    assert (group.superseded, group.blocking) == (300, 1)
    scans = [node for node in nodes if node.get("Relation Name") == "outbox"]
    assert {node["Alias"]: node["Actual Loops"] for node in scans if node["Actual Loops"] != 1} == {
        "u": 0,
        "e": 0,
        "e_1": 0,
    }
    assert not [node for node in nodes if node["Node Type"] == "Materialize"]
    # The first five build the tables of dead and of sent success events. The last two build the tables of the
    # events that are too large: for the counts, and for the sample.
    assert [node["Actual Loops"] for node in nodes if node["Node Type"] == "ProjectSet"] == [
        0,
        0,
        0,
        0,
        0,
        1,
        1,
        1,
        1,
        1,
    ]
    assert ["hashed SubPlan" in node["Filter"] for node in scans if node["Alias"] == "w"] == [True]


@pytest.fixture
def groups(engine):
    """Return a function that returns the error groups. An event is dead after five retries."""

    def run(limit=10, **options):
        with engine.connect() as connection:
            return error_groups.groups(connection, Selector(), 5, limit, **options)

    return run


def test_an_error_group_counts_only_events_that_have_failed(engine, groups):
    """An error group counts pending and dead events that have failed. It counts dead events separately."""
    orders = Orders(engine).pay("COMPLETED")
    orders.event(retries=0, error="e").event(retries=1, error="e", age=3 * HOUR)
    orders.event("CANCELLED", retries=4, error="e", age=2 * HOUR).event(retries=5, error="e")
    orders.event(retries=6, error="e").event(state="published", retries=5, error="e")
    (group,) = groups()
    assert (group.count, group.dead, group.superseded, group.blocking) == (4, 2, 1, 0)
    assert group.event_types == ("PAYMENT_CANCELLED", "PAYMENT_COMPLETED")
    assert timedelta(hours=1.9) < group.last - group.first < timedelta(hours=2.1)


def test_the_largest_error_groups_come_first(engine, groups):
    """Error groups are sorted by their number of events. A limit keeps the largest groups."""
    orders = Orders(engine).pay()
    for error in ("a", "b", "c", "b", "c", "b"):
        orders.event(retries=5, error=error)
    assert [(group.pattern, group.count) for group in groups()] == [("b", 3), ("c", 2), ("a", 1)]
    assert [group.pattern for group in groups(limit=2)] == ["b", "c"]


def test_the_sample_of_a_group_is_its_newest_event_that_is_not_superseded(engine, groups):
    """A group shows its newest event that is not superseded, or its newest event if all of them are superseded."""
    superseded = Orders(engine).pay("COMPLETED").event("FAILED", retries=5, error="e 1").event(age=HOUR / 2)
    superseded.event("CANCELLED", retries=5, error="e 0", age=2 * HOUR)
    assert [(group.sample_id, group.sample_type) for group in groups()] == [(superseded.events[0], "PAYMENT_FAILED")]
    needed = Orders(engine).pay().event("CANCELLED", retries=5, error="e 2", age=3 * HOUR, size=99)
    Orders(engine).pay().event("FAILED", retries=5, error="e 3", age=4 * HOUR)
    (group,) = groups()
    assert (group.sample, group.sample_id, group.sample_type) == ("e 2", needed.events[0], "PAYMENT_CANCELLED")
    assert (group.superseded, group.blocking, group.count) == (2, 2, 4)
    assert 99 + 500 < group.message_bytes < 250 + 500


def test_only_the_events_that_are_too_large_are_left_out_of_a_group(engine, groups):
    """A group counts each event whose message is too large for payctl.

    The sample and the size come from the other events, even if those are older.
    """
    orders = Orders(engine).pay()
    for age, size in ((HOUR, 1_200_000), (2 * HOUR, 5_000), (3 * HOUR, 1_100_000), (4 * HOUR, 7_000)):
        orders.event(retries=5, error="MSG_SIZE_TOO_LARGE: no", age=age, size=size)
    (group,) = groups()
    assert (group.count, group.too_large, group.left_out, group.sample_id) == (4, 2, 2, orders.events[1])
    assert 7_500 < group.message_bytes < 7_800
    assert groups(with_payments=False)[0].too_large == 2


def test_a_group_without_a_message_that_payctl_can_send_has_the_size_of_its_largest_one(engine, groups):
    """If all messages of a group are too large for payctl, the group shows the newest event and the largest size."""
    orders = Orders(engine).pay()
    for age, size in ((2 * HOUR, 1_200_000), (HOUR, 1_100_000)):
        orders.event(retries=5, error="MSG_SIZE_TOO_LARGE: no", age=age, size=size)
    (group,) = groups()
    assert (group.too_large, group.left_out, group.sample_id) == (2, 2, orders.events[1])
    assert 1_200_500 < group.message_bytes == group.too_large_bytes < 1_200_800


def test_the_types_of_a_group_that_a_replay_sends_are_those_of_the_events_that_it_does_not_leave_out(engine, groups):
    """A replay sends no type of which all events of the group are superseded, too large or unknown."""
    orders = Orders(engine).pay("COMPLETED")
    for kind, size in (("FAILED", 0), ("COMPLETED", 5_000), ("?A", 0)):
        orders.event(kind, retries=5, error="MSG_SIZE_TOO_LARGE: no", size=size)
    Orders(engine).pay("CANCELLED").event("CANCELLED", retries=5, error="MSG_SIZE_TOO_LARGE: no", size=1_200_000)
    (group,) = groups()
    assert (group.count, group.replayable, group.replay_types) == (4, 1, ("PAYMENT_COMPLETED",))
    orders.event("FAILED", retries=5, error="e").event("CANCELLED", retries=5, error="f")
    Orders(engine).pay("FAILED").event("FAILED", retries=5, error="f")
    types = {each.pattern: each.replay_types for each in groups()}
    assert (types["e"], types["f"]) == ((), ("PAYMENT_FAILED",))


def test_a_superseded_event_does_not_count_as_too_large(engine, groups):
    """An event that is superseded and too large counts only once, as superseded."""
    Orders(engine).pay("COMPLETED").event("FAILED", retries=5, error="MSG_SIZE_TOO_LARGE: no", size=1_200_000)
    (group,) = groups()
    assert (group.superseded, group.too_large, group.left_out) == (1, 0, 1)


def test_the_sample_among_events_of_one_instant_has_the_greatest_id(engine, execute, groups):
    """If a group's events were created at the same time, the group shows only the event with the highest id."""
    orders = Orders(engine).pay()
    for name in ("b", "c", "a"):
        orders.event(id=name, retries=5, error="e")
    execute('UPDATE outbox SET "createdAt" = (SELECT min("createdAt") FROM outbox)')
    assert [(group.sample_id, group.count) for group in groups()] == [("c", 3)]


def test_an_older_event_with_a_greater_id_is_not_the_sample(engine, groups):
    """A group shows its newest event, whatever the ids of the group's older events are."""
    orders = Orders(engine).pay().event(id="z", retries=5, error="e", age=2 * HOUR)
    orders.event(id="a", retries=5, error="e", age=HOUR).event(id="zz", error="e", age=HOUR / 2)
    (group,) = groups()
    assert (group.sample_id, group.count, group.unknown) == ("a", 2, 0)


def test_the_sample_of_a_group_has_a_known_type_if_possible(engine, groups):
    """A group shows an event of a type that payctl knows, or else its newest event of an unknown type."""
    orders = Orders(engine).pay()
    for kind, age in (("?A", HOUR), ("?B", HOUR / 2)):
        orders.event(kind, retries=5, error="e", age=age)
    (group,) = groups()
    assert (group.sample_id, group.unknown, group.event_types) == (orders.events[1], 2, ("?A", "?B"))
    orders.event(retries=5, error="e", age=2 * HOUR)
    (group,) = groups()
    assert (group.sample_id, group.unknown, group.count) == (orders.events[2], 2, 3)


def test_groups_of_one_size_are_sorted_by_their_id(engine, groups):
    """Groups with the same number of events are sorted by their ids, and a limit keeps the first groups."""
    orders = Orders(engine).pay()
    for error in ("a", "b", "c"):
        orders.event(retries=5, error=error)
    assert [group.group for group in groups()] == ["0cc175b9", "4a8a08f0", "92eb5ffe"]
    assert [group.pattern for group in groups(limit=2)] == ["a", "c"]


def test_events_that_failed_without_an_error_are_a_group(engine, groups):
    """Events that failed without an error text form one group, whose pattern is empty."""
    orders = Orders(engine).pay().event(retries=1)
    (group,) = groups()
    assert (group.pattern, group.sample, group.sample_id) == ("", None, orders.events[0])


@pytest.fixture
def blocks(engine):
    """Return a function that returns the number of payments that each group blocks, by pattern."""

    def run():
        with engine.connect() as connection:
            found = error_groups.groups(connection, Selector(), 5, 10)
            found = error_groups.with_blocked(connection, found, Selector(), 5)
            connection.commit()
            assert connection.exec_driver_sql("SHOW enable_nestloop").scalar_one() == "on"
        return {group.pattern: group.blocks for group in found}

    return run


def test_a_group_blocks_each_payment_with_a_later_pending_event_once(engine, blocks):
    """A group blocks a payment if one of the group's dead events comes before a pending event of the payment."""
    minutes = [number * HOUR / 60 for number in range(10)]
    twice = Orders(engine).pay().event(retries=5, error="e", age=minutes[9]).event(retries=5, error="e", age=minutes[8])
    twice.event(age=minutes[1])
    Orders(engine).pay().event(retries=5, error="e", age=minutes[5]).event(age=minutes[4])
    before = Orders(engine).pay().event(age=minutes[7]).event(retries=5, error="f", age=minutes[6])
    before.event(state="published", age=minutes[2])
    Orders(engine).pay().event(retries=4, error="g", age=minutes[7]).event(age=minutes[1])
    assert blocks() == {"e": 2, "f": 0, "g": 0}


def test_of_one_instant_a_dead_event_blocks_only_the_greater_id(engine, execute, blocks):
    """If events were created at the same time, a dead event blocks its payment's events with a higher id."""
    for first, second in (("a", "b"), ("d", "c")):
        Orders(engine).pay().event(id=first, retries=5, error=first).event(id=second)
    execute('UPDATE outbox SET "createdAt" = (SELECT min("createdAt") FROM outbox)')
    assert blocks() == {"a": 1, "d": 0}


def test_without_the_payments_no_event_of_a_group_is_superseded(engine, groups):
    """If the role is not allowed to read the payments, no event counts as superseded.

    A group shows its newest event.
    """
    orders = Orders(engine).pay("COMPLETED").event("FAILED", retries=5, error="e", age=HOUR)
    orders.event(retries=5, error="e", age=2 * HOUR)
    (group,) = groups(with_payments=False)
    assert (group.count, group.superseded, group.blocking, group.closed) == (2, 0, 0, 0)
    assert group.sample_id == orders.events[0]


@pytest.mark.parametrize("readable", [True, False])
def test_no_event_can_be_closed_if_the_closings_cannot_be_read(engine, groups, readable):
    """A group names an event to close only if the role can read the list of closed events."""
    with engine.begin() as connection:
        insert_events(connection, 1, event_type="PAYMENT_FAILED", state="dead", age=HOUR)
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
    found = groups(with_closings=readable)
    with engine.connect() as connection:
        rights = Rights(payments=True, closings=readable)
        (group,) = error_groups.with_harmless(connection, found, Selector(), 5, rights)
    assert (group.superseded, group.to_close) == (1, group.sample_id if readable else None)
