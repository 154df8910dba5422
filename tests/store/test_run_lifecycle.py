"""Test the record of a run that finished, failed or was killed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

import ticketbottle_payctl
from ticketbottle_payctl.errors import GuardError, InputError, LockedError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.run_lifecycle import open_run, optional_run
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun, RunAction, RunStatus

ME = Actor("tester", "here")
CUT = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""
PACKAGE = Path(ticketbottle_payctl.__file__).parent
KILLED = """
import os, signal, sys
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import Limits, make_engine
from ticketbottle_payctl.store.payctl.run_lifecycle import open_run
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun
engine = make_engine(DatabaseSettings(Secret(sys.argv[1])))
with open_run(engine, NewRun(sys.argv[2], "cleanup", Actor("tester", "here")), Limits()):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def new_run(command="cleanup"):
    """Return a run that has not begun."""
    return NewRun(str(uuid4()), command, ME)


def fail(engine, run, error, *, cut=False, **counts):
    """Run a command that raises ``error`` after some work. With ``cut``, first end all other database sessions."""
    with open_run(engine, run, Limits()) as opened:
        opened.counts |= counts
        if cut:
            with engine.connect() as connection:
                connection.exec_driver_sql(CUT)
        raise error


def recorded(engine, run):
    """Return the run's current record."""
    with transaction(engine, Limits(), commit=False) as connection:
        (found,) = runs.find(connection, run.id)
    return found


@pytest.mark.parametrize(
    ("status", "finished"),
    [(RunStatus.DONE, True), (RunStatus.INCOMPLETE, True), (RunStatus.STOPPED, False), (RunStatus.INTERRUPTED, False)],
)
def test_a_run_is_recorded_with_the_status_that_its_command_gives(engine, status, finished):
    """A run is recorded with the status that its command returns. A run that can be resumed has no finished_at."""
    run = new_run()
    with open_run(engine, run, Limits()) as opened:
        assert recorded(engine, run).status == "running"
        opened.end(status, {"deleted": 5})
    found = recorded(engine, run)
    assert (found.status, dict(found.counts), found.finished_at is not None) == (status.value, {"deleted": 5}, finished)


@pytest.mark.parametrize("error", [InputError("no"), KeyboardInterrupt(), RuntimeError("a bug")])
def test_a_run_that_raises_is_interrupted_and_keeps_its_counts(engine, error):
    """If a run's command raises an error, the run is recorded as interrupted, with its counts.

    The error is re-raised.
    """
    run = new_run()
    with pytest.raises(type(error)):
        fail(engine, run, error, deleted=7)
    found = recorded(engine, run)
    assert (found.status, dict(found.counts)) == ("interrupted", {"deleted": 7})


def test_a_run_that_is_killed_is_interrupted(engine, database_url):
    """PostgreSQL frees a killed process's lock, so the process's run is shown as interrupted."""
    run = new_run()
    command = [sys.executable, "-c", KILLED, database_url, run.id]
    assert subprocess.run(command, check=False, timeout=30).returncode == -signal.SIGKILL
    assert recorded(engine, run).status == "interrupted"


def test_a_run_whose_connections_are_cut_is_interrupted(engine):
    """If the database ends every session, the run is shown as interrupted, and the command raises the error."""
    run = new_run()
    with pytest.raises(RuntimeError, match="the work failed"):
        fail(engine, run, RuntimeError("the work failed"), cut=True)
    assert recorded(engine, run).status == "interrupted"


def test_a_run_whose_plan_cannot_be_stored_is_not_recorded(engine):
    """A run and its plan are stored in one transaction, so a plan that cannot be stored leaves no record of a run."""
    run = new_run("replay")

    def fails(_connection):
        message = "no plan"
        raise InputError(message)

    with pytest.raises(InputError), open_run(engine, run, Limits(), also=fails):
        pass
    with transaction(engine, Limits(), commit=False) as connection:
        assert runs.find(connection, run.id) == []


def test_a_run_cannot_be_executed_twice_at_the_same_time(engine):
    """A second process that opens the same run is refused before it writes anything."""
    run = new_run()
    with open_run(engine, run, Limits()) as opened:
        with pytest.raises(LockedError), open_run(engine, run, Limits()):
            pass
        opened.end(RunStatus.DONE)
    assert recorded(engine, run).status == "done"


UNWRITABLE = {
    "the table is missing": "ALTER TABLE payctl.runs RENAME TO gone",
    "the schema is missing": "ALTER SCHEMA payctl RENAME TO gone",
    "every write is refused": """
        CREATE FUNCTION payctl.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE insufficient_privilege USING MESSAGE = 'read-only'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON payctl.runs EXECUTE FUNCTION payctl.refuse()""",
}


@pytest.mark.parametrize("how", UNWRITABLE)
def test_work_with_an_optional_record_goes_on_without_it(engine, execute, how):
    """If an optional run record cannot be written at the start, the work is still done. The record contains no id."""
    execute(UNWRITABLE[how])
    done = []
    with optional_run(engine, new_run(), Limits()) as record:
        done.append(record.id)
        record.end(RunStatus.DONE, {"settled": 1})
    assert (done, record.unrecorded.run_id) == ([None], None)


@pytest.mark.parametrize("how", UNWRITABLE)
def test_work_with_an_optional_record_is_done_even_if_its_end_cannot_be_recorded(engine, execute, how):
    """If an optional run record becomes unwritable during the work, the work does not raise an error.

    Then ``record.id`` is None, and ``record.unrecorded`` names the run that was not finished.
    """
    run = new_run()
    with optional_run(engine, run, Limits()) as record:
        execute(UNWRITABLE[how])
        record.end(RunStatus.DONE, {"settled": 1})
    assert (record.id, record.unrecorded.run_id) == (None, run.id)


def test_work_that_a_check_refuses_is_not_recorded(engine, execute):
    """If the check before an optional run raises an error, the error is passed on and the run is not recorded."""

    def refuse(_connection):
        message = "not now"
        raise GuardError(message)

    with pytest.raises(GuardError, match="not now"), optional_run(engine, new_run(), Limits(), check=refuse):
        pass
    assert execute("SELECT * FROM payctl.runs") == []


@pytest.mark.parametrize("error", [InputError("no"), KeyboardInterrupt()])
def test_work_with_an_optional_record_that_raises_is_interrupted(engine, error):
    """If the work raises an error, a run with an optional record is recorded as interrupted. The error is re-raised."""
    run = new_run()
    with pytest.raises(type(error)), optional_run(engine, run, Limits()):
        raise error
    assert recorded(engine, run).status == "interrupted"


def test_without_a_run_nothing_is_recorded(engine, execute):
    """The webhook function and the scheduled publisher do not pass a run, so no run is recorded."""
    with optional_run(engine, None, Limits()) as record:
        record.end(RunStatus.DONE, {})
    assert (record.id, record.unrecorded, execute("SELECT * FROM payctl.runs")) == (None, None, [])


def test_a_run_that_was_cancelled_stays_cancelled(engine):
    """If an operator cancels a running run, its status is still cancelled when the work ends."""
    run = new_run("replay")
    with open_run(engine, run, Limits()) as opened:
        with transaction(engine, Limits()) as connection:
            assert runs.act(connection, run.id, RunAction.CANCELLED, ME, "wrong ones")
        opened.end(RunStatus.DONE)
    assert recorded(engine, run).status == "cancelled"


def test_an_incomplete_run_cannot_be_cancelled(engine):
    """An incomplete run has ended and cannot be cancelled. The next run of the same command does the remaining work."""
    run = new_run()
    with open_run(engine, run, Limits()) as opened:
        opened.end(RunStatus.INCOMPLETE)
    with transaction(engine, Limits()) as connection:
        assert not runs.act(connection, run.id, RunAction.CANCELLED, ME, None)
    assert recorded(engine, run).status == "incomplete"


def test_every_command_that_records_a_run_uses_the_same_lifecycle():
    """Every job that records a run uses run_lifecycle, and no other file starts a run."""
    users, others = set(), set()
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text("utf-8")
        name = file.relative_to(PACKAGE).as_posix()
        if re.search(r"run_lifecycle import .*(open|optional)_run", text):
            users.add(name.split("/")[1].removesuffix(".py"))
        if re.search(r"\bruns\.start\(|\bat_work\(", text) and name not in {
            "store/payctl/run_lifecycle.py",
            "store/payctl/run_lock.py",
        }:
            others.add(name)
    assert users == {
        "replay", "cleanup", "close_event", "reconcile", "fix_published_flags", "process_webhook", "publish_outbox",
        "cdc", "order",
    }  # fmt: skip
    assert not others


@pytest.mark.parametrize(
    ("began", "ended", "inside"),
    [
        (0, 1, True),
        (-1, 0, True),
        (-1, -0.1, False),
        (-1, None, False),
        (1.9, None, True),
        (1.9, 3, True),
        (2, 3, False),
        (-1, 2, False),
        (-1, 1.9, True),
    ],
)
def test_a_run_is_in_a_window_if_it_began_or_ended_there(engine, began, ended, inside):
    """A run is in a window if it began or ended there. The window includes its start but not its end.

    The test's parameters are hours after the window's start.
    """
    since = datetime(2026, 11, 23, 10, tzinfo=UTC)
    run = new_run()
    with open_run(engine, run, Limits()):
        pass
    at = [None if hours is None else since + timedelta(hours=hours) for hours in (began, ended)]
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE payctl.runs SET started_at = %s, finished_at = %s", tuple(at))
        found = runs.between(connection, since, since + timedelta(hours=2), 10)
    assert [one.id for one in found] == [run.id] * inside


def test_a_count_is_added_to_one_run(engine):
    """A new count replaces the run's count with this name. Its other counts and other runs stay unchanged."""
    first, second = new_run(), new_run()
    for run in (first, second):
        with open_run(engine, run, Limits()):
            pass
    with transaction(engine, Limits()) as connection:
        for run, counts in ((first, {"deleted": 3, "remaining": 2}), (second, {"left": 4}), (first, {"remaining": 1})):
            runs.count(connection, run.id, counts)
    assert [recorded(engine, run).counts for run in (first, second)] == [{"deleted": 3, "remaining": 1}, {"left": 4}]
