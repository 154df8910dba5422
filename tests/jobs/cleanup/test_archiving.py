"""Test that a cleanup's archive contains exactly the deleted events, even if the cleanup is killed."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from ticketbottle_payctl.archive_file import read
from ticketbottle_payctl.errors import InputError, UnavailableError

OLD = timedelta(days=8)

KILLED = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from ticketbottle_payctl.jobs.cleanup import cleanup
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.outbox import retention as store
from ticketbottle_payctl.archive_file import Archive
from ticketbottle_payctl.store.db.engine import make_engine

added, calls = Archive.add, []

def add(self, lines):
    calls.append(1)
    if len(calls) == 2 and sys.argv[3] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    added(self, lines)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

Archive.add = add
engine = make_engine(DatabaseSettings(Secret(sys.argv[1])))
cleanup(engine, retention=timedelta(days=7), max_retries=5, batch_size=2, archive=Path(sys.argv[2]))
"""


@pytest.fixture
def path(tmp_path):
    """Return a path for a new archive."""
    return tmp_path / "events.ndjson.gz"


@pytest.fixture
def rows(engine):
    """Return a function that returns the outbox's rows as a dictionary of JSON objects, keyed by id."""

    def run():
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT row_to_json(o)::text FROM outbox AS o").scalars()
            return {row["id"]: row for row in map(json.loads, found)}

    return run


@pytest.fixture
def killed(path, database_url):
    """Return a function that kills a cleanup at a given point of its second batch, and returns the archive's path."""

    def run(moment):
        arguments = [sys.executable, "-c", KILLED, database_url, path, moment]
        assert subprocess.run(arguments, check=False, timeout=60).returncode == -signal.SIGKILL
        return path

    return run


def test_the_archive_has_exactly_the_deleted_events(clean, insert, rows, path):
    """A cleanup's archive contains exactly the deleted events, with every column."""
    insert(5, state="published", age=OLD)
    insert(2, state="sent_unmarked", age=OLD)
    before = rows()
    insert(3, state="published", age=timedelta(days=1))
    report = clean(archive=path, batch_size=2)
    assert (report.deleted, report.archived, len(rows())) == (7, 7, 3)
    assert {event["id"]: event for event in read(path)} == before


def test_an_archive_can_be_inserted_again(clean, insert, engine, rows, path):
    """PostgreSQL can insert each line of a cleanup's archive, and the result equals the deleted row."""
    insert(3, state="published", age=OLD)
    before = rows()
    clean(archive=path)
    with engine.begin() as connection:
        for event in read(path):
            sql = "INSERT INTO outbox SELECT * FROM json_populate_record(NULL::outbox, %(row)s)"
            connection.exec_driver_sql(sql, {"row": json.dumps(event)})
    assert rows() == before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_killed_cleanup_loses_no_event(clean, insert, rows, killed, moment):
    """If a cleanup is killed, every event is in the outbox or the archive, and at most one batch is in both."""
    insert(6, state="published", age=OLD)
    before = rows()
    path = killed(moment)
    kept = [event["id"] for event in read(path)]
    assert (len(kept), len(rows())) == (2 if moment == "before" else 4, 4)
    assert set(kept) | rows().keys() == before.keys()
    clean(archive=path, batch_size=2)
    assert rows() == {}
    assert {event["id"]: event for event in read(path)} == before


def test_events_that_cannot_be_archived_are_not_deleted(clean, insert, rows, path):
    """If the disk is full, a cleanup stops and deletes only events that are in the archive."""
    insert(4, state="published", age=OLD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    done = []

    def fill(swept):
        done.append(swept.deleted)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))

    try:
        with pytest.raises(UnavailableError, match="cannot be written"):
            clean(archive=path, batch_size=2, done=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (done, len(rows()), len(list(read(path)))) == ([2], 2, 2)


def test_a_file_that_is_not_an_archive_stops_the_cleanup(clean, insert, rows, path):
    """If the file at the archive's path is not an archive, the cleanup raises InputError and deletes nothing."""
    insert(2, state="published", age=OLD)
    path.write_text("precious")
    with pytest.raises(InputError):
        clean(archive=path)
    assert len(rows()) == 2


def test_a_cleanup_that_deletes_nothing_adds_nothing_to_the_archive(clean, insert, path):
    """If a cleanup deletes nothing, it does not change the archive."""
    insert(2, state="published", age=timedelta(days=8))
    clean(archive=path)
    size = path.stat().st_size
    assert clean(archive=path).archived == 0
    assert path.stat().st_size == size


def test_a_dry_run_of_the_cleanup_creates_no_archive(clean, insert, path):
    """A dry run of a cleanup does not create an archive."""
    insert(2, state="published", age=OLD)
    assert clean(archive=path, dry_run=True).archived == 0
    assert not path.exists()
