"""Test that the three reasons why no customer waits for a dead event do not overlap."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ticketbottle_payctl.domain.why_needless import WhyNeedless
from ticketbottle_payctl.store.outbox import dead, error_groups
from ticketbottle_payctl.store.outbox.needless_unknown import needless_among
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.outbox.unsent_successes import unsent_successes

pytestmark = pytest.mark.postgres
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ODD = "?PAYMENT_NOTED"
_ITEM = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before)
    VALUES (gen_random_uuid(), 0, 0, %s, %s, %s)"""
SENT = '{"published_at": "2026-11-29T11:00:00"}'


@pytest.fixture
def record(engine):
    """Return a function that records what a run did with an event."""

    def run(name, outcome, before=None):
        with engine.begin() as connection:
            connection.exec_driver_sql(_ITEM, (name, outcome, before))

    return run


@pytest.fixture
def every_kind(pay):
    """Return a payment whose success was sent, with a dead event for each reason, in the order of the reasons."""
    orders = pay("COMPLETED").event(state="published", age=HOUR)
    return orders.event("FAILED", "dead", error="no").event(state="dead", error="no").event(ODD, "dead", error="no")


def counts(reader):
    """Return what the screens count: the harmless and the closed events, and the events that no customer waits for."""
    found = dead.superseded(reader, 5)
    groups = error_groups.groups(reader, Selector(), 5, 9, with_closings=True, with_runs=True)
    harmless = (found.events - found.blocking, sum(each.harmless for each in groups))
    closed = (found.closed, sum(each.closed for each in groups), dead.count(reader, 5).closed)
    return harmless, closed, dead.count(reader, 5).failures, unsent_successes(reader, 5, ()).unknown


def test_each_dead_event_has_one_reason_and_is_counted_once(every_kind, reader, record):
    """If one payment has a dead event for each reason, no screen counts an event twice, before or after the closing."""
    _, *events = every_kind.events
    assert [dead.find(reader, name, 5).why_needless for name in events] == [*WhyNeedless]
    assert counts(reader) == ((2, 2), (0, 0, 0), 2, 1)
    for number, name in enumerate(reversed(events), 1):
        record(name, "closed")
        assert counts(reader) == ((3, 3), (number, number, number), 3, 0)
    assert dead.superseded(reader, 5).ids == ()
    assert dead.closed_among(reader, every_kind.events, 5) == {*events}


def test_a_pending_event_keeps_only_the_superseded_event_in_the_count(every_kind, reader, record):
    """While a later event waits, no dead event is harmless, and none of them counts as closed."""
    for name in every_kind.events[1:]:
        record(name, "closed")
    every_kind.event(age=MINUTE)
    found = dead.superseded(reader, 5)
    assert (found.events, found.blocking, found.closed) == (1, 1, 0)
    assert counts(reader)[:2] == ((0, 0), (0, 0, 0))


def test_an_event_of_an_unknown_type_is_needless_if_the_success_was_sent_before_a_replay(pay, reader, record):
    """If a replay has requeued the sent success, no customer waits for the event of an unknown type."""
    orders = pay("COMPLETED").event(state="dead", age=HOUR).event(ODD, "dead")
    success, unknown = orders.events
    record(success, "requeued")
    assert needless_among(reader, [unknown], 5) == set()
    record(success, "requeued", SENT)
    assert needless_among(reader, [success, unknown], 5) == {unknown}
