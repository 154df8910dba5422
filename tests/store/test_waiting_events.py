"""Test the events that wait behind another event of the same payment, and the dead events that a person must check."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.domain.event import START
from ticketbottle_payctl.store.outbox import blocked, cdc, dead, error_groups, half_marked, held
from ticketbottle_payctl.store.outbox.claim import Claim, failed, preview, release, waiting_of_other_types
from ticketbottle_payctl.store.outbox.claim import Released as Release
from ticketbottle_payctl.store.outbox.held import Barrier
from ticketbottle_payctl.store.outbox.oldest_pending import oldest_pending
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.outbox.unsent_successes import unsent_successes

pytestmark = pytest.mark.postgres
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
_CLOSED = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, reason)
    VALUES (gen_random_uuid(), 0, 0, %s, %s, 'superseded')"""


@pytest.fixture
def order(engine):
    """Return a function that inserts a payment and returns a writer of its rows."""
    return lambda status="COMPLETED": Orders(engine).pay(status)


@pytest.fixture
def close(engine):
    """Return a function that records that a person has closed an event."""

    def run(name, outcome="closed"):
        with engine.begin() as connection:
            connection.exec_driver_sql(_CLOSED, (name, outcome))

    return run


@pytest.fixture
def same_instant(execute):
    """Return a function that gives all events the same creation time."""
    return lambda: execute('UPDATE outbox SET "createdAt" = (SELECT min("createdAt") FROM outbox)')


def pending(rows):
    """Return the pending events among the given outbox rows."""
    return [blocked.Pending(row.id, row.aggregateId, row.createdAt) for row in rows]


def test_only_events_behind_a_dead_event_of_their_payment_are_blocked(order, reader):
    """A pending event is blocked if a dead event of its payment was created earlier. Each blocked event counts once."""
    behind = order().event(age=9 * MINUTE, retries=5).event(age=8 * MINUTE, retries=6).event(age=5 * MINUTE, retries=4)
    before = order().event(age=7 * MINUTE).event(age=6 * MINUTE, retries=5)
    order().event(age=3 * MINUTE).event(age=4 * MINUTE, state="published", retries=5)
    rows = reader.exec_driver_sql('SELECT * FROM outbox WHERE "retryCount" < 5').all()
    assert cdc.waiting_behind_dead(reader, 5) == 1
    assert 420 <= blocked.oldest_to_send(reader, 5).age_s < 480
    assert 420 <= oldest_pending(reader, 5) < 480
    assert blocked.blocked_among(reader, pending(rows), 5) == {behind.events[2]}
    assert before.events[0] in {row.id for row in rows}


def test_a_blocked_event_is_not_the_oldest_to_send(order, reader):
    """The oldest event to send is not blocked. If every pending event is blocked, no event can be sent."""
    order().event(age=9 * MINUTE, retries=5).event(age=8 * MINUTE)
    assert (blocked.oldest_to_send(reader, 5), oldest_pending(reader, 5) is None) == (None, False)
    reader.rollback()
    order().event(age=3 * MINUTE).event(age=2 * MINUTE)
    assert 180 <= blocked.oldest_to_send(reader, 5).age_s < 240


def test_an_empty_outbox_has_no_oldest_event(reader):
    """An outbox without pending events has no oldest pending event."""
    assert (blocked.oldest_to_send(reader, 5), oldest_pending(reader, 5)) == (None, None)


def test_of_one_instant_only_the_greater_id_is_blocked(order, reader, same_instant):
    """If events have the same time, a dead event blocks its payment's events with a higher id."""
    order().event(id="b", retries=5).event(id="a").event(id="c")
    same_instant()
    rows = reader.exec_driver_sql('SELECT * FROM outbox WHERE "retryCount" < 5').all()
    assert cdc.waiting_behind_dead(reader, 5) == 1
    assert blocked.blocked_among(reader, pending(rows), 5) == {"c"}
    found = dead.find(reader, "b", 5)
    assert (found.blocks, found.state, found.why_needless) == (True, "dead", None)


def test_an_event_blocks_if_a_pending_event_of_its_payment_is_behind_it(order, reader):
    """A named event blocks its payment if a pending event comes later. Later dead and sent events do not count."""
    first = order().event("FAILED", age=9 * MINUTE, retries=5, error="no").event(age=8 * MINUTE, retries=5)
    last = first.event(age=HOUR).event(age=MINUTE, state="published")
    order("PENDING").event(age=MINUTE)
    found = [dead.find(reader, name, 5) for name in last.events]
    assert [(each.state, each.why_needless, each.blocks, each.error) for each in found] == [
        ("dead", "superseded", False, "no"),
        ("dead", "repeated", False, None),
        ("pending", None, False, None),
        ("published", None, False, None),
    ]
    first.event(age=2 * MINUTE)
    reader.rollback()
    assert [dead.find(reader, name, 5).blocks for name in last.events] == [True, True, True, False, False]
    assert {each.order_code for each in found} == {first.payment.order_code}
    assert dead.find(reader, "another", 5) is None


def test_a_closed_event_counts_as_closed_while_no_event_waits_behind_it(order, reader, close):
    """A closed superseded dead event counts as closed, unless a pending event of its payment waits behind it."""
    orders = order().event(age=HOUR).event("FAILED", age=9 * MINUTE, retries=5)
    name = orders.events[1]
    assert (dead.count(reader, 5), dead.closed_among(reader, [name], 5)) == ((1, 1, 0, True), set())
    close(name, "skipped")
    close(orders.events[0])
    assert dead.count(reader, 5) == (1, 1, 0, True)
    close(name)
    order().event(age=MINUTE)
    found = dead.superseded(reader, 5)
    assert (dead.count(reader, 5), dead.closed_among(reader, [name], 5)) == ((1, 1, 1, True), {name})
    assert (found.events, found.closed, found.ids, dead.find(reader, name, 5).closed) == (1, 1, (), True)
    orders.event(age=MINUTE)
    found = dead.superseded(reader, 5)
    assert (dead.count(reader, 5), dead.closed_among(reader, [name], 5)) == ((1, 1, 0, True), set())
    assert (found.events, found.blocking, found.closed, found.ids) == (1, 1, 0, ())
    assert not dead.find(reader, name, 5).closed


def test_a_superseded_event_blocks_only_the_later_events_of_its_own_payment(order, reader, same_instant):
    """A superseded dead event blocks if a pending event of its payment comes later. Other payments do not matter."""
    order().event("FAILED", id="twice", retries=5).event("CANCELLED", id="blocks", retries=5).event(id="behind")
    order().event(id="ahead").event("FAILED", id="b alone", retries=5)
    order().event("FAILED", id="a alone", retries=5).event(id="sent", state="published")
    order().event(id="z", retries=5)
    order("FAILED").event("FAILED", id="needed", retries=5).event(id="zz")
    same_instant()
    reader.rollback()
    reader.exec_driver_sql("UPDATE outbox SET \"createdAt\" = \"createdAt\" + interval '1 s' WHERE id = 'behind'")
    found = dead.superseded(reader, 5)
    assert (found.events, found.blocking, found.closed, found.ids) == (4, 2, 0, ("a alone", "b alone"))
    assert cdc.waiting_behind_dead(reader, 5) == 2
    assert sum(group.blocking for group in error_groups.groups(reader, Selector(), 5, 9)) == 2


def test_a_closed_event_counts_as_closed_only_if_it_is_superseded_and_dead(order, reader, close):
    """A closed event does not count as closed if it is pending, or if its payment is not COMPLETED."""
    needed = order("FAILED").event("FAILED", retries=5)
    unsent = order().event("CANCELLED", retries=4)
    success = order().event(retries=4)
    names = [*needed.events, *unsent.events, *success.events]
    for name in names:
        close(name)
    assert (dead.count(reader, 5), dead.closed_among(reader, names, 5)) == ((1, 1, 0, True), set())
    assert dead.superseded(reader, 5) == (0, 0, 0, (), (), 0, (), ())


def test_the_oldest_five_superseded_events_are_named(order, reader):
    """The five oldest superseded dead events are listed with their orders, and all such events are counted."""
    orders = [order().event("FAILED", age=number * MINUTE, retries=5) for number in range(1, 7)]
    found = dead.superseded(reader, 5)
    assert (found.events, found.closed) == (6, 0)
    assert found.ids == tuple(each.events[0] for each in orders[:0:-1])
    assert list(found.orders) == [each.payment.order_code for each in orders[:0:-1]]


def test_the_oldest_three_dead_successes_are_named(order, reader):
    """Dead events that report no failure are counted, except excluded ones, and the three oldest are listed."""
    orders = [order().event(age=number * MINUTE, retries=5) for number in range(1, 6)]
    order().event("FAILED", retries=5).event(retries=4)
    found = unsent_successes(reader, 5, orders[4].events)
    assert (found.events, [each.id for each in found.oldest]) == (4, [each.events[0] for each in orders[3:0:-1]])
    assert found.oldest[0].order_code == orders[3].payment.order_code
    assert unsent_successes(reader, 5, [each.events[0] for each in orders]).events == 0


def test_failed_events_of_a_shard_are_those_that_wait_for_a_retry_or_are_dead(order, reader, same_instant):
    """Unpublished events that have failed are returned in order.

    Sent events and events that never failed are not returned.
    """
    orders = order().event(id="c", retries=1).event(id="a", retries=9).event(id="b", retries=0)
    orders.event(id="d", state="published", retries=3)
    same_instant()
    orders.event(id="0", retries=2)
    assert [(each.position[1], each.retry_count) for each in failed(reader, shard=0, shards=1, limit=9)] == [
        ("a", 9), ("c", 1), ("0", 2)
    ]  # fmt: skip
    assert [each.position[1] for each in failed(reader, shard=0, shards=1, limit=1)] == ["a"]


def test_events_of_other_types_matter_only_for_payments_with_a_wanted_event(order, reader):
    """A pending event of a different type is returned if its payment has a pending event of a wanted type."""
    both = order().event("FAILED", retries=2).event()
    order().event("FAILED")
    order().event("FAILED").event(state="published").event(retries=5)
    order().event()
    found = waiting_of_other_types(reader, ["PAYMENT_COMPLETED"], 5)
    assert [(each.aggregate_id, each.position[1], each.retry_count) for each in found] == [
        (both.payment.id, both.events[0], 2)
    ]


def test_a_preview_counts_the_events_by_type(order, reader):
    """A preview counts the pending events of each type, sorted by type, with the time of the oldest event."""
    order().event(age=HOUR).event(age=MINUTE).event("CANCELLED", age=MINUTE).event("CANCELLED", retries=5)
    found = preview(reader, Claim(after=START, limit=1, max_retries=5))
    assert [(each.event_type, each.events) for each in found] == [("PAYMENT_CANCELLED", 1), ("PAYMENT_COMPLETED", 2)]
    assert found[0].oldest - found[1].oldest > timedelta(minutes=59)


def test_a_released_event_keeps_its_error_if_it_has_no_new_one(order, engine):
    """A released event is pending again with its new retry count.

    Without a new error, the event keeps its old error.
    """
    first, second, other = (order().event(state="published", error="old").events[0] for _ in range(3))
    with engine.begin() as connection:
        release(connection, [Release(first, 1, None), Release(second, 2, "new")])
        rows = connection.exec_driver_sql("SELECT * FROM outbox").all()
    assert {(row.id, row.published, row.publishedAt is None, row.retryCount, row.lastError) for row in rows} == {
        (first, False, True, 1, "old"), (second, False, True, 2, "new"), (other, True, False, 0, "old")
    }  # fmt: skip


def barrier(row, *, itself=False):
    """Return a barrier at an event's position."""
    return Barrier(row.aggregateId, (row.createdAt, row.id), itself)


def test_an_event_is_held_by_the_first_barrier_of_its_payment(order, reader):
    """Each pending event counts once, under the earliest barrier of its payment. A barrier may hold its own event."""
    for _ in range(2):
        order().event(age=9 * MINUTE).event("FAILED", age=8 * MINUTE).event(age=7 * MINUTE).event(age=MINUTE, retries=5)
    rows = reader.exec_driver_sql('SELECT * FROM outbox ORDER BY "createdAt"').all()
    one = [row for row in rows if row.aggregateId == rows[0].aggregateId]
    other = [row for row in rows if row.aggregateId != rows[0].aggregateId]
    barriers = [barrier(one[1]), barrier(one[0]), barrier(other[1], itself=True)]
    both, one_type = {"PAYMENT_COMPLETED": 1, "PAYMENT_FAILED": 1}, {"PAYMENT_COMPLETED": 1}
    assert sorted(held.held(reader, barriers, [], [], 5)) == [(1, None, both), (2, None, both)]
    found = held.held(reader, barriers, [], ["PAYMENT_COMPLETED"], 5)
    assert sorted(found) == [(1, None, one_type), (2, None, one_type)]
    stopped = held.held(reader, barriers[1:2], ["PAYMENT_FAILED"], [], 5)
    assert sorted(stopped, key=lambda each: each.barrier is None) == [(0, None, both), (None, "PAYMENT_FAILED", both)]
    assert [each.events for each in stopped] == [2, 2]
    assert held.held(reader, [], [], [], 5) == []


def test_half_marked_events_are_counted_with_their_bounds(order, reader):
    """Half-marked events are counted, with their first and last creation times and their last publishing time."""
    assert half_marked.count(reader) == (0, None, None, None)
    orders = order().event(state="published", age=3 * HOUR).event(state="published", age=2 * HOUR)
    orders.event(state="published", age=HOUR).event(age=4 * HOUR)
    reader.exec_driver_sql("UPDATE outbox SET published = false WHERE id <> %s", (orders.events[2],))
    found = half_marked.count(reader)
    assert found.events == 2
    assert found.newest - found.oldest > timedelta(minutes=59)
    assert found.sent_until == found.newest
