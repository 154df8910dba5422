"""Test that recorded replays show when an event was requeued, and whether it had been sent before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.store.conftest import NOON
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.outbox.republished import longest_wait, requeued_before_s, was_sent_before

pytestmark = pytest.mark.postgres
SECOND, HALF_A_SECOND = timedelta(seconds=1), timedelta(milliseconds=500)
REQUEUE_ALL = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before)
    SELECT gen_random_uuid(), 0, 0, id, 'requeued', %s FROM outbox"""
REQUEUED_AGO = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before, at)
    VALUES (gen_random_uuid(), 0, 0, %s, 'requeued', %s, clock_timestamp() - %s * interval '1 day')"""
SENT, UNSENT = '{"published_at": "2026-11-29T11:00:00"}', '{"published_at": null}'


@pytest.fixture
def record(engine):
    """Return a function that records a replay's outcome for the event "asked" or another event, ``after`` noon."""
    sql = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before, at)
        VALUES (gen_random_uuid(), 0, 0, %s, %s, %s, %s)"""

    def run(after, outcome="requeued", *, before=UNSENT, event="asked"):
        with engine.begin() as connection:
            connection.exec_driver_sql(sql, (event, outcome, before, NOON + after))

    return run


@pytest.mark.parametrize(
    ("instants", "seconds"),
    [
        ([], None),
        ([-HALF_A_SECOND], 0.5),
        ([0 * SECOND], 0),
        ([SECOND], 0),
        ([-9 * SECOND, -5 * SECOND, -7 * SECOND], 5),
    ],
    ids=["never", "half a second ago", "now", "by a fast clock", "three times"],
)
def test_an_event_was_requeued_by_its_last_replay(record, at_noon, instants, seconds):
    """The age of an event's last replay counts, and is never negative. Skipped events and other events do not count."""
    for after in instants:
        record(after)
    record(-3 * SECOND, "skipped")
    record(-3 * SECOND, event="other")
    assert at_noon.exec_driver_sql(f"SELECT {requeued_before_s('SELECT %s')}", ("asked",)).scalar_one() == seconds


@pytest.mark.parametrize(
    ("outcome", "before", "expected"), [("requeued", SENT, True), ("requeued", UNSENT, False), ("skipped", SENT, False)]
)
def test_an_event_was_sent_before_if_a_replay_requeued_it_as_published(record, at_noon, outcome, before, expected):
    """If one or more replays requeued a published event, the event had already been sent."""
    record(0 * SECOND)
    for after in (-SECOND, 0 * SECOND):
        record(after, outcome, before=before)
    record(0 * SECOND, before=SENT, event="other")
    assert at_noon.exec_driver_sql(f"SELECT {was_sent_before('%s')}", ("asked",)).scalar_one() is expected


def test_requeued_events_do_not_hide_an_event_that_was_never_sent(engine):
    """The event that has waited longest is found among any number of older events that a replay has just requeued."""
    with engine.begin() as connection:
        insert_events(connection, 20_001, age=timedelta(hours=9), payload_bytes=0)
        connection.exec_driver_sql(REQUEUE_ALL, (SENT,))
        insert_events(connection, 2, age=timedelta(hours=2), payload_bytes=0)
    with engine.connect() as connection:
        found = longest_wait(connection, 5)
    assert (found.requeued, 7_200 <= found.age_s < 7_800) == (False, True)


@pytest.mark.parametrize(
    ("most", "never_sent", "is_longest"), [(2, 1, False), (3, 1, True), (3, 0, True), (2, 0, True), (1, 0, False)]
)
def test_the_longest_wait_is_certain_only_if_no_other_event_can_have_waited_longer(
    engine, most, never_sent, is_longest
):
    """The longest wait is certain if all pending events were read, or if one of the read events was never requeued."""
    with engine.begin() as connection:
        insert_events(connection, 2, age=timedelta(hours=9), payload_bytes=0)
        connection.exec_driver_sql(REQUEUE_ALL, (SENT,))
        insert_events(connection, never_sent, age=timedelta(hours=2), payload_bytes=0)
    with engine.connect() as connection:
        assert longest_wait(connection, 5, most=most).is_longest is is_longest


@pytest.mark.parametrize("before", [SENT, UNSENT])
def test_each_requeued_event_can_count_from_its_replay(engine, before):
    """An alarm counts a requeued event from its replay, even if the event had never been sent before."""
    with engine.begin() as connection:
        insert_events(connection, 1, age=timedelta(hours=9), payload_bytes=0)
        connection.exec_driver_sql(REQUEUE_ALL, (before,))
    with engine.connect() as connection:
        found = longest_wait(connection, 5, after_any_replay=True)
        of_customer = longest_wait(connection, 5)
    assert (found.requeued, found.age_s < 60) == (True, True)
    assert of_customer.requeued is (before == SENT)


@pytest.mark.parametrize("never_sent", [True, False])
def test_an_event_that_was_requeued_before_the_others_were_created_has_waited_longest(engine, never_sent):
    """An event that was requeued two days ago has waited longer than a new event that was never sent."""
    orders = Orders(engine).pay().event(id="asked", age=timedelta(days=9)).event(id="later", age=timedelta(days=8))
    if never_sent:
        orders.event(age=timedelta(minutes=1))
    with engine.begin() as connection:
        for name, days in (("asked", 3), ("asked", 2), ("later", 1)):
            connection.exec_driver_sql(REQUEUED_AGO, (name, SENT, days))
    with engine.connect() as connection:
        found = longest_wait(connection, 5)
    assert (found.id, found.requeued, round(found.age_s / 86_400, 1)) == ("asked", True, 2)


def test_no_event_has_waited_if_none_is_pending(engine):
    """Without a pending event, no event has waited."""
    Orders(engine).pay().event(state="published").event(state="dead")
    with engine.connect() as connection:
        assert longest_wait(connection, 5) is None
