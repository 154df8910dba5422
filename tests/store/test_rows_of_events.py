"""Test that the searches for events, runs and sessions find the right rows and leave out similar ones."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.db import short_ids
from ticketbottle_payctl.store.inspect.tables import owners
from ticketbottle_payctl.store.outbox import dead, held, shard_lock
from ticketbottle_payctl.store.outbox.replay import superseded_left
from ticketbottle_payctl.store.outbox.republished import requeued_before_s
from ticketbottle_payctl.store.payctl import runs

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)
RUNS = [str(UUID(int=number)) for number in range(1, 4)]
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
def record(engine):
    """Return a function that inserts a row into one of payctl's tables."""

    def insert(table, **values):
        marks = ", ".join(["%s"] * len(values))
        sql = f"INSERT INTO payctl.{table} ({', '.join(values)}) VALUES ({marks})"  # noqa: S608
        with engine.begin() as connection:
            connection.exec_driver_sql(sql, tuple(values.values()))

    return insert


@pytest.fixture
def recorded(record):
    """Return a function that inserts the record of a run."""

    def insert(run, at=NOON):
        record("runs", id=run, command="replay", status="done", os_user="ops", host="bastion", started_at=at)

    return insert


def test_runs_of_one_instant_are_sorted_by_their_id(engine, recorded):
    """A page of runs has the latest run first. If runs began at the same time, the highest id is first."""
    for run in RUNS:
        recorded(run)
    with engine.connect() as connection:
        assert [run.id for run in runs.page(connection, 9)] == RUNS[::-1]


def test_a_window_includes_its_first_instant_and_not_its_last(engine, recorded):
    """A window includes runs that began at its start but not at its end."""
    for hour, run in enumerate(RUNS[:2]):
        recorded(run, NOON + hour * HOUR)
    with engine.connect() as connection:
        assert [run.id for run in runs.between(connection, NOON, NOON + HOUR, 9)] == RUNS[:1]


def test_only_events_left_in_this_run_are_named_as_superseded(engine, recorded, record):
    """A run's superseded events are those in the chunks that are not applied yet."""
    applied, left, of_another = [Orders(engine).pay("COMPLETED").event("FAILED", "dead").events for _ in range(3)]
    for run in RUNS[:2]:
        recorded(run)
    for run, number, events, at in (
        (RUNS[0], 0, applied, NOON),
        (RUNS[0], 1, left, None),
        (RUNS[1], 0, of_another, None),
    ):
        record("run_chunks", run_id=run, number=number, event_ids=events, places="{}", versions="{}", applied_at=at)
    with engine.connect() as connection:
        assert [each.id for each in superseded_left(connection, RUNS[0])] == left


def test_an_event_that_was_not_requeued_has_no_time_of_a_requeueing(engine, record):
    """The time since an event's last requeueing is None if only other events were requeued."""
    for place, (name, outcome) in enumerate((("one", "requeued"), ("other", "skipped"))):
        record("run_items", run_id=RUNS[0], chunk=0, place=place, item_id=name, outcome=outcome)
    sql = "SELECT " + ", ".join(requeued_before_s(f"SELECT '{name}'") for name in ("one", "other"))
    with engine.connect() as connection:
        one, other = connection.exec_driver_sql(sql).one()
    assert (one >= 0, other) == (True, None)


def test_a_publisher_that_holds_both_locks_of_a_shard_is_one_holder(engine):
    """A session that holds both locks of a shard is listed once."""
    with engine.connect() as publisher, engine.connect() as other:
        shard_lock.enter(publisher, 0, 1, 0, "us")
        publisher.exec_driver_sql(f"SELECT {shard_lock.keeping(0, 1, 1)}")
        pid = publisher.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        assert [each.pid for each in shard_lock.holders(other, 0, 1)] == [pid]


def test_the_session_that_has_locked_an_event_is_named(engine):
    """Only the session that has locked an event's row is reported as the holder, even if other sessions write too."""
    event = Orders(engine).pay().event().events[0]
    with ExitStack() as opened:
        holder, reader, *writers = [opened.enter_context(engine.connect()) for _ in range(5)]
        holder.exec_driver_sql("SELECT id FROM outbox FOR UPDATE")
        pid = holder.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        for writer in writers:
            writer.exec_driver_sql("SELECT txid_current(), set_config('application_name', 'another', true)")
        found = held.blocking_events(reader, [event])[event]
    assert (found.locked_by, found.application, found.session_state) == (pid, "payctl", "idle in transaction")


def test_without_the_records_of_closings_no_event_counts_as_closed(engine):
    """If the role is not allowed to read the closing records, no superseded event counts as closed."""
    event = Orders(engine).pay("COMPLETED").event("FAILED", "dead").events[0]
    with engine.connect() as connection:
        found = dead.superseded(connection, 5, dead.Rights(payments=True, closings=False))
    assert (found.events, found.closed, list(found.ids)) == (1, 0, [event])


def test_the_owner_of_one_of_payctl_s_tables_is_the_owner_of_this_table(engine, execute):
    """The owner of a table in payctl's schema is not confused with another table's owner."""
    execute("ALTER TABLE payctl.runs OWNER TO pg_monitor")
    with engine.connect() as connection:
        assert owners(connection, ["payctl.runs"]) == {"payctl.runs": "pg_monitor"}
        assert owners(connection, ["payctl.run_items"]) != {"payctl.run_items": "pg_monitor"}


def test_a_whole_id_that_begins_another_id_stays_as_it_is(engine):
    """An existing id is a complete id, even if it is also the prefix of a longer id."""
    orders = Orders(engine).pay()
    for name in ("abcdefgh", "abcdefgh-2"):
        orders.event(id=name)
    with engine.connect() as connection:
        assert short_ids.whole(connection, "outbox", ["abcdefgh"]) == ("abcdefgh",)
        assert short_ids.whole(connection, "outbox", ["abcdefgh-"]) == ("abcdefgh-2",)
