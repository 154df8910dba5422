"""Test a replay's plan: its events, its forecast, and the events that it leaves out."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest

from ticketbottle_payctl.jobs.replay import LeftOutReason, PlannedEvent, ReplayPlan, changes_nothing, count_replay
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.store.outbox.replay import Row
from ticketbottle_payctl.store.outbox.selector import Selector

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)


def reasons(plan):
    """Return why the plan leaves out each event."""
    return {left.id: left.reason for left in plan.left_out}


@pytest.fixture
def some(engine):
    """Insert two dead events, a pending event, a published event and a half-marked event."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="dead", age=3 * HOUR)
        insert_events(connection, 1, age=2 * HOUR)
        insert_events(connection, 1, state="published", age=4 * HOUR)
        insert_events(connection, 1, state="sent_unmarked", age=5 * HOUR)
        insert_payments_of_events(connection)


@pytest.mark.usefixtures("some")
def test_a_selector_does_not_select_published_events_by_default(outbox):
    """Without --published, a replay plan contains no published or half-marked events."""
    plan = outbox.plan(Selector())
    assert plan.by_state == {"dead": 2, "pending": 1}
    assert plan.left_out == ()
    assert (plan.matched, plan.by_type, plan.keys_with_newer) == (3, {"PAYMENT_COMPLETED": 3}, 0)


@pytest.mark.usefixtures("some")
def test_a_plan_has_published_events_only_if_they_are_selected_and_allowed(outbox):
    """A replay plan includes selected published events only if they are allowed.

    Otherwise, the plan lists these events as left out.
    """
    selected = Selector(published=True)
    assert set(reasons(outbox.plan(selected)).values()) == {LeftOutReason.PUBLISHED}
    allowed = outbox.plan(selected, allow_published=True)
    assert (allowed.by_state, allowed.left_out) == ({"published": 2}, ())


@pytest.mark.usefixtures("some")
def test_a_plan_lists_each_named_event_that_it_leaves_out(outbox):
    """A replay plan lists each event that is given by id but is published, missing or not selected, with the reason."""
    sent, dead = outbox.ids("published")[0], outbox.ids('"retryCount" = 5')[0]
    named = outbox.plan(Selector(ids=(sent, dead, "nowhere", dead)))
    assert [event.row.id for event in named.events] == [dead]
    assert reasons(named) == {sent: LeftOutReason.PUBLISHED, "nowhere": LeftOutReason.NOT_FOUND}
    narrowed = outbox.plan(Selector(ids=(dead,), types=("PAYMENT_FAILED",)))
    assert reasons(narrowed) == {dead: LeftOutReason.NOT_SELECTED}


def test_a_plan_leaves_out_events_that_are_too_large_for_payctl(outbox, engine):
    """A replay plan does not requeue dead events that are too large for payctl, and gives this reason.

    A smaller event that Kafka refused because of its size, and a large event with another error, stay in the plan.
    """
    error = "MSG_SIZE_TOO_LARGE: Broker: Message size too large"
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead", payload_bytes=1_100_000, last_error=error)
        insert_events(connection, 1, state="dead", payload_bytes=5_000, last_error=error)
        insert_events(connection, 1, state="dead", payload_bytes=1_100_000, last_error="TIMED_OUT: too slow")
        insert_events(connection, 1, state="dead", payload_bytes=1_100_000, last_error=error, age=HOUR)
        insert_payments_of_events(connection)
    large = set(outbox.ids(f"octet_length(payload::text) > 1000000 AND \"lastError\" = '{error}'"))
    plan = outbox.plan(Selector(failed=True))
    assert reasons(plan) == dict.fromkeys(large, LeftOutReason.TOO_LARGE)
    assert (len(large), len(plan.events)) == (2, 2)
    allowed = {"allow_published": True, "allow_superseded": True}
    assert set(reasons(outbox.plan(Selector(failed=True), **allowed))) == large
    assert count_replay(engine, Selector(failed=True), max_retries=5, **allowed) == len(plan.events)


@pytest.mark.parametrize("event_type", ["PAYMENT_FAILED", "PAYMENT_CANCELLED"])
def test_a_plan_leaves_out_and_lists_superseded_events(outbox, engine, event_type):
    """A replay plan lists superseded events but excludes them, because they would release paid tickets."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="dead", event_type=event_type)
        insert_payments_of_events(connection)
    first, second = outbox.rows('id, "aggregateId"')
    outbox.execute("UPDATE payments SET status = 'COMPLETED' WHERE id = %(id)s", id=first[1])
    plan = outbox.plan()
    assert reasons(plan) == {first[0]: LeftOutReason.SUPERSEDED}
    assert (plan.left_out[0].event_type, plan.left_out[0].aggregate_id) == (event_type, first[1])
    assert [event.row.id for event in plan.events] == [second[0]]
    allowed = outbox.plan(allow_superseded=True)
    assert (len(allowed.events), [one.id for one in allowed.superseded]) == (2, [first[0]])


@pytest.mark.parametrize(("place", "found"), [(1000, True), (1001, False)])
def test_a_plan_looks_up_the_first_1000_missing_names(outbox, engine, place, found):
    """A replay plan checks whether any of the first 1,000 missing ids is an order code."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead")
        insert_payments_of_events(connection)
        code = connection.exec_driver_sql('SELECT "orderCode" FROM payments').scalar_one()
    names = (*(f"nowhere-{number}" for number in range(place - 1)), code)
    misnamed = outbox.plan(Selector(ids=names)).misnamed
    assert (misnamed.order_codes, misnamed.replayable) == (((code,), 1) if found else ((), 0))


def test_a_success_is_never_superseded(outbox, engine):
    """A PAYMENT_COMPLETED event is never superseded."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead")
        insert_payments_of_events(connection)
    assert outbox.plan().left_out == ()


@pytest.mark.parametrize(
    ("change", "newer"),
    [
        ("published = true", True),
        ('"publishedAt" = "createdAt"', True),
        ('"retryCount" = 0', False),
        ('"retryCount" = 5', False),
    ],
)
def test_a_plan_counts_payments_with_newer_published_events(outbox, engine, change, newer):
    """A replay plan counts the payments that have a newer published or half-marked event outside of the plan.

    A newer pending event does not count, because publishers send it after the replayed event. A newer dead event does
    not count, because publishers do not send it.
    """
    with engine.begin() as connection:
        insert_events(connection, 9, state="dead", aggregates=3, age=HOUR)
    ids = outbox.ids()
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE outbox SET {change} WHERE id = ANY(%s)", (ids[6:],))  # noqa: S608
    assert outbox.plan(Selector(ids=tuple(ids)), allow_published=True).keys_with_newer == 0
    assert outbox.plan(Selector(ids=tuple(ids[:3]))).keys_with_newer == 3 * newer
    assert outbox.plan(Selector(ids=tuple(ids[6:])), allow_published=True).keys_with_newer == 0
    assert outbox.plan(Selector(failed=True, limit=2)).keys_with_newer == 2 * newer


def test_a_plan_is_in_the_order_of_publishing(outbox, engine):
    """A replay plan lists its events in publishing order, and a limit keeps the oldest events."""
    with engine.begin() as connection:
        insert_events(connection, 20, state="dead", age=HOUR)
    plan = outbox.plan()
    assert [event.row.id for event in plan.events] == outbox.ids()
    instants = [row[0].replace(tzinfo=UTC) for row in outbox.rows('"createdAt"')]
    assert (plan.oldest, plan.newest) == (instants[0], instants[-1])
    assert (plan.misnamed.replayable, outbox.plan(Selector(published=True)).oldest) == (0, None)
    assert [event.row.id for event in outbox.plan(Selector(failed=True, limit=3)).events] == outbox.ids()[:3]


def test_making_a_plan_changes_nothing(outbox, engine):
    """Making a replay plan does not change any row."""
    with engine.begin() as connection:
        insert_events(connection, 3, state="dead")
    before = outbox.rows("*, xmin::text")
    outbox.plan()
    assert outbox.rows("*, xmin::text") == before


@pytest.mark.parametrize(("rate", "seconds"), [(10.0, 3), (0.5, 60), (None, 0.0015), (1e9, 0.0015)])
def test_a_plan_says_how_long_requeueing_takes(rate, seconds):
    """A replay plan estimates how many seconds requeueing takes. The default rate is 20,000 events a second."""
    planned = PlannedEvent(Row("id", "(0,1)", 7), "dead")
    assert ReplayPlan(events=(planned,) * 30).seconds(rate) == seconds


@pytest.mark.parametrize(
    ("state", "failed", "nothing"), [("pending", None, True), ("pending", 1, False), ("dead", 0, False)]
)
def test_a_plan_of_pending_events_changes_nothing_unless_one_has_failed(state, failed, nothing):
    """A replay changes a pending event only if the event has failed. By default, a plan has no failed events."""
    events = (PlannedEvent(Row("id", "(0,1)", 7), state),)
    plan = ReplayPlan(events=events) if failed is None else ReplayPlan(events=events, failed=failed)
    assert changes_nothing(plan) is nothing
