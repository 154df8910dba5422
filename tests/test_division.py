"""Test that CI divides the tests between a bare machine, a full machine and other interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import conftest, selection, summary
from tests.selection import SLOW_PROOFS
from tests.work_units import LONG, TOGETHER, put_long_ones_first, units

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

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "tests.selection", "-p", "tests.summary"]
PYTEST += ["-p", "no:hypothesispytest", "--import-mode=importlib"]
"""The command of pytest with the suite's hooks. tests/conftest.py would also load payctl and take twice as long."""

OF_SQL = """
import pytest

@pytest.mark.postgres
@pytest.mark.parametrize("number", [1, 2, 3])
def test_of_a_statement(number):
    pass
"""


@pytest.fixture
def ran(tmp_path):
    """Return a function that runs seven tests with options of the suite, and returns pytest's output."""
    (tmp_path / "test_some.py").write_text(TESTS, "utf-8")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "test_sql.py").write_text(OF_SQL, "utf-8")

    def run(*options):
        done = subprocess.run(
            [*PYTEST, "--rootdir", str(tmp_path), "-c", "/dev/null", *options, str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, check=False,
            env={name: value for name, value in os.environ.items() if name != "CI"},  # with CI, a skip fails the run
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("module", [selection, summary], ids=lambda module: module.__name__)
def test_the_suite_has_each_hook(module):
    """tests/conftest.py imports each hook of tests/selection.py and tests/summary.py."""
    hooks = {name: value for name, value in vars(module).items() if name.startswith("pytest_")}
    assert len(hooks) > 2
    assert {name: getattr(conftest, name, None) for name in hooks} == hooks


def test_a_skipped_test_is_listed_and_runs_elsewhere(ran, tmp_path):
    """`--skipped-to` writes test ids without xdist's groups.

    `--skipped-in` runs the listed tests and the tests of the store package's SQL.
    """
    skipped = tmp_path / "skipped"
    assert "6 passed, 1 skipped" in ran("--skipped-to", str(skipped), "-n", "2", "--dist", "loadgroup")
    assert skipped.read_text("utf-8") == "test_some.py::test_with_a_service[2]\n"
    assert "3 passed, 1 skipped, 3 deselected" in ran("--skipped-in", str(skipped))


@pytest.fixture
def sampled(tmp_path):
    """Return a function that runs `--sample` without naming tests. One of the seven tests is a slow proof."""
    proof = tmp_path / "tests" / SLOW_PROOFS[0]
    proof.parent.mkdir(parents=True)
    proof.write_text("def test_proof():\n    pass\n", "utf-8")
    (tmp_path / "tests" / "test_sql.py").write_text(OF_SQL, "utf-8")
    (tmp_path / "tests" / "test_some.py").write_text(TESTS, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\nmarkers =\n  postgres\n", "utf-8")

    def run(*options):
        done = subprocess.run(
            [*PYTEST, *options], cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**{name: value for name, value in os.environ.items() if name != "CI"}, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_make_test_leaves_out_slow_proofs_and_further_cases_with_postgres(sampled, workers):
    """`--sample` leaves out the slow proofs and the third case of a test with PostgreSQL, and says so at the end."""
    output = sampled("--sample", *workers)
    assert "5 passed, 1 skipped" in output
    assert "2 slow proofs and further cases were left out; make test-all runs them" in output


@pytest.mark.parametrize("named", ["tests/test_sql.py", "tests"])
def test_a_named_test_runs_with_all_cases(sampled, named):
    """`--sample` leaves out nothing if the command names tests."""
    output = sampled("--sample", named)
    assert ("3 passed" if named.endswith(".py") else "7 passed, 1 skipped") in output
    assert "left out" not in output


def test_ci_runs_each_test_that_make_test_leaves_out(sampled, tmp_path):
    """`--skipped-in` also runs the tests that `--sample` leaves out."""
    skipped = tmp_path / "skipped"
    sampled("--sample", "--skipped-to", str(skipped), "-n", "2", "--dist", "loadgroup")
    output = sampled("--skipped-in", str(skipped), "-vv")
    assert {"test_proof", "test_with_a_service[2]", "test_of_a_statement[3]"} == {
        line.split()[0].rpartition("::")[2] for line in output.splitlines() if "::" in line
    }


def test_each_slow_proof_is_a_file():
    """Each name in SLOW_PROOFS is the name of a test file."""
    assert [name for name in SLOW_PROOFS if not (ROOT / "tests" / name).is_file()] == []


def test_each_other_interpreter_runs_each_test_with_some_of_its_cases(ran):
    """`--cases` limits how many cases of each test run, as on the other interpreters in CI."""
    assert "3 passed, 4 deselected" in ran("--cases", "1")


def test_a_worker_gets_a_group_a_long_test_or_quick_tests_of_one_file_at_once():
    """A worker gets a group, a long test, or quick tests of one file at once.

    An @ in a parameter set does not create a group.
    """
    group = ["tests/a.py::test_x[1]@kafka", "tests/b.py::test_y@kafka"]
    long = [f"tests/{LONG[0]}test_a.py::test_{number}" for number in range(2)]
    quick = [f"tests/a.py::test_z[{number}@x]" for number in range(TOGETHER + 1)]
    other = ["tests/c.py::test_w"]
    assert [*units([*group, *long, *quick, *other])] == [
        group,
        *([each] for each in long),
        quick[:-1],
        quick[-1:],
        other,
    ]


def test_groups_and_long_tests_start_first():
    """The largest group starts first, then the long tests, then the others in their order."""

    def item(nodeid, *group):
        mark = pytest.mark.xdist_group(*group).mark if group else None
        return SimpleNamespace(nodeid=nodeid, get_closest_marker=lambda _name: mark)

    quick, small = [item("a"), item("b")], [item("c", "small")]
    large, long = [item("d", "large"), item("e", "large")], [item(f"tests/{LONG[0]}f")]
    items = [*quick, *small, *large, *long]
    put_long_ones_first(items)
    assert items == [*large, *small, *long, *quick]


def test_each_file_has_its_folder_s_fixtures_in_any_order_of_the_files(tmp_path):
    """A file has its folder's fixtures, even if a file of the parent folder is given between two such files."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "conftest.py").write_text("import pytest\n\n@pytest.fixture\ndef known():\n    pass\n", "utf-8")
    files = folder / "test_a.py", tmp_path / "test_between.py", folder / "test_b.py"
    for file in files:
        argument = "known" if file.parent == folder else ""
        file.write_text(f"def test_one({argument}):\n    pass\n", "utf-8")
    done = subprocess.run(
        [*PYTEST, "--rootdir", str(tmp_path), "-c", "/dev/null", *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "3 passed" in done.stdout
