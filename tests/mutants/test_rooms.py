"""Test that the rooms of ``make mutants`` contain each job, and that each room runs the tests of its jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.rooms import PACKAGE, ROOMS

ROOT = Path(__file__).parents[2]
JOBS = ROOT / PACKAGE / "jobs"
TESTS = (ROOT / "tests" / "jobs", ROOT / "tests" / "cli" / "commands")
"""The folders in which the name of a test file, or of a folder of tests, begins with the name of its job."""


def test_each_job_belongs_to_one_room():
    """Each folder and file in jobs belongs to exactly one room."""
    jobs = sorted(f"jobs/{path.name}" for path in JOBS.iterdir() if of_jobs(path))
    assert sorted(code for room in ROOMS for code in room.code if code.startswith("jobs/")) == jobs


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_each_path_of_a_room_exists(room):
    """A room's code exists, and each of its test paths is a test file or a folder with test files."""
    assert [code for code in room.code if not (ROOT / PACKAGE / code).exists()] == []
    assert [path for path in room.tests if not files_at(ROOT / path)] == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_runs_the_tests_that_are_named_after_its_jobs(room):
    """If a test file or its folder has the name of one of a room's jobs, the room runs this file."""
    jobs = tuple(f"{Path(code).stem}_" for code in room.code if code.startswith("jobs/"))
    named = [path for folder in TESTS for path in folder.iterdir() if name_of(path).startswith(jobs)]
    wanted = {file for path in named for file in files_at(path)}
    assert sorted(wanted - {file for path in room.tests for file in files_at(ROOT / path)}) == []


def test_each_test_of_a_job_runs_in_a_room_with_jobs():
    """A room with jobs runs each test file in tests/jobs."""
    paths = [path for room in ROOMS if room.code[0].startswith("jobs/") for path in room.tests]
    known = {file for path in paths for file in files_at(ROOT / path)}
    assert sorted(files_at(ROOT / "tests" / "jobs") - known) == []


def of_jobs(path):
    """Return whether a path is one job: a folder or a file, except for the folder's own file."""
    return path.name not in {"__init__.py", "__pycache__"} and (path.is_dir() or path.suffix == ".py")


def name_of(path):
    """Return the job's name from the name of a test file or folder, followed by an underscore."""
    return f"{path.stem.removeprefix('test_')}_"


def files_at(path):
    """Return the test files at a path, which is a file or a folder."""
    return {path} if path.is_file() else set(path.rglob("test_*.py"))
