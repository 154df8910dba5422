"""Test the repair of half-marked rows, which marks them as published and changes nothing else."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from ticketbottle_payctl.errors import GuardError
from ticketbottle_payctl.jobs.fix_published_flags import fix_published_flags, preview_published_flags
from ticketbottle_payctl.jobs.replay import cancel_run
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun

pytestmark = pytest.mark.postgres


def new_run():
    """Return a run that has not begun."""
    return NewRun(str(uuid4()), "doctor --fix-published-flags", Actor("me", "here"), reason="why")


def repair(engine, run=None, **options):
    """Make a plan for the repair and apply it."""
    return fix_published_flags(engine, preview_published_flags(engine), run or new_run(), **options)


@pytest.fixture
def half_marked(engine):
    """Insert 25 half-marked rows and three rows in each other state."""
    with engine.begin() as connection:
        insert_events(connection, 25, state="sent_unmarked", age=timedelta(days=3))
        for state in ("pending", "published", "dead"):
            insert_events(connection, 3, state=state)


@pytest.fixture
def rows(engine):
    """Return a function that returns two lists: every row's published flag, and every row's other columns."""

    def read():
        sql = "SELECT published, to_jsonb(o) - 'published' FROM outbox o ORDER BY id"
        with engine.begin() as connection:
            found = connection.exec_driver_sql(sql).all()
        return [row[0] for row in found], [row[1] for row in found]

    return read


@pytest.mark.usefixtures("half_marked")
def test_the_repair_changes_only_the_flag_of_half_marked_rows(engine, rows):
    """The repair changes only the published flag of half-marked rows, regardless of the batch size."""
    flags_before, others_before = rows()
    report = repair(engine, batch_size=10)
    assert (report.matched, report.repaired) == (25, 25)
    flags, others = rows()
    assert others == others_before
    assert (flags_before.count(True), flags.count(True)) == (3, 28)
    assert preview_published_flags(engine).matched == 0


@pytest.mark.usefixtures("half_marked")
def test_the_repair_records_the_rows_in_the_order_of_their_creation(engine, execute):
    """The record of a repair has the rows in the order in which they were created, in batches of the given size."""
    expected = execute(
        """SELECT id FROM outbox WHERE NOT published AND "publishedAt" IS NOT NULL ORDER BY "createdAt\""""
    )
    repair(engine, batch_size=10)
    assert execute("SELECT item_id FROM payctl.run_items ORDER BY chunk, place") == expected
    assert execute("SELECT place FROM payctl.run_items ORDER BY chunk, place") == [*range(10), *range(10), *range(5)]


@pytest.mark.usefixtures("half_marked")
def test_the_repair_changes_no_row_that_was_marked_after_the_plan(engine):
    """If a row became half-marked after the plan was made, the repair does not change it."""
    planned = preview_published_flags(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE outbox SET \"publishedAt\" = clock_timestamp() AT TIME ZONE 'UTC'"
            ' WHERE NOT published AND "publishedAt" IS NULL AND "retryCount" = 0'
        )
    assert fix_published_flags(engine, planned, new_run(), batch_size=10).repaired == 25
    assert preview_published_flags(engine).matched == 3


@pytest.mark.usefixtures("half_marked")
def test_the_repair_is_recorded_with_each_row(engine):
    """The repair of half-marked rows records its reason, and each row before and after the repair."""
    run = new_run()
    repair(engine, run, batch_size=10)
    with engine.begin() as connection:
        (recorded,) = runs.find(connection, run.id)
        items = runs.items(connection, run.id, 100)
    assert (recorded.status, recorded.reason, recorded.counts) == ("done", "why", {"matched": 25, "repaired": 25})
    assert len({item.item_id for item in items}) == 25
    assert all((item.before, item.after) == ({"published": False}, {"published": True}) for item in items)


@pytest.mark.usefixtures("half_marked")
def test_a_stopped_repair_is_continued_by_the_next_run(engine):
    """If the repair is stopped, its committed batches stay committed, and the next run repairs the remaining rows."""
    batches = []
    first = repair(engine, batch_size=10, done=batches.append, stopping=lambda: bool(batches))
    assert (first.repaired, batches) == (10, [10])
    with engine.begin() as connection:
        (recorded,) = runs.find(connection, first.run_id)
    assert recorded.status == "incomplete"
    assert repair(engine, batch_size=10).repaired == 15


@pytest.mark.usefixtures("half_marked")
def test_the_repair_skips_locked_rows(engine):
    """The repair of half-marked rows skips locked rows without waiting, and repairs all other rows."""
    with engine.begin() as holder:
        holder.exec_driver_sql(
            'SELECT 1 FROM outbox WHERE NOT published AND "publishedAt" IS NOT NULL ORDER BY id LIMIT 2 FOR UPDATE'
        )
        assert repair(engine, batch_size=10).repaired == 23
    assert preview_published_flags(engine).matched == 2


def test_a_repair_without_rows_is_not_recorded(engine):
    """If no row is half-marked, the repair does not record a run."""
    report = repair(engine)
    assert (report.matched, report.run_id) == (0, None)
    with engine.begin() as connection:
        assert runs.page(connection, 10) == []


@pytest.mark.usefixtures("half_marked")
def test_a_running_repair_cannot_be_cancelled_from_another_process(engine):
    """`payctl runs cancel` refuses to cancel a running repair, and the repair continues."""
    run = new_run()

    def found():
        with engine.connect() as connection:
            return runs.find(connection, run.id)[0]

    def cancel(_repaired):
        with pytest.raises(GuardError, match="this command cannot stop it"):
            cancel_run(engine, found(), Actor("somebody", "elsewhere"))

    planned = preview_published_flags(engine)
    assert fix_published_flags(engine, planned, run, batch_size=10, done=cancel).repaired == 25
    assert (found().status, found().acts) == ("done", ())
