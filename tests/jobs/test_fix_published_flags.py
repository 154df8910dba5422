"""Rows that the replaced service left half marked become published; nothing is sent, nothing else changes."""

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
    """A run of somebody."""
    return NewRun(str(uuid4()), "doctor --fix-published-flags", Actor("me", "here"), reason="why")


def repair(engine, run=None, **options):
    """Plan and repair at once."""
    return fix_published_flags(engine, preview_published_flags(engine), run or new_run(), **options)


@pytest.fixture
def half_marked(engine):
    """Twenty-five half-marked rows, three of each other kind."""
    with engine.begin() as connection:
        insert_events(connection, 25, state="sent_unmarked", age=timedelta(days=3))
        for state in ("pending", "published", "dead"):
            insert_events(connection, 3, state=state)


@pytest.fixture
def rows(engine):
    """Every row's flag, and every row without it."""

    def read():
        sql = "SELECT published, to_jsonb(o) - 'published' FROM outbox o ORDER BY id"
        with engine.begin() as connection:
            found = connection.exec_driver_sql(sql).all()
        return [row[0] for row in found], [row[1] for row in found]

    return read


@pytest.mark.usefixtures("half_marked")
def test_only_the_flag_of_those_rows_changes(engine, rows):
    """Whatever the size of a batch, every half-marked row is repaired and no other is touched."""
    flags_before, others_before = rows()
    report = repair(engine, batch_size=10)
    assert (report.matched, report.repaired) == (25, 25)
    flags, others = rows()
    assert others == others_before
    assert (flags_before.count(True), flags.count(True)) == (3, 28)
    assert preview_published_flags(engine).matched == 0


@pytest.mark.usefixtures("half_marked")
def test_what_was_sent_after_the_plan_is_not_in_it(engine):
    """Rows that become half marked while the question stands were not approved."""
    planned = preview_published_flags(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE outbox SET \"publishedAt\" = clock_timestamp() AT TIME ZONE 'UTC'"
            ' WHERE NOT published AND "publishedAt" IS NULL AND "retryCount" = 0'
        )
    assert fix_published_flags(engine, planned, new_run(), batch_size=10).repaired == 25
    assert preview_published_flags(engine).matched == 3


@pytest.mark.usefixtures("half_marked")
def test_the_run_and_each_row_are_recorded(engine):
    """Who, why, and before and after of each row, in order."""
    run = new_run()
    repair(engine, run, batch_size=10)
    with engine.begin() as connection:
        (recorded,) = runs.find(connection, run.id)
        items = runs.items(connection, run.id, 100)
    assert (recorded.status, recorded.reason, recorded.counts) == ("done", "why", {"matched": 25, "repaired": 25})
    assert len({item.item_id for item in items}) == 25
    assert all((item.before, item.after) == ({"published": False}, {"published": True}) for item in items)


@pytest.mark.usefixtures("half_marked")
def test_stopped_it_goes_on_when_run_again(engine):
    """What was committed stays; the next run repairs the rest."""
    batches = []
    first = repair(engine, batch_size=10, done=batches.append, stopping=lambda: bool(batches))
    assert (first.repaired, batches) == (10, [10])
    with engine.begin() as connection:
        (recorded,) = runs.find(connection, first.run_id)
    assert recorded.status == "incomplete"
    assert repair(engine, batch_size=10).repaired == 15


@pytest.mark.usefixtures("half_marked")
def test_a_row_that_somebody_holds_is_left_for_later(engine):
    """Nobody is waited for, and the others are repaired."""
    with engine.begin() as holder:
        holder.exec_driver_sql(
            'SELECT 1 FROM outbox WHERE NOT published AND "publishedAt" IS NOT NULL ORDER BY id LIMIT 2 FOR UPDATE'
        )
        assert repair(engine, batch_size=10).repaired == 23
    assert preview_published_flags(engine).matched == 2


def test_nothing_to_repair_leaves_no_run(engine):
    """A run that did nothing is not worth a record."""
    report = repair(engine)
    assert (report.matched, report.run_id) == (0, None)
    with engine.begin() as connection:
        assert runs.page(connection, 10) == []


@pytest.mark.usefixtures("half_marked")
def test_a_repair_at_work_is_not_called_cancelled(engine):
    """It would not notice: whoever tries is told where it runs, and it goes on to its end."""
    run = new_run()

    def found():
        with engine.connect() as connection:
            return runs.find(connection, run.id)[0]

    def cancel(_repaired):
        with pytest.raises(GuardError, match="cannot be cancelled from elsewhere"):
            cancel_run(engine, found(), Actor("somebody", "elsewhere"))

    planned = preview_published_flags(engine)
    assert fix_published_flags(engine, planned, run, batch_size=10, done=cancel).repaired == 25
    assert (found().status, found().acts) == ("done", ())
