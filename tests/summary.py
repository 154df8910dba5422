"""Report which services the tests used, and which tests were skipped. ``tests/conftest.py`` imports these hooks."""

from __future__ import annotations

import os
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from tests.selection import without_group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xdist.workermanage import WorkerController

IN_CI = os.environ.get("CI") == "true"
GUIDED = "tests/add_a_gateway/"
"""The tests whose failures are steps of the contributors' guide."""

ran: Counter[str] = Counter()
left_out: list[int] = []
"""The number of deselected tests, once per worker."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the services that each test used, including tests in other workers."""
    if report.when == "call" and not report.skipped:
        ran.update(str(service) for name, service in report.user_properties if name == "service")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    """Note how many tests a worker deselected. All workers deselect the same tests."""
    left_out.append(getattr(node, "workeroutput", {}).get("left_out", 0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests used each service, so that a developer notices tests that did not run.

    Print what a new gateway lacks, one line for each part.
    """
    failed = terminalreporter.stats.get("failed", [])
    guided = [each.longreprtext.splitlines() for each in failed if each.nodeid.startswith(GUIDED)]
    for line in dict.fromkeys(chain.from_iterable(guided)):
        terminalreporter.write_line(line)
    services = ", ".join(f"{service} {number} tests" for service, number in sorted(ran.items()))
    terminalreporter.write_line(f"services: {services or 'none'}")
    number = max([*left_out, len(terminalreporter.stats.get("deselected", []))])
    if terminalreporter.config.getoption("sample") and number:
        terminalreporter.write_line(f"{number} slow proofs and further cases were left out; make test-all runs them")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """In CI, fail the run if a test was skipped.

    Print how many tests were skipped and which programs the tests need.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if IN_CI and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    file = session.config.getoption("skipped_to")
    if file is not None and reporter is not None:
        file.write_text("".join(f"{without_group(report.nodeid)}\n" for report in skipped), "utf-8")
    yield
    for reason, number in Counter(str(report.longrepr[2]) for report in skipped).most_common()[::-1]:
        what = "skipped, which is a failure in CI" if IN_CI else "skipped"
        reporter.write_line(f"{number} {what}: {reason.removeprefix('Skipped: ')}", red=IN_CI, yellow=not IN_CI)
