"""Test the search for recorded runs, their order, and the changes that an operator makes to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Actor, RunAction, RunStatus

pytestmark = pytest.mark.postgres
ME = Actor("tester", "here")
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RUNS = [str(UUID(int=number)) for number in range(1, 5)]
BEFORE = '{"published_at": "2026-11-29T11:00:00"}'
UNTIL = '{"until": "2026-11-29T12:00:00Z"}'


@pytest.fixture
def record(engine):
    """Return a function that inserts the record of a run that began ``minutes`` after noon."""

    def insert(run, minutes=0, status="done", finished=NOON):
        with engine.begin() as connection:
            connection.exec_driver_sql(
                """INSERT INTO payctl.runs (id, command, status, os_user, host, started_at, finished_at)
                VALUES (%s, 'replay', %s, 'ops', 'bastion', %s, %s)""",
                (run, status, NOON + minutes * MINUTE, finished),
            )

    return insert


@pytest.fixture
def process(engine):
    """Return a function that records a row that a run processed. The function numbers the rows."""
    places = iter(range(99))

    def insert(run, item, outcome="requeued", chunk=0, **facts):
        values = (
            run,
            chunk,
            next(places),
            item,
            outcome,
            facts.get("before"),
            facts.get("after"),
            facts.get("at", NOON),
        )
        with engine.begin() as connection:
            connection.exec_driver_sql(
                """INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before, after, at)
                VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s)""",
                values,
            )

    return insert


def test_at_most_two_runs_are_found_by_a_prefix(reader, record):
    """If several runs' ids begin with a prefix, the two runs that began first are returned, earliest first."""
    for run, minutes in zip(RUNS, (3, 1, 2, 4), strict=True):
        record(run, minutes)
    assert [run.id for run in runs.find(reader, RUNS[0][:8])] == [RUNS[1], RUNS[2]]
    assert [run.id for run in runs.find(reader, RUNS[3])] == [RUNS[3]]


def test_only_runs_that_changed_an_item_are_its_runs(reader, record, process):
    """The runs that changed an item are returned, earliest first, each with the item's earlier publishing time."""
    for run in RUNS[:2]:
        record(run)
    process(RUNS[0], "b", before="{}", after="{}", at=NOON + MINUTE)
    process(RUNS[1], "a", before=BEFORE, after="{}", at=NOON - MINUTE)
    process(RUNS[0], "a", before="{}", after="{}", at=NOON)
    process(RUNS[1], "b", "skipped", before=BEFORE)
    process(RUNS[1], "c", before=BEFORE, after="{}")
    found = runs.of_item(reader, ["a", "b"])
    assert [(item, run.id, published) for item, run, published in found] == [
        ("a", RUNS[1], NOON - 60 * MINUTE),
        ("a", RUNS[0], None),
        ("b", RUNS[0], None),
    ]


def test_closings_are_sorted_by_the_start_of_their_run(reader, record, process):
    """Closing records are sorted by their run's start, then by its id. Other rows and subjects are left out."""
    for run, minutes in zip(RUNS, (2, 1, 1, 0), strict=True):
        record(run, minutes)
    for run in RUNS[:3]:
        process(run, "b", "closed", after=UNTIL)
        process(run, "a", "closed", after=UNTIL)
        process(run, "a", "closed", after=UNTIL)
    process(RUNS[3], "a", "skipped", after=UNTIL)
    process(RUNS[3], "c", "closed", after=UNTIL)
    found = runs.closings(reader, ["a", "b"])
    expected = [(subject, run) for run in (RUNS[1], RUNS[2], RUNS[0]) for subject in "ab"]
    assert [(subject, closing.run.id) for subject, closing in found] == expected
    assert {closing.until for _, closing in found} == {NOON}


def test_items_are_in_the_order_of_their_chunks(reader, record, process):
    """The rows of a run are sorted by chunk and place. At most the given number of rows are returned."""
    for run in RUNS[:2]:
        record(run)
    for item, chunk, after in (("c", 1, "{}"), ("a", 0, None), ("b", 0, "{}"), ("d", 1, None)):
        process(RUNS[0], item, chunk=chunk, after=after)
    process(RUNS[1], "other")
    assert [item.item_id for item in runs.items(reader, RUNS[0], 9)] == ["a", "b", "c", "d"]
    assert [item.item_id for item in runs.items(reader, RUNS[0], 3)] == ["a", "b", "c"]
    assert [item.item_id for item in runs.items(reader, RUNS[0], 9, left=True)] == ["a", "d"]


@pytest.mark.parametrize("deed", RunAction)
@pytest.mark.parametrize("status", RunStatus)
def test_an_action_changes_only_a_run_whose_status_allows_it(reader, record, status, deed):
    """A cancelled or incomplete run is final: nobody can resume or cancel it. A run that is done cannot be cancelled.

    A run that is done keeps its status and its end if it is resumed. Other runs stay unchanged.
    """
    ended = status in {"done", "cancelled", "incomplete"}
    record(RUNS[0], status=status.value, finished=NOON if ended else None)
    record(RUNS[1], status="stopped", finished=None)
    allowed = not ended or (status, deed) == ("done", "resumed")
    assert runs.act(reader, RUNS[0], deed, ME, None) is allowed
    sql = "SELECT status, finished_at, jsonb_array_length(acts) FROM payctl.runs ORDER BY id"
    first, second = reader.exec_driver_sql(sql).all()
    assert tuple(second) == ("stopped", None, 0)
    assert first[2] == int(allowed)
    if ended:
        assert tuple(first[:2]) == (status.value, NOON)
    else:
        assert first[0] == {"resumed": "running", "cancelled": "cancelled"}[deed]
        assert (first[1] is None) is (deed == "resumed")


def test_a_run_that_has_ended_keeps_its_end(reader, record):
    """If a finished run is recorded as done again, its end time stays the same. Other runs stay unchanged."""
    record(RUNS[0])
    record(RUNS[1], status="stopped", finished=None)
    runs.update(reader, RUNS[0], RunStatus.DONE, {"requeued": 1})
    sql = "SELECT status, finished_at, counts FROM payctl.runs ORDER BY id"
    rows = [tuple(row) for row in reader.exec_driver_sql(sql)]
    assert rows == [("done", NOON, {"requeued": 1}), ("stopped", None, {})]
