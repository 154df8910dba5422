"""Try one mutant by running its tests in a worker's copy of the project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.mutants.tests_of import Test

LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "__pycache__", "*.egg-info", "pictures")


class Worker:
    """A copy of the project in ``tree``, and a process that runs tests in this copy.

    ``unsteady`` has tests that also failed without a mutant. The failures of these tests are ignored.
    """

    def __init__(self, tree: Path, unsteady: set[str]) -> None:
        self._tree, self._unsteady = tree, unsteady

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.worker"],
            cwd=self._tree,
            env={name: value for name, value in os.environ.items() if name != "CI"} | {"PYTHONPATH": str(self._tree)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()

    def noticed_by(self, file: str, source: str, tests: Sequence[Test]) -> str | None:
        """Return the test that notices a mutant, or None.

        If a slow test fails or a test times out, the machine's load might be the cause. The tests must therefore pass
        without the mutant.
        """
        while True:
            steady = [test for test in tests if test.id not in self._unsteady]
            failed = self._ask({"file": file, "source": source, "calls": _calls(steady)})
            if failed is None:
                return None
            doubtful = [test for test in steady if test.id == failed and test.seconds > _QUICK]
            if failed in {"time-out", "the test process ended early"}:
                doubtful = steady
            if not doubtful:
                return failed
            failed_without = self._ask({"file": file, "calls": _calls(doubtful)})
            if failed_without is None:
                return failed
            if failed_without not in {test.id for test in steady}:
                return None
            self._unsteady.add(failed_without)

    def _ask(self, task: dict[str, Any]) -> str | None:
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if answer["failed"] or answer["code"] in {0, 5}:
            return answer["failed"]
        return "start of pytest"


_QUICK = 1.0
"""A limit in seconds. A slower test may wait for something, so its result may depend on the machine's load."""


def _calls(tests: Sequence[Test]) -> list[dict[str, Any]]:
    """Return the arguments for the pytest runs, one run for each folder."""
    folders = dict.fromkeys(test.folder for test in tests)
    calls = []
    for folder in folders:
        some = [test for test in tests if test.folder == folder]
        calls.append(
            {
                "files": sorted({test.file for test in some}),
                "limits": {test.id: round(15 + 10 * test.seconds, 1) for test in some},
                "deadline": round(90 + 6 * sum(test.seconds for test in some), 1),
            }
        )
    return calls


def copied(root: Path, tree: Path) -> Path:
    """Copy the project to ``tree`` and replace the old content. The files keep their modification times."""
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(root, tree, ignore=LEFT_OUT, symlinks=True)
    return tree
