"""Test that rows with the same time are sorted by the code points of their ids, whatever the column's collation is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.domain.causes import Reason
from ticketbottle_payctl.domain.event import START
from ticketbottle_payctl.store.db.pages import PagePosition
from ticketbottle_payctl.store.inspect import evidence
from ticketbottle_payctl.store.outbox import cdc, claim, dead, half_marked, held, replay, retention, stats
from ticketbottle_payctl.store.outbox.claim import Claim
from ticketbottle_payctl.store.outbox.error_groups import groups
from ticketbottle_payctl.store.outbox.held import Barrier
from ticketbottle_payctl.store.outbox.list_events import list_events
from ticketbottle_payctl.store.outbox.retention import Expired
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.outbox.unsent_successes import unsent_successes
from ticketbottle_payctl.store.payments.history import find
from ticketbottle_payctl.store.payments.list_payments import PaymentSelector, list_payments
from ticketbottle_payctl.store.payments.open_orders import no_event

pytestmark = pytest.mark.postgres
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
AT = NOON.replace(tzinfo=None)
ALL = Claim(after=START, limit=9, max_retries=5)


@pytest.fixture(params=["C", "en-x-icu"])
def collated(request, engine, execute):
    """Give the ids a collation. The English collation sorts a lower-case letter before its upper-case letter."""
    if not execute(f"SELECT 1 FROM pg_collation WHERE collname = '{request.param}'"):  # noqa: S608
        pytest.skip(f"this PostgreSQL has no collation {request.param}; the system's PostgreSQL in CI has it")
    for table in ("outbox", "payments"):
        execute(f'ALTER TABLE {table} ALTER id TYPE text COLLATE "{request.param}"')
    return engine


@pytest.fixture
def events(collated, execute):
    """Return a function that inserts the events a, B and C of one payment, all created at noon."""

    def insert(kind="COMPLETED", status="COMPLETED", **more):
        orders = Orders(collated).pay(status)
        for name in ("a", "C", "B"):
            orders.event(kind, id=name, **more)
        for table in ("outbox", "payments"):
            execute(f"""UPDATE {table} SET "createdAt" = '2026-11-29 12:00'""")  # noqa: S608
        return orders

    return insert


@pytest.fixture
def connection(collated):
    """Yield a connection whose transaction is rolled back after the test."""
    with collated.connect() as connection:
        yield connection


def test_pending_events_are_claimed_in_the_order_of_code_points(events, connection):
    """A claim takes the events with the lowest ids first, and the next claim begins after them."""
    events()
    assert stats.unpublished(connection, 5, late_after_s=1).oldest_pending_id == "B"
    assert claim.end_of_next(connection, Claim(START, 2, 5), "NULL") in {None, (AT, "C")}
    assert [each.id for each in claim.claim(connection, Claim(START, 2, 5)).events] == ["B", "C"]
    connection.rollback()
    assert [each.id for each in claim.claim(connection, Claim((AT, "B"), 9, 5)).events] == ["C", "a"]
    connection.rollback()
    assert [each.id for each in claim.claim(connection, Claim(START, 2, 5, end=(AT, "C"))).events] == ["B", "C"]
    connection.rollback()
    assert {each[1][1] for each in claim.locked_by_others(connection, ALL, (AT, "a"))} == {"B", "C"}


def test_events_are_listed_in_the_order_of_code_points(events, connection):
    """A list has the highest id first, and each page begins after the last row of the previous page."""
    orders = events()
    listed = [list_events(connection, 2, page, selector=Selector(), max_retries=5) for page in (
        None, PagePosition(NOON, "C"), PagePosition(NOON, "a")
    )]  # fmt: skip
    assert [[each.values[0] for each in page] for page in listed] == [["a", "C"], ["B"], ["C", "B"]]
    assert [each.row.id for each in replay.candidates(connection, Selector(), 5)] == ["B", "C", "a"]
    assert [each.row.id for each in replay.candidates(connection, Selector(limit=2), 5)] == ["B", "C"]
    assert [each.id for each in find(connection, orders.payment.id, 5).events] == ["B", "C", "a"]


def test_pending_and_published_events_are_listed_in_the_order_of_code_points(events, connection, execute):
    """A page has the highest id of all events first, whether they are published or not."""
    events()
    execute("UPDATE outbox SET published = true WHERE id = 'C'")
    for limit in (1, 2):
        found = list_events(connection, limit, None, selector=Selector(), max_retries=5)
        assert [each.values[0] for each in found] == ["a", "C"][:limit]


def test_events_are_held_by_the_barrier_with_the_least_code_point(events, connection):
    """If two barriers have the same time, the barrier with the lower id blocks the later events."""
    key = events().payment.id
    barriers = [Barrier(key, (AT, name), itself=True) for name in ("a", "C", "B")]
    assert [(each.barrier, each.events) for each in held.held(connection, barriers, [], [], 5)] == [(2, 3)]
    stopped = held.held(connection, [], ["PAYMENT_COMPLETED"], [], 5)
    assert [(each.event_type, each.events) for each in stopped] == [("PAYMENT_COMPLETED", 3)]


def test_dead_events_are_named_in_the_order_of_code_points(events, connection):
    """Dead events are listed with the lowest id first. An error group shows the event with the highest id."""
    events(retries=5, error="e")
    assert [each.id for each in unsent_successes(connection, 5, []).oldest] == ["B", "C", "a"]
    assert [each.position[1] for each in claim.failed(connection, shard=0, shards=1, limit=2)] == ["B", "C"]
    assert [each.sample_id for each in groups(connection, Selector(), 5, 9)] == ["a"]


def test_superseded_events_are_named_in_the_order_of_code_points(events, connection):
    """Superseded dead events are listed with the lowest id first."""
    events("FAILED", retries=5)
    assert dead.superseded(connection, 5, dead.Rights(payments=True, closings=False)).ids == ("B", "C", "a")
    assert [each.id for each in replay.superseded_among(connection, ["a", "B", "C"])] == ["B", "C", "a"]


@pytest.mark.parametrize(("waits", "blocking"), [("B", 0), ("C", 1), ("a", 2)])
def test_superseded_events_block_in_the_order_of_code_points(events, connection, waits, blocking):
    """If events have the same time, only a dead event with a lower id blocks a pending event."""
    events("FAILED", retries=5)
    connection.exec_driver_sql('UPDATE outbox SET "retryCount" = 0 WHERE id = %s', (waits,))
    found = dead.superseded(connection, 5, dead.Rights(payments=True, closings=False))
    assert (found.events, found.blocking) == (2, blocking)


def test_expired_events_are_deleted_in_the_order_of_code_points(events, connection):
    """A cleanup deletes the events with the lowest ids first, and the next batch begins after them."""
    events(state="published", age=timedelta(days=9))
    first = retention.delete_next(connection, Expired(datetime.now(UTC)), START, 2, whole=True)
    assert (first.last, [line.partition('"id":"')[2][0] for line in first.lines]) == ((AT, "C"), ["B", "C"])
    connection.rollback()
    for after, limit, last in (("B", 1, "C"), ("B", 9, "a")):
        found = retention.delete_next(connection, Expired(datetime.now(UTC)), (AT, after), limit, whole=True)
        assert found.last == (AT, last)
        connection.rollback()


def test_half_marked_events_are_repaired_in_the_order_of_code_points(events, connection, execute):
    """A repair marks the events with the lowest ids first, and records them in this order."""
    events(state="published")
    execute("UPDATE outbox SET published = false")
    run = str(UUID(int=1))
    for limit, last, names in ((2, "C", ["B", "C"]), (9, "a", ["B", "C", "a"])):
        first = half_marked.repair(connection, run, 0, limit, datetime.now(UTC), None)
        rows = connection.exec_driver_sql("SELECT item_id FROM payctl.run_items ORDER BY place").scalars().all()
        assert (first, rows) == ((len(names), (AT, last)), names)
        connection.rollback()
    for limit, last in ((1, "C"), (2, "a")):
        assert half_marked.repair(connection, run, 0, limit, datetime.now(UTC), (AT, "B")) == (limit, (AT, last))
        connection.rollback()


def test_payments_are_listed_in_the_order_of_code_points(collated, connection, execute):
    """A list of payments has the highest id first."""
    for name in ("a", "C", "B"):
        Orders(collated).pay(id=name)
    execute("""UPDATE payments SET "createdAt" = '2026-11-29 12:00'""")
    for page, expected in ((None, ["a", "C", "B"]), (PagePosition(NOON, "C"), ["B"])):
        found = list_payments(connection, 9, page, selector=PaymentSelector())
        assert [each.values[0] for each in found] == expected


@pytest.mark.usefixtures("logical")
def test_a_new_slot_returns_the_events_in_the_order_of_code_points(events, collated, execute):
    """A cut-over sends the events with the lowest ids first."""
    events()
    found = cdc.make_slot(collated, "public.outbox", 5, limit=2, patience=timedelta(minutes=1))
    execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    assert [each.id for each in found] == ["B", "C"]


@pytest.mark.parametrize(
    ("retries", "other", "reason"), [(5, "FAILED", Reason.BLOCKED), (1, "CANCELLED", Reason.BEHIND_FAILING)]
)
def test_waiting_events_are_grouped_in_the_order_of_code_points(collated, connection, execute, retries, other, reason):
    """A group of waiting events names its lowest id, and the lowest id among the events that block it."""
    codes = {}
    for name in ("a", "C", "B"):
        orders = Orders(collated).pay("COMPLETED")
        for first in (f"0{name}x", f"0{name}X"):
            orders.event("FAILED" if name == "B" else other, id=first, retries=retries, error=f"error of {first}")
        codes[name] = orders.event(id=name).payment.order_code
    execute("""
        UPDATE outbox SET "createdAt" = (SELECT min("createdAt") FROM outbox);
        INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome)
            VALUES (gen_random_uuid(), 0, 0, 'B', 'requeued')
    """)
    connection.exec_driver_sql("SET LOCAL jit = off")  # payctl's commands also turn JIT off
    recent = stats.recent(connection, 3600)
    found = evidence.evidence(connection, 5, stats.unpublished(connection, 5, late_after_s=300, seen=recent), recent)
    (group,) = (each for each in found.waiting if each.event_type == "PAYMENT_COMPLETED")
    assert (group.reason, group.events, group.id, group.order_code) == (reason, 3, "B", codes["B"])
    assert (group.blocker, group.blocker_type, group.error) == ("0BX", "PAYMENT_FAILED", "error of 0BX")
    assert group.requeued_s is not None


def test_an_unknown_type_is_named_in_the_order_of_code_points(collated, connection, execute):
    """If events of an unknown type have the same time, the one with the lowest id is named."""
    orders = Orders(collated).pay("COMPLETED")
    for name in ("a", "C", "B"):
        orders.event(f"?{name}", id=name)
    execute("""UPDATE outbox SET "createdAt" = '2026-11-29 12:00'""")
    now = datetime.now(UTC)
    assert [each.why for each in no_event(connection, now - timedelta(days=1), now).oldest] == ["?B"]
