"""Test that a replay plan needs few statements. A statement that sends every id back to the server takes seconds."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from sqlalchemy import event

from ticketbottle_payctl.jobs.replay import PlannedEvent, ReplayPlan, changes_nothing, refreshed
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.outbox.selector import Selector

pytestmark = pytest.mark.postgres


@contextmanager
def statements(engine):
    """Yield the list of the statements that the block runs."""
    ran = []

    def note(*arguments):
        ran.append(arguments[2])

    event.listen(engine, "before_cursor_execute", note)
    yield ran
    event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def pending(engine):
    """Insert two pending events, one of which has failed once."""
    with engine.begin() as connection:
        insert_events(connection, 1, retry_count=1)
        insert_events(connection, 1)


@pytest.mark.usefixtures("pending")
def test_a_plan_of_pending_events_reads_the_outbox_twice(outbox, engine):
    """Two statements find the events of a plan, newer events, and the number of pending events that have failed."""
    with statements(engine) as ran:
        plan = outbox.plan(Selector(types=("PAYMENT_COMPLETED",)))
        unchanged = changes_nothing(plan)
    assert (plan.by_state, plan.failed, unchanged) == ({"pending": 2}, 1, False)
    assert len(ran) == 2, ran


@pytest.mark.usefixtures("pending")
def test_a_plan_file_is_refreshed_with_only_the_statements_that_it_needs(outbox, engine):
    """A plan from a file counts its failed events with one statement.

    If superseded events are allowed, payctl needs a second statement.
    """
    made = outbox.plan(Selector(types=("PAYMENT_COMPLETED",)))
    stored = ReplayPlan(events=made.events)
    dead = ReplayPlan(events=tuple(PlannedEvent(each.row, "dead") for each in made.events))
    for plan, allow_superseded, failed, needed in (
        (stored, False, 1, 1),
        (stored, True, 1, 2),
        (dead, False, 0, 0),
        (ReplayPlan(), True, 0, 0),
    ):
        with statements(engine) as ran:
            assert refreshed(engine, plan, allow_superseded=allow_superseded).failed == failed
        assert len(ran) == needed, ran
