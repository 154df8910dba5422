"""Test that the README's installation works and that its figures and exit codes are correct."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import IN_CI
from tests.docs.test_pictures import PICTURES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
NEEDED = ("ticketbottle_payctl", "lambda_entrypoints", "locks", "pyproject.toml", "README.md", "LICENSE")


def section(title):
    """Return the text of a README section."""
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.timeout(300)
def test_the_installation_of_the_readme_gives_a_working_payctl(tmp_path):
    """The commands in the README's Install section install payctl in a clone and verify a callback."""
    if importlib.util.find_spec("ensurepip") is None:
        reason = "this Python has no ensurepip, which is in Debian's package python3-venv"
        pytest.fail(reason, pytrace=False) if IN_CI else pytest.skip(reason)
    for name in NEEDED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)  # the machine's own python3 may be too old
    commands, verify = (block[2] for block in list(PICTURES.BLOCK.finditer(section("Install")))[:2])
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["/bin/bash", "-ec", f"{commands}\ncommand -v payctl\n{verify}"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "PIP_NO_COMPILE": "1"},  # this test loads few of the modules
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{tmp_path}/.venv/bin/payctl" in ran.stdout
    assert "✔ valid  ZaloPay" in ran.stdout


@pytest.mark.parametrize(("command", "file"), PICTURES.RUN_ELSEWHERE.items())
def test_a_command_that_does_not_run_here_runs_elsewhere(command, file):
    """If a command is not run with its page, the test file that is listed for the command contains it."""
    assert any(command in page.read_text("utf-8") for page in PICTURES.PAGES)
    assert (ROOT / file).resolve() == Path(__file__).resolve() or command in (ROOT / file).read_text("utf-8")


def test_the_benchmarks_are_those_of_the_newest_page():
    """Every benchmark figure in the README is on the newest benchmarks page, and the README links to that page."""
    pages = sorted((ROOT / "docs" / "benchmarks").glob("20*.md"))
    newest = pages[-1].read_text("utf-8")
    text = section("Benchmarks")
    assert f"[{pages[-1].name[:10]}](docs/benchmarks/{pages[-1].name})" in text
    figures = re.findall(r"\*\*([\d.,]+)\*\*", text)
    assert len(figures) >= 6
    assert [figure for figure in figures if not re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d,])", newest)] == []


def test_the_exit_codes_are_those_of_the_code():
    """The README's table of exit codes equals the generated table."""
    generated = (ROOT / "docs" / "reference" / "errors.md").read_text("utf-8")
    rows = re.findall(r"^\| \d+ \|.*\|$", section("Exit codes"), re.MULTILINE)
    assert rows == re.findall(r"^\| \d+ \| [^|]*\|$", generated, re.MULTILINE)


def test_ci_stops_the_tests_after_the_minutes_that_the_readme_names():
    """The time limit for `make test` in the README equals the time limit for the tests in CI."""
    limit = re.search(r"timeout-minutes: (\d+)", (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    assert f"the CI job times out after {limit[1]} minutes" in README


def test_the_readme_is_short():
    """The README has at most 160 lines. Details belong on a page in docs."""
    assert len(README.splitlines()) <= 160
