"""The life of a recorded run: what its record says, however the work ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

import ticketbottle_payctl
from ticketbottle_payctl.errors import InputError, LockedError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.run_lifecycle import open_run
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
    """A run about to begin."""
    return NewRun(str(uuid4()), command, ME)


def fail(engine, run, error, *, cut=False, **counts):
    """Run a command that has done some work when it raises; with ``cut`` after its sessions were ended."""
    with open_run(engine, run, Limits()) as opened:
        opened.counts |= counts
        if cut:
            with engine.connect() as connection:
                connection.exec_driver_sql(CUT)
        raise error


def recorded(engine, run):
    """What the record says of it now."""
    with transaction(engine, Limits(), commit=False) as connection:
        (found,) = runs.find(connection, run.id)
    return found


@pytest.mark.parametrize(
    ("status", "finished"),
    [(RunStatus.DONE, True), (RunStatus.INCOMPLETE, True), (RunStatus.STOPPED, False), (RunStatus.INTERRUPTED, False)],
)
def test_a_run_ends_as_its_command_says(engine, status, finished):
    """A run that can be resumed has no end yet."""
    run = new_run()
    with open_run(engine, run, Limits()) as opened:
        assert recorded(engine, run).status == "running"
        opened.end(status, {"deleted": 5})
    found = recorded(engine, run)
    assert (found.status, dict(found.counts), found.finished_at is not None) == (status.value, {"deleted": 5}, finished)


@pytest.mark.parametrize("error", [InputError("no"), KeyboardInterrupt(), RuntimeError("a bug")])
def test_a_run_that_raises_is_interrupted_and_keeps_its_counts(engine, error):
    """Whatever ends the work, the record says how far it came, and the error is not hidden."""
    run = new_run()
    with pytest.raises(type(error)):
        fail(engine, run, error, deleted=7)
    found = recorded(engine, run)
    assert (found.status, dict(found.counts)) == ("interrupted", {"deleted": 7})


def test_a_run_that_is_killed_is_interrupted(engine, database_url):
    """Nothing is left to write the end, but the lock is gone with the process."""
    run = new_run()
    command = [sys.executable, "-c", KILLED, database_url, run.id]
    assert subprocess.run(command, check=False, timeout=30).returncode == -signal.SIGKILL
    assert recorded(engine, run).status == "interrupted"


def test_a_run_whose_connections_are_cut_is_interrupted(engine):
    """The database ends every session: the record is read as interrupted and the error is the work's."""
    run = new_run()
    with pytest.raises(RuntimeError, match="the work failed"):
        fail(engine, run, RuntimeError("the work failed"), cut=True)
    assert recorded(engine, run).status == "interrupted"


def test_what_is_written_with_the_beginning_is_written_or_nothing_is(engine):
    """A plan that cannot be stored leaves no run behind."""
    run = new_run("replay")

    def fails(_connection):
        message = "no plan"
        raise InputError(message)

    with pytest.raises(InputError), open_run(engine, run, Limits(), also=fails):
        pass
    with transaction(engine, Limits(), commit=False) as connection:
        assert runs.find(connection, run.id) == []


def test_a_run_is_not_run_twice_at_once(engine):
    """The lock refuses the second process before it writes anything."""
    run = new_run()
    with open_run(engine, run, Limits()) as opened:
        with pytest.raises(LockedError), open_run(engine, run, Limits()):
            pass
        opened.end(RunStatus.DONE)
    assert recorded(engine, run).status == "done"


def test_a_run_that_was_cancelled_stays_cancelled(engine):
    """Somebody decided so while it was running."""
    run = new_run("replay")
    with open_run(engine, run, Limits()) as opened:
        with transaction(engine, Limits()) as connection:
            assert runs.act(connection, run.id, RunAction.CANCELLED, ME, "wrong ones")
        opened.end(RunStatus.DONE)
    assert recorded(engine, run).status == "cancelled"


def test_an_incomplete_run_cannot_be_cancelled_any_more(engine):
    """It has ended; the command's next run does the rest."""
    run = new_run()
    with open_run(engine, run, Limits()) as opened:
        opened.end(RunStatus.INCOMPLETE)
    with transaction(engine, Limits()) as connection:
        assert not runs.act(connection, run.id, RunAction.CANCELLED, ME, None)
    assert recorded(engine, run).status == "incomplete"


def test_every_command_that_records_a_run_uses_this_one_life():
    """Nobody else begins or ends a run: replay, clean-up, reconcile and the repair of flags share it."""
    users, others = set(), set()
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text("utf-8")
        name = file.relative_to(PACKAGE).as_posix()
        if "import" in text and re.search(r"run_lifecycle import .*open", text):
            users.add(name.split("/")[1].removesuffix(".py"))
        if re.search(r"\bruns\.start\(|\bat_work\(", text) and name not in {
            "store/payctl/run_lifecycle.py",
            "store/payctl/run_lock.py",
        }:
            others.add(name)
    assert (users, others) == ({"replay", "cleanup", "reconcile", "fix_published_flags"}, set())
