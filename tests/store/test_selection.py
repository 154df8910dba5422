"""Test that combined selectors match the right events and use an index, and that their values never become SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import error_groups, replay
from ticketbottle_payctl.store.outbox.list_events import list_events
from ticketbottle_payctl.store.outbox.selector import Selector, WindowBy, predicate

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)
MOVED_TO_MOMO = """
    UPDATE payments SET provider = 'MOMO' WHERE id = (SELECT "aggregateId" FROM outbox WHERE id = %(id)s)
"""
TIMEOUT = "_MSG_TIMED_OUT: Local: Message timed out on broker-{}:9092 for 8b1f6c1e-0000-4000-8000-00000000000{}"


@pytest.fixture
def events(engine):
    """Insert one event of each kind, each with its own payment. Return the events' ids by kind."""
    made = [
        ("pending_now", {}),
        ("pending_old", {"age": HOUR}),
        ("dead_new", {"state": "dead", "age": HOUR, "last_error": TIMEOUT.format(1, 1)}),
        ("dead_other", {"state": "dead", "age": 2 * HOUR, "last_error": "UNKNOWN_EVENT_TYPE: no topic"}),
        ("dead_old", {"state": "dead", "age": 9 * HOUR, "last_error": TIMEOUT.format(22, 2)}),
        ("failed_dead", {"state": "dead", "event_type": "PAYMENT_FAILED", "age": 3 * HOUR, "last_error": "x"}),
        ("sent", {"state": "published", "age": 5 * HOUR}),
        ("sent_by_old", {"state": "sent_unmarked", "age": 6 * HOUR}),
    ]
    ids = {}
    with engine.begin() as connection:
        for name, what in made:
            insert_events(connection, 1, **what)
            known = list(ids.values())
            ids[name] = connection.exec_driver_sql(
                "SELECT id FROM outbox WHERE id <> ALL(%(known)s)", {"known": known}
            ).scalar_one()
        insert_payments_of_events(connection)
        connection.exec_driver_sql(MOVED_TO_MOMO, {"id": ids["dead_new"]})
    return ids


def of(engine, event_id, column):
    """Return the value of a column for an event and for its payment."""
    with engine.connect() as connection:
        sql = f'SELECT {column} FROM outbox AS o JOIN payments AS p ON p.id = o."aggregateId" WHERE o.id = %(id)s'  # noqa: S608
        return connection.exec_driver_sql(sql, {"id": event_id}).scalar_one()


def listed(engine, selector):
    """Return the ids of the events that a listing shows for a selector."""
    with transaction(engine, Limits(), commit=False) as connection:
        return [row.row["id"] for row in list_events(connection, 100, None, selector=selector, max_retries=5)]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (Selector(failed=True), ["dead_new", "dead_other", "failed_dead", "dead_old"]),
        (Selector(stuck=timedelta(minutes=5)), ["pending_old"]),
        (Selector(published=True), ["sent", "sent_by_old"]),
        (Selector(failed=True, stuck=timedelta(0)), ["pending_now", "dead_new", "pending_old", "dead_other",
                                                     "failed_dead", "dead_old"]),
        (Selector(types=("PAYMENT_FAILED",)), ["failed_dead"]),
        (Selector(provider="momo"), ["dead_new"]),
        (Selector(error="timed out"), ["dead_new", "dead_old"]),
        (Selector(error="^UNKNOWN.*topic$", failed=True), ["dead_other"]),
        (Selector(failed=True, types=("PAYMENT_COMPLETED",), provider="Zalo-Pay"), ["dead_other", "dead_old"]),
        (Selector(ids=()), []),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_selectors_are_combined_with_and_and_states_with_or(engine, events, selector, expected):
    """A selected event must match every selector. If several states are given, the event must be in one of them."""
    assert sorted(listed(engine, selector)) == sorted(events[name] for name in expected)


def test_events_are_selected_by_event_payment_or_order_code(engine, events):
    """An event id, a payment id and an order code each select the same event. An unknown id selects nothing."""
    wanted = events["dead_old"]
    payment, code = of(engine, wanted, 'o."aggregateId"'), of(engine, wanted, 'p."orderCode"')
    for selector in (Selector(ids=(wanted, "nope")), Selector(aggregates=(payment,)), Selector(order_codes=(code,))):
        assert listed(engine, selector) == [wanted]


@pytest.mark.parametrize(
    ("by", "window", "expected"),
    [
        (WindowBy.CREATED, (7, 4), {"sent", "sent_by_old"}),
        (WindowBy.PUBLISHED, (7, 4), {"sent", "sent_by_old"}),
        (WindowBy.CREATED, (3.5, None), {"pending_now", "pending_old", "dead_new", "dead_other", "failed_dead"}),
        (WindowBy.PUBLISHED, (None, 5.5), {"sent_by_old"}),
    ],
)
def test_a_time_window_includes_its_start_and_not_its_end(engine, events, by, window, expected):
    """A time window includes its start but not its end.

    The window applies to the creation time or the publishing time. Unpublished events have no publishing time.
    """
    now = datetime.now(UTC)
    since, until = window
    selector = Selector(
        by=by,
        since=now - since * HOUR if since else None,
        until=now - until * HOUR if until else None,
    )
    assert set(listed(engine, selector)) == {events[name] for name in expected}


def test_errors_that_differ_in_ids_and_numbers_are_one_group(engine, events):
    """Errors that differ only in ids and numbers form one group, and the group's id selects exactly their events."""
    with transaction(engine, Limits(), commit=False) as connection:
        found = error_groups.groups(connection, Selector(), 5, 10)
    assert [(group.count, group.dead) for group in found] == [(2, 2), (1, 1), (1, 1)]
    assert found[0].pattern == "_MSG_TIMED_OUT: Local: Message timed out on #:# for #"
    assert found[0].sample == TIMEOUT.format(1, 1)
    assert found[0].sample_id == events["dead_new"]
    selected = listed(engine, Selector(error_group=found[0].group))
    assert selected == [events["dead_new"], events["dead_old"]]


def test_a_group_has_the_first_500_characters_of_an_error(engine):
    """Errors that differ only after 500 characters form one group, and its sample is cut to 500 characters."""
    with engine.begin() as connection:
        for last in "ab":
            insert_events(connection, 1, state="dead", last_error="e" * 500 + last)
        (group,) = error_groups.groups(connection, Selector(), 5, 10)
    assert (group.sample, group.pattern, group.count) == ("e" * 500, "e" * 500, 2)


@pytest.mark.parametrize("pattern", ["(", "[", "a{9999}", "(?<", "*"])
@pytest.mark.parametrize("read", [
    lambda connection, selector: list_events(connection, 9, None, selector=selector, max_retries=5),
    lambda connection, selector: replay.candidates(connection, selector, 5),
    lambda connection, selector: error_groups.groups(connection, selector, 5, 9),
], ids=["list", "replay", "errors"])  # fmt: skip
def test_an_invalid_regular_expression_is_an_input_error(engine, read, pattern):
    """The list, replay and errors commands refuse an invalid pattern, even if the outbox is empty."""
    with (
        pytest.raises(InputError, match="not a regular expression"),
        transaction(engine, Limits(), commit=False) as connection,
    ):
        read(connection, Selector(error=pattern))


def test_a_pattern_that_takes_too_long_is_an_input_error(engine):
    """The statement timeout ends the search for a slow pattern.

    The error names the pattern and does not say that the database is unavailable.
    """
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead", last_error="a" * 301 + "b")
    limits = Limits(statement=timedelta(milliseconds=300))
    with (
        pytest.raises(InputError, match="took too long"),
        transaction(engine, limits, commit=False) as connection,
    ):
        replay.candidates(connection, Selector(error=r"^(a*)(a*)(a*)(a*)\1\2\3\4b$"), 5)


def test_hostile_selector_values_never_become_sql(engine, events):
    """If a selector's value contains SQL, the selector does not match any event and changes nothing."""
    hostile = "x'; DROP TABLE outbox; -- %s %(ids)s"
    for selector in (
        Selector(ids=(hostile,)),
        Selector(types=(hostile,)),
        Selector(aggregates=(hostile,)),
        Selector(order_codes=(hostile,)),
        Selector(provider=hostile),
        Selector(error_group=hostile),
    ):
        assert listed(engine, selector) == []
    assert len(listed(engine, Selector())) == len(events)


@pytest.mark.parametrize("selector", [Selector(failed=True), Selector(stuck=HOUR)], ids=["failed", "stuck"])
def test_unpublished_events_are_found_by_the_index(engine, selector):
    """A search for unpublished events uses the index and does not scan the table."""
    with engine.begin() as connection:
        insert_events(connection, 20_000, state="published", age=9 * HOUR)
        insert_events(connection, 20, state="dead", age=2 * HOUR)
        connection.exec_driver_sql("ANALYZE outbox")
        wanted = predicate(selector, 5)
        sql = f"EXPLAIN (FORMAT JSON) SELECT o.id FROM outbox AS o WHERE {wanted.sql}"  # noqa: S608
        plan = str(connection.exec_driver_sql(sql, wanted.parameters).scalar_one())
    assert "outbox_published_createdAt_idx" in plan
    assert "Seq Scan" not in plan


def test_a_limit_or_a_choice_of_instant_is_not_a_selector():
    """`Selector.is_empty` is true if only a limit or the kind of time (creation or publishing) is set."""
    assert Selector(limit=5, by=WindowBy.PUBLISHED).is_empty
    assert not Selector(ids=()).is_empty
    assert not Selector(stuck=timedelta(0)).is_empty
