"""Test that a dead event that no customer waits for counts under only one of the three reasons."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.plans import plans_of, rows_read
from ticketbottle_payctl.domain.why_needless import WhyNeedless
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.outbox import dead, error_groups
from ticketbottle_payctl.store.outbox.needless_unknown import needless_among
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.outbox.unsent_successes import unsent_successes

pytestmark = pytest.mark.postgres
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ODD = "?PAYMENT_NOTED"
REASONS = ("superseded", "repeated", "unknown_type_completed")
_ITEM = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, reason)
    VALUES (gen_random_uuid(), 0, 0, %s, 'closed', %s)"""


@pytest.fixture
def close(engine):
    """Return a function that records that a person has closed an event for a reason."""

    def run(name, reason):
        with engine.begin() as connection:
            connection.exec_driver_sql(_ITEM, (name, reason))

    return run


@pytest.fixture
def every_kind(pay):
    """Return a payment whose success was sent, with a dead event for each reason, in the order of the reasons."""
    orders = pay("COMPLETED").event(state="published", age=HOUR)
    return orders.event("FAILED", "dead", error="no").event(state="dead", error="no").event(ODD, "dead", error="no")


def counts(reader):
    """Return what the screens count: the harmless and the closed events, and the events that no customer waits for."""
    found = dead.superseded(reader, 5)
    groups = error_groups.groups(reader, Selector(), 5, 9, with_closings=True)
    harmless = (found.events - found.blocking, sum(each.harmless for each in groups))
    closed = (found.closed, sum(each.closed for each in groups), dead.count(reader, 5).closed)
    return harmless, closed, dead.count(reader, 5).failures, unsent_successes(reader, 5, ()).unknown


def test_each_dead_event_has_one_reason_and_is_counted_once(every_kind, reader, close):
    """If one payment has a dead event for each reason, no screen counts an event twice, before or after the closing."""
    _, *events = every_kind.events
    assert [dead.find(reader, name, 5).why_needless for name in events] == [*WhyNeedless]
    assert counts(reader) == ((2, 2), (0, 0, 0), 2, 1)
    for number, (name, reason) in enumerate(zip(reversed(events), reversed(REASONS), strict=True), 1):
        close(name, reason)
        assert counts(reader) == ((3, 3), (number, number, number), 3, 0)
    assert dead.superseded(reader, 5).ids == ()
    assert dead.closed_among(reader, every_kind.events, 5) == {*events}


def test_a_pending_event_keeps_only_the_superseded_event_in_the_count(every_kind, reader, close):
    """While a later event waits, no dead event is harmless, and none of them counts as closed."""
    for name, reason in zip(every_kind.events[1:], REASONS, strict=True):
        close(name, reason)
    every_kind.event(age=MINUTE)
    found = dead.superseded(reader, 5)
    assert (found.events, found.blocking, found.closed) == (1, 1, 0)
    assert counts(reader)[:2] == ((0, 0), (0, 0, 0))


def test_a_closing_counts_only_for_its_own_reason(every_kind, reader, close):
    """A closing with the reason of another event type, or without a reason, does not count."""
    _, *events = every_kind.events
    for number, name in enumerate(events):
        for reason in {*REASONS, "unknown_type_failed", "unknown_type", None} - {REASONS[number]}:
            close(name, reason)
    assert counts(reader) == ((2, 2), (0, 0, 0), 2, 1)
    assert dead.closed_among(reader, events, 5) == set()


@pytest.mark.parametrize(
    ("status", "success", "expected"),
    [
        ("PENDING", None, None),
        ("FAILED", None, "unknown_type_failed"),
        ("CANCELLED", None, "unknown_type_cancelled"),
        ("COMPLETED", None, None),
        ("COMPLETED", "pending", None),
        ("COMPLETED", "dead", None),
        ("COMPLETED", "published", "unknown_type_completed"),
    ],
)
def test_an_event_of_an_unknown_type_is_needless_only_if_no_success_can_be_missing(
    pay, reader, status, success, expected
):
    """An event of an unknown type is needless if its payment failed or was cancelled, or if a success is published."""
    orders = pay(status).event(ODD, "dead")
    if success:
        orders.event(state=success, age=2 * HOUR)
    assert needless_among(reader, orders.events, 5) == ({orders.events[0]: expected} if expected else {})


def test_the_search_for_the_sent_success_reads_a_bounded_number_of_rows(engine, pay, reader):
    """Among 20,000 published events, the search for the successes of five payments reads at most 2,000 of them."""
    with engine.begin() as connection:
        insert_events(connection, 20_000, state="published", age=HOUR, payload_bytes=0)
    names = [pay("COMPLETED", age=9 * HOUR).event(ODD, "dead", age=8 * HOUR).events[0] for _ in range(4)]
    sent = pay("COMPLETED", age=9 * HOUR).event(ODD, "dead", age=8 * HOUR).event(state="published", age=7 * HOUR)
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE outbox")
        connection.exec_driver_sql("ANALYZE payments")
    with plans_of(engine, "LEFT JOIN outbox AS w") as plans:
        assert [*needless_among(reader, [*names, sent.events[0]], 5)] == [sent.events[0]]
    (nodes,) = plans
    assert rows_read(nodes, "outbox") <= 2_100
