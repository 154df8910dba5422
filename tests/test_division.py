"""Test how CI divides the tests between a bare machine, a full machine and other interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = """
import pytest

@pytest.mark.xdist_group("service")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_with_a_service(number):
    number == 2 and pytest.skip("missing")

def test_without():
    pass
"""

OF_SQL = """
import pytest

@pytest.mark.postgres
@pytest.mark.parametrize("number", [1, 2, 3])
def test_of_a_statement(number):
    pass
"""


@pytest.fixture
def ran(tmp_path):
    """Return ``ran("--cases", "2")``, which runs seven tests with the suite's options and returns pytest's output."""
    (tmp_path / "test_some.py").write_text(TESTS, "utf-8")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "test_sql.py").write_text(OF_SQL, "utf-8")

    def run(*options):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "--import-mode=importlib"]
        done = subprocess.run(
            [*command, "--rootdir", str(tmp_path), "-c", "/dev/null", *options, str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, check=False,
            env={name: value for name, value in os.environ.items() if name != "CI"},  # a skip fails the run there
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_a_skipped_test_is_listed_and_runs_elsewhere(ran, tmp_path):
    """`--skipped-to` writes test ids without xdist's groups.

    `--skipped-in` runs the listed tests and two cases of each SQL test.
    """
    skipped = tmp_path / "skipped"
    assert "6 passed, 1 skipped" in ran("--skipped-to", str(skipped), "-n", "1", "--dist", "loadgroup")
    assert skipped.read_text("utf-8") == "test_some.py::test_with_a_service[2]\n"
    assert "2 passed, 1 skipped, 4 deselected" in ran("--skipped-in", str(skipped))


def test_a_sample_runs_each_test_with_some_of_its_cases(ran):
    """`--cases` limits how many cases of each test run, as on the other interpreters in CI."""
    assert "3 passed, 4 deselected" in ran("--cases", "1")
