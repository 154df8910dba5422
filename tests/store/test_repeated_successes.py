"""Test which dead success events repeat a success that was sent, and how many rows the search reads."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.plans import plans_of
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.outbox import dead, error_groups, paid_orders, repeated
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.outbox.unsent_successes import unsent_successes
from ticketbottle_payctl.store.payments.open_orders import unpublished

pytestmark = pytest.mark.postgres
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NO_CLOSINGS = dead.Rights(payments=True, closings=False)
_ITEM = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, reason, before)
    VALUES (gen_random_uuid(), 0, 0, %s, %s, %s, %s)"""
_INDEX = "outbox_published_createdAt_idx"
TWO_SECONDS_APART = """UPDATE outbox SET "createdAt" = "createdAt" - place * interval '2 s' FROM (
    SELECT id AS name, row_number() OVER () AS place FROM outbox WHERE NOT published) AS each WHERE id = name"""
SENT = '{"published_at": "2026-11-29T11:00:00"}'


@pytest.fixture
def order(engine):
    """Return a function that inserts a COMPLETED payment and returns a writer of its rows."""
    return lambda: Orders(engine).pay("COMPLETED")


@pytest.fixture
def write(engine):
    """Return a function that executes one statement with its parameters."""

    def run(sql, parameters=()):
        with engine.begin() as connection:
            connection.exec_driver_sql(sql, parameters)

    return run


@pytest.fixture
def requeue(write):
    """Return a function that records that a replay has requeued an event. By default, the event had been sent."""
    return lambda name, before=SENT: write(_ITEM, (name, "requeued", None, before))


@pytest.fixture
def found(engine):
    """Return a function that returns what each screen counts.

    The first two counts are the harmless dead events in total and in the error groups. The third count is the events
    for which no customer waits. The last three are the waiting customers in `stats`, `publish-outbox` and `report`.
    """

    def run(rights=dead.ALL_RIGHTS):
        with engine.connect() as connection:
            all_harmless = dead.superseded(connection, 5, rights)
            groups = error_groups.groups(connection, Selector(), 5, 9, with_closings=rights.closings)
            waiting = (
                paid_orders.behind_dead(
                    connection, 5, all_harmless.repeats, all_harmless.sent, by_debezium=False
                ).paid_orders.number,
                unsent_successes(connection, 5, []).customers,
                unpublished(connection, 5).number,
            )
            harmless = all_harmless.events - all_harmless.blocking
            return harmless, sum(each.harmless for each in groups), dead.count(connection, 5).failures, waiting

    return run


def test_a_dead_success_is_harmless_if_another_one_of_its_payment_was_sent(order, found):
    """A dead success event is harmless if the payment's other success event was sent before or after it."""
    order().event(state="published", age=2 * MINUTE).event(state="dead", age=MINUTE)
    order().event(state="dead", age=4 * MINUTE).event(state="published", age=3 * MINUTE)
    order().event(state="dead", age=MINUTE).event("FAILED", "published").event("CANCELLED", "published")
    assert found() == (2, 2, 2, (1, 1, 1))


def test_an_event_that_the_replaced_service_marked_half_counts_as_sent(order, found, write):
    """If the payment's other success event has only ``"publishedAt"``, the dead event is harmless."""
    orders = order().event(state="published", age=2 * MINUTE).event(state="dead", age=MINUTE)
    write("UPDATE outbox SET published = false WHERE id = %s", (orders.events[0],))
    assert found() == (1, 1, 1, (0, 0, 0))


def test_two_payments_of_one_order_are_told_apart(order, found, write):
    """If a customer paid twice, the sent event of one payment says nothing about the other payment."""
    first, second = order().event(state="published"), order().event(state="dead")
    write("UPDATE outbox SET payload = jsonb_build_object('order_code', %s::text)", (first.payment.order_code,))
    assert second.payment.id != first.payment.id
    assert found() == (0, 0, 0, (1, 1, 1))


@pytest.mark.parametrize("before", [SENT, None])
def test_an_event_that_died_after_a_replay_is_not_harmless(order, found, requeue, before):
    """A dead success event keeps its customer waiting, even if it had been sent before a replay requeued it."""
    requeue(order().event(state="dead").events[0], before)
    assert found() == (0, 0, 0, (1, 1, 1))


def test_a_requeued_twin_does_not_count_as_sent(order, found, requeue):
    """If the payment's sent success was requeued, its customer may wait, and the dead event is not harmless."""
    ahead = order().event(age=9 * MINUTE).event(state="dead", age=8 * MINUTE)
    behind = order().event(state="dead", age=7 * MINUTE).event(age=6 * MINUTE)
    requeue(ahead.events[0])
    requeue(behind.events[1])
    assert found() == (0, 0, 0, (2, 2, 2))


def test_a_closed_event_says_nothing_about_the_other_events_of_its_payment(order, found, requeue, write):
    """If a payment's sent success was requeued, the customer may wait, and only its closed event is harmless."""
    closed = order().event(state="published", age=9 * MINUTE).event(state="dead", age=8 * MINUTE)
    write(_ITEM, (closed.events[1], "closed", "repeated", None))
    write('UPDATE outbox SET published = false, "publishedAt" = NULL, "retryCount" = 5')
    requeue(closed.events[0])
    assert found() == (1, 1, 1, (1, 1, 1))
    order().event(state="dead", age=9 * MINUTE).event(age=8 * MINUTE).event(state="published", age=7 * MINUTE)
    assert found()[3] == (1, 1, 1)


def test_an_event_of_an_unknown_type_that_was_closed_does_not_count_as_sent_after_its_type_was_corrected(
    order, found, write
):
    """A closing record of an event of an unknown type does not make the event a repeated success."""
    orders = order().event(state="dead")
    for reason in ("unknown_type", "unknown_type_failed", "unknown_type_completed"):
        write(_ITEM, (orders.events[0], "closed", reason, None))
    assert found() == (0, 0, 0, (1, 1, 1))
    assert found(NO_CLOSINGS) == (0, 0, 0, (1, 1, 1))


def test_a_closed_dead_success_counts_as_closed(order, engine, write):
    """A dead success that a person has closed stays closed and harmless after a cleanup has deleted the sent event."""
    closed, left = (order().event(state="published").event(state="dead") for _ in range(2))
    write(_ITEM, (closed.events[1], "closed", "repeated", None))
    write("DELETE FROM outbox WHERE published")
    with engine.connect() as connection:
        found = dead.superseded(connection, 5)
        assert (found.events, found.closed, found.ids, found.repeated) == (1, 1, (), 0)
        assert dead.count(connection, 5) == (2, 1, 1, True)
        assert dead.closed_among(connection, [*closed.events, *left.events], 5) == {closed.events[1]}


def test_the_oldest_age_leaves_out_harmless_events(order, engine, write):
    """The age of the oldest dead event leaves out closed and other harmless events."""
    order().event("FAILED", "dead", age=9 * HOUR).event(state="published")
    closed = order().event("FAILED", "dead", age=8 * HOUR).event(state="published").events[0]
    order().event(state="published", age=7 * HOUR).event(state="dead", age=6 * HOUR)
    write(_ITEM, (closed, "closed", "superseded", None))
    with engine.connect() as connection:
        assert dead.oldest_age(connection, 5) is None
        order().event(state="dead", age=2 * HOUR).event(state="dead", age=HOUR)
        connection.rollback()
        assert 2 * 3600 <= dead.oldest_age(connection, 5) < 2 * 3600 + 600


def test_the_search_reads_a_bounded_number_of_published_events(engine, order):
    """For each of the 50 oldest dead events, payctl reads only 100 earlier and 100 later published events."""
    with engine.begin() as connection:
        insert_events(connection, 600, state="published", age=3 * HOUR, payload_bytes=0)
        insert_events(connection, 300, state="published", age=HOUR, payload_bytes=0)
        insert_events(connection, 80, state="dead", age=2 * HOUR, payload_bytes=0)
    order().event(state="published", age=5 * HOUR / 2).event(state="dead", age=3 * HOUR)
    with engine.begin() as connection:
        connection.exec_driver_sql(TWO_SECONDS_APART)
        connection.exec_driver_sql("ANALYZE outbox")
    with engine.begin() as connection, plans_of(engine, "superseded") as plans:
        connection.exec_driver_sql("SET LOCAL jit = off")
        assert dead.superseded(connection, 5).events == 1
    (nodes,) = plans
    scans = [node for node in nodes if node.get("Alias") in {"e", "e_1"}]
    assert [(node["Node Type"], node.get("Index Name")) for node in scans] == [("Index Scan", _INDEX)] * 2
    assert [node["Actual Loops"] for node in scans] == [repeated.MOST_ASKED] * 2
    assert [90 < node["Actual Rows"] <= repeated.MOST_READ for node in scans] == [True, True]
