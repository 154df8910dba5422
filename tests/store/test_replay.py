"""Test the events that a replay counts and lists, and that each chunk of its plan is applied once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.store.outbox import replay
from ticketbottle_payctl.store.outbox.replay import Progress
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun

pytestmark = pytest.mark.postgres
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RUN, OTHER_RUN = (str(UUID(int=number)) for number in (1, 2))
ITEM = """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, reason)
    VALUES (%s, %s, (SELECT count(*) FROM payctl.run_items), %s, %s, %s)"""
ALLOWED = {"allow_published": True, "allow_superseded": True}


@pytest.fixture
def order(engine):
    """Return a function that inserts a payment and returns a writer of its rows."""
    return lambda status="COMPLETED": Orders(engine).pay(status)


@pytest.fixture
def planned(engine):
    """Return a function that records a run whose plan has the given chunks of events."""

    def run(*chunks):
        with engine.begin() as connection:
            runs.start(connection, NewRun(RUN, "replay", Actor("ops", "bastion")))
            rows = [
                [each.row for each in replay.candidates(connection, Selector(ids=tuple(chunk)), 5)] for chunk in chunks
            ]
            replay.store_plan(connection, RUN, rows)

    return run


@pytest.mark.parametrize(
    ("published", "superseded", "expected"), [(False, False, 2), (True, False, 4), (False, True, 5), (True, True, 7)]
)
def test_an_event_counts_if_a_replay_with_these_options_would_requeue_it(
    order, reader, published, superseded, expected
):
    """Published and superseded events count if they are allowed.

    Events that are too large or of unknown type never count.
    """
    names = [
        *order().event(retries=5, error="no").event(retries=0).events,
        *order().event(state="published").event(state="published").events,
        *order().event("FAILED", retries=5).event("CANCELLED", retries=5).event("FAILED").events,
        *order().event("?", retries=5).events,
        *order().event(retries=5, error="MSG_SIZE_TOO_LARGE: no", size=1_100_000).events,
    ]
    order().event(retries=5)
    found = replay.count_candidates(reader, Selector(ids=tuple(names)), 5, published=published, superseded=superseded)
    assert found == expected


def test_only_an_event_with_an_error_of_size_is_too_large(order, reader):
    """A large event counts as too large only if it failed because of its size."""
    orders = order()
    for age, error in enumerate((None, "TIMED_OUT: no", "MSG_SIZE_TOO_LARGE: no")):
        orders.event(age=-age * MINUTE, error=error, size=1_100_000)
    assert [each.too_large for each in replay.candidates(reader, Selector(), 5)] == [False, False, True]


def test_only_the_given_events_count_as_failed(order, reader):
    """Only the given events that have failed at least once are counted."""
    names = order().event().event(retries=1).event(retries=9).events
    order().event(retries=2)
    assert (replay.count_failed(reader, names), replay.count_failed(reader, [])) == (2, 0)


def test_a_payment_with_several_newer_events_counts_once(order, reader):
    """A payment counts once, however many newer published events it has."""
    orders = order().event(age=HOUR, retries=5)
    for minutes in (3, 2, 1):
        orders.event(age=minutes * MINUTE, state="published")
    planned = replay.candidates(reader, Selector(failed=True), 5)
    assert replay.keys_with_newer_events(reader, planned) == 1


def test_only_the_given_events_are_named_as_superseded(order, reader):
    """Of the given events, only the superseded ones are returned, oldest first."""
    order().event("FAILED", id="c", age=HOUR).event("FAILED", id="a", age=MINUTE).event("CANCELLED", id="b", age=HOUR)
    order("FAILED").event("FAILED", id="d")
    found = [replay.superseded_among(reader, names) for names in (["a", "c", "d"], [])]
    assert [[each.id for each in some] for some in found] == [["c", "a"], []]


@pytest.fixture
def processed(engine, order):
    """Record a run with two chunks and a row outside of its plan, and a second run."""
    orders = order()
    for name, facts in (
        ("dead", {"retries": 5}), ("sent", {"state": "published"}), ("pending", {}), ("pending later", {}),
        ("skipped", {}), ("left out", {}), ("of another run", {}),
    ):  # fmt: skip
        orders.event(id=name, **facts)
    with engine.begin() as connection:
        for row in (
            (RUN, -1, "left out", "skipped", "superseded"),
            (RUN, 0, "dead", "requeued", None),
            (RUN, 0, "sent", "requeued", None),
            (RUN, 0, "deleted", "requeued", None),
            (RUN, 0, "pending", "requeued", None),
            (RUN, 0, "skipped", "skipped", "changed"),
            (RUN, 1, "pending later", "requeued", None),
            (OTHER_RUN, 0, "of another run", "requeued", None),
        ):
            connection.exec_driver_sql(ITEM, row)


@pytest.mark.usefixtures("processed")
@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        (None, Progress(published=2, dead=1, pending=2)),
        (0, Progress(published=2, dead=1, pending=1)),
        (1, Progress(published=0, dead=0, pending=1)),
    ],
)
def test_the_progress_is_that_of_the_requeued_events_of_a_run(reader, chunk, expected):
    """The requeued events of a run or of one chunk count by their state. A deleted event counts as published."""
    assert replay.progress(reader, RUN, 5, chunk=chunk) == expected


@pytest.mark.usefixtures("processed")
@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        (None, {("requeued", None): 5, ("skipped", "changed"): 1, ("skipped", "superseded"): 1}),
        (0, {("requeued", None): 4, ("skipped", "changed"): 1}),
        (1, {("requeued", None): 1}),
    ],
)
def test_the_outcomes_are_those_of_the_events_of_a_run(reader, chunk, expected):
    """The events of a run or of one chunk count by outcome and reason."""
    assert replay.outcomes(reader, RUN, chunk=chunk) == expected


def test_a_second_process_applies_the_next_chunk(engine, reader, order, planned):
    """If two processes apply a run at the same time, the second one waits, and then applies the next chunk."""
    planned(*([name] for name in order().event(retries=5).event(retries=5).events))
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %(pid)s"
    with engine.connect() as first, engine.connect() as second, ThreadPoolExecutor(1) as pool:
        pid = {"pid": second.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()}
        assert replay.apply_next(first, RUN, **ALLOWED).number == 0
        applied = pool.submit(replay.apply_next, second, RUN, **ALLOWED)
        wait_until(lambda: reader.exec_driver_sql(waits, pid).scalar_one(), what="the second process", timeout=20)
        first.commit()
        assert applied.result(20) == replay.Chunk(1, {("requeued", None): 1})
        second.commit()
        assert replay.apply_next(first, RUN, **ALLOWED) is None


def test_the_chunks_of_a_run_that_are_not_applied_remain(reader, order, planned):
    """The remaining chunks and events are those that the run has not applied yet."""
    names = order().event(retries=5).event(retries=5).event(retries=5).events
    planned(names[:1], names[1:])
    left = [replay.remaining(reader, RUN)]
    for _ in range(2):
        replay.apply_next(reader, RUN, **ALLOWED)
        left += [replay.remaining(reader, RUN)]
    assert (left, replay.remaining(reader, OTHER_RUN)) == ([(2, 3), (1, 2), (0, 0)], (0, 0))


def test_only_the_commit_of_a_chunk_does_not_wait_for_the_disk(reader, order, planned):
    """A chunk's transaction does not wait for the disk. The next transaction of the same session waits for the disk."""
    planned(order().event(retries=5).events)
    reader.exec_driver_sql("SET synchronous_commit = 'local'")
    reader.commit()
    replay.apply_next(reader, RUN, **ALLOWED)
    assert reader.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "off"
    reader.commit()
    assert reader.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "local"
    reader.exec_driver_sql("RESET synchronous_commit")
    reader.commit()


@pytest.mark.parametrize(
    ("kind", "state", "changed", "rescans"),
    [
        ("FAILED", "published", False, True),
        ("CANCELLED", "published", False, True),
        ("COMPLETED", "published", False, False),
        ("FAILED", "dead", False, False),
        ("FAILED", "published", True, False),
    ],
)
def test_publishers_rescan_only_after_a_published_failure_was_requeued(
    reader, order, planned, execute, kind, state, changed, rescans
):
    """Publishers rescan if a published failure or cancellation was requeued, but not if the event was skipped."""
    planned(order("FAILED").event(kind, state).events)
    if changed:
        execute("UPDATE outbox SET id = id")
    chunk = replay.apply_next(reader, RUN, **ALLOWED)
    assert chunk.outcomes == {("skipped", "changed") if changed else ("requeued", None): 1}
    owners = reader.exec_driver_sql("SELECT owner FROM payctl.publishers").scalars().all()
    assert owners == ["replay"] * rescans


def test_a_chunk_returns_each_error_of_its_events_once(order, planned, reader):
    """If many events of a chunk failed with the same error, the statement returns this error only once."""
    names = order().event(retries=5, error="no").event(retries=5, error="no").event(retries=5, error="yes").events
    planned(names)
    values = {"run": RUN, "number": 0, **ALLOWED}
    ((*_, errors),) = reader.exec_driver_sql(replay._APPLY, values).all()  # noqa: SLF001 - the answer itself
    assert sorted(errors) == ["no", "yes"]
