"""Record the duration of each test that passes. This is a pytest plugin."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

_seconds: Counter[str] = Counter()
_not_passed: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up the durations of a test and its fixtures."""
    name = re.sub(r"@\w+$", "", report.nodeid)
    _seconds[name] += report.duration
    if not report.passed:
        _not_passed.add(name)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the durations file, but only in the process that collects the workers' reports."""
    if not hasattr(session.config, "workerinput"):
        passed = {name: seconds for name, seconds in _seconds.items() if name not in _not_passed}
        Path(os.environ["MUTANTS_DURATIONS"]).write_text(json.dumps(passed), "utf-8")
