"""Test the groups of waiting events, and the sessions that are reported as holding a lock."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import timedelta

import psycopg2
import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.domain.causes import Holder, Reason
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.inspect import evidence
from ticketbottle_payctl.store.outbox import shard_lock, stats

pytestmark = pytest.mark.postgres
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.fixture
def waiting(engine):
    """Return a function that returns the groups of waiting events. An event is dead after 20 retries."""

    def look():
        with transaction(engine, Limits(jit=False), commit=False) as connection:
            recent = stats.recent(connection, 3600)
            found = stats.unpublished(connection, 20, late_after_s=300, seen=recent)
            return evidence.evidence(connection, 20, found, recent).waiting

    return look


@pytest.fixture
def order(engine):
    """Return a function that inserts a payment and returns a writer of its rows."""
    return lambda: Orders(engine).pay("COMPLETED")


def seen(groups):
    """Return each group's reason, oldest event and numbers of events."""
    return [(each.reason, each.id, each.events, each.failed) for each in groups]


def test_events_that_have_not_failed_are_ready(order, waiting):
    """Events of one payment are ready if none of them has failed, even if an earlier event is still pending."""
    orders = order().event(age=20 * SECOND).event(age=10 * SECOND)
    (group,) = waiting()
    assert seen([group]) == [(Reason.READY, orders.events[0], 2, 0)]
    assert (group.blocker, group.error, group.order_code) == (None, None, orders.payment.order_code)


def test_only_events_after_a_failed_event_of_their_payment_are_behind_it(order, waiting):
    """An event is failing if it has used up a retry. Later events of its payment wait behind it.

    Other events are ready.
    """
    early = order().event(age=50 * SECOND)
    failing = early.event(age=40 * SECOND, retries=1, error="no").event("CANCELLED", age=30 * SECOND).events[1:]
    order().event(age=45 * SECOND)
    ready, failed, behind = waiting()
    assert seen([ready]) == [(Reason.READY, early.events[0], 2, 0)]
    reasons = (Reason.FAILING, Reason.BEHIND_FAILING)
    assert seen([failed, behind]) == [(reason, name, 1, 1) for reason, name in zip(reasons, failing, strict=True)]
    assert (failed.blocker, failed.error) == (None, "no")
    assert (behind.blocker, behind.blocker_type, behind.error) == (failing[0], "PAYMENT_COMPLETED", "no")


def test_an_attempt_without_an_answer_is_seen_unless_a_replay_came_after_it(order, waiting, execute):
    """An event with an error but no used retry counts as unanswered, unless a replay reset its retry count."""
    tried = order().event(age=50 * SECOND, error="_MSG_TIMED_OUT: no")
    replayed = order().event("FAILED", age=40 * SECOND, error="INVALID_REQUEST: no")
    execute(f"""INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome)
        VALUES (gen_random_uuid(), 0, 0, '{replayed.events[0]}', 'requeued')""")  # noqa: S608
    found = waiting()
    assert seen(found) == [(Reason.UNANSWERED, tried.events[0], 1, 0), (Reason.READY, replayed.events[0], 1, 0)]
    assert found[0].error == "_MSG_TIMED_OUT: no"


def test_an_event_waits_behind_the_first_dead_event_of_its_payment(order, waiting):
    """A blocked event names the first dead event of its payment, and that event's error."""
    orders = order()
    orders.event("FAILED", age=9 * SECOND, retries=20, error="first")
    orders.event("CANCELLED", age=8 * SECOND, retries=21, error="second")
    orders.event(retries=3, error="own", age=7 * SECOND)
    other = order().event(age=60 * SECOND)
    order().event(age=50 * SECOND).event("FAILED", retries=20, error="later", age=40 * SECOND)
    ready, blocked = waiting()
    assert seen([blocked]) == [(Reason.BLOCKED, orders.events[2], 1, 1)]
    assert (blocked.blocker, blocked.blocker_type, blocked.error) == (orders.events[0], "PAYMENT_FAILED", "first")
    assert seen([ready]) == [(Reason.READY, other.events[0], 2, 0)]


def test_events_of_one_instant_wait_in_the_order_of_their_ids(order, waiting, execute):
    """If two events have the same time, the event with the higher id waits behind the other event."""
    for orders, (first, second) in ((order(), (20, 0)), (order(), (0, 20))):
        name = orders.payment.id[:8]
        orders.event(id=f"{name}-a", retries=first).event(id=f"{name}-b", retries=second)
    execute('UPDATE outbox SET "createdAt" = (SELECT min("createdAt") FROM outbox)')
    found = {(each.reason, each.id[-2:], each.events) for each in waiting()}
    assert found == {(Reason.BLOCKED, "-b", 1), (Reason.READY, "-a", 1)}


def test_the_next_retry_of_a_group_is_the_soonest(order, waiting):
    """Events that wait for their retry form one group, which says when the next retry is due."""
    late = order().event(age=9 * SECOND, retries=9, error="late")
    order().event(age=8 * SECOND, retries=6, error="soon")
    (group,) = waiting()
    assert seen([group]) == [(Reason.NOT_DUE, late.events[0], 2, 2)]
    assert (group.error, 0 < group.due_in_s <= 152) == ("late", True)
    assert group.order_code == late.payment.order_code


def test_overdue_events_and_newer_ones_are_two_groups(order, waiting):
    """Ready events that are older than two minutes form their own group, which comes first."""
    new, old = order().event(age=MINUTE), order().event(age=3 * MINUTE)
    assert seen(waiting()) == [(Reason.READY, each.events[0], 1, 0) for each in (old, new)]
    assert [group.oldest_s >= 180 for group in waiting()] == [True, False]


def test_the_later_events_of_a_requeued_payment_count_as_requeued(order, waiting, execute):
    """If a replay requeued an event, the later events of its payment count as requeued.

    Other events do not count as requeued.
    """
    orders = order().event("FAILED", age=5 * MINUTE).event(age=4 * MINUTE).event("CANCELLED", age=MINUTE)
    order().event("REFUNDED", age=6 * MINUTE)
    before = order().event("EXPIRED", age=7 * MINUTE).event("VOIDED", age=MINUTE)
    for name in (orders.events[0], before.events[1]):
        execute(f"""INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome)
            VALUES (gen_random_uuid(), 0, 0, '{name}', 'requeued')""")  # noqa: S608
    found = {each.event_type.removeprefix("PAYMENT_"): each.requeued_s is not None for each in waiting()}
    assert found == {
        "FAILED": True, "COMPLETED": True, "CANCELLED": True, "REFUNDED": False, "EXPIRED": False, "VOIDED": True,
    }  # fmt: skip


def test_a_session_that_has_locked_an_event_is_named_unless_it_publishes(engine, order, waiting):
    """A session that holds an event's lock is reported. A publisher also holds its shard's lock and is not reported."""
    orders = order().event(age=MINUTE)
    with engine.connect() as other:
        other.exec_driver_sql("SELECT txid_current()")
        with engine.connect() as holder:
            holder.exec_driver_sql("SELECT id FROM outbox FOR UPDATE")
            pid = holder.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            (locked,) = waiting()
            shard_lock.enter(holder, 0, 1, 0, "us")
            (held,) = waiting()
    assert (locked.reason, locked.holder.pid, locked.holder.application) == (Reason.LOCKED, pid, "payctl")
    assert (locked.holder.state, locked.holder.user) == ("idle in transaction", "postgres")
    assert seen([held]) == [(Reason.READY, orders.events[0], 1, 0)]


def test_a_table_lock_in_another_database_is_not_named(engine, postgres, clones, template_database):
    """A lock on the whole outbox is reported, but not a lock on the outbox of another database on the server."""
    name = clones.create(template_database)
    other = psycopg2.connect(postgres.url(name))
    with closing(other), other.cursor() as cursor, engine.connect() as reader, ExitStack() as opened:
        cursor.execute("LOCK TABLE outbox IN SHARE MODE")
        assert evidence.table_locks(reader) == []
        holders = [opened.enter_context(engine.connect()) for _ in range(3)]
        for holder, table in zip(holders, ("payments", "outbox", "outbox"), strict=True):
            holder.exec_driver_sql(f"LOCK TABLE {table} IN SHARE MODE")
        pids = [each.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() for each in holders]
        assert [each.pid for each in evidence.table_locks(reader)] == sorted(pids[1:])
    clones.drop(name)


def test_a_lock_without_a_visible_session_is_reported(engine, execute, order):
    """A lock is reported even if PostgreSQL shows no session for it, because a prepared transaction has none."""
    order().event(age=MINUTE)
    execute("CREATE VIEW public.pg_stat_activity AS SELECT * FROM pg_catalog.pg_stat_activity WHERE false")
    with engine.connect() as holder, transaction(engine, Limits(jit=False), commit=False) as reader:
        holder.exec_driver_sql("LOCK TABLE outbox IN EXCLUSIVE MODE; SELECT id FROM outbox FOR UPDATE")
        pid = holder.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        reader.exec_driver_sql("SET search_path = public, pg_catalog")  # by default, pg_catalog is first
        recent = stats.recent(reader, 3600)
        found = evidence.evidence(reader, 20, stats.unpublished(reader, 20, late_after_s=300, seen=recent), recent)
    unseen = Holder(pid, None, None, None, None)
    assert ([each.holder for each in found.waiting], found.table_locks) == ([unseen], [unseen])


def test_an_ordinary_writer_does_not_lock_the_table(engine, order):
    """A session that writes an event takes a lock that does not conflict with publishing, so it is not reported."""
    order().event()
    with engine.connect() as writer, engine.connect() as reader:
        writer.exec_driver_sql("UPDATE outbox SET id = id")
        assert evidence.table_locks(reader) == []
