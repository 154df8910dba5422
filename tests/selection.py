"""Choose the tests of a run, and decide which tests one worker runs. ``tests/conftest.py`` imports these hooks."""

from __future__ import annotations

import gc
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.work_units import WorkUnits, put_long_ones_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xdist.remote import Producer

GROUPS = {
    "kafka_server": "kafka",
    "container": "container",
    "built": "package",
    "gateway_libraries": "node",
    **dict.fromkeys(("browser", "site", "draft"), "browser"),
    "cloud_server": "cloud",
}
"""The group of each fixture that is slow to set up. All tests in a group run in one worker and share the fixture."""

WITH_SECOND_KAFKA = ("jobs/", "broker/", "lambda_entrypoints/")
"""The folders whose tests share a second Apache Kafka.

If one worker ran all tests with Kafka, these tests would end last.
"""

KAFKA_SECONDS = 180
"""Timeout, in seconds, for a test that uses Apache Kafka. The first such test downloads the jars.

pyproject.toml has the timeout for all other tests.
"""

ON_EACH_SERVER = ("store/", "jobs/", "cdc/", "database_roles/", "sandbox/test_postgres.py")
"""The folders and files of the tests that send SQL statements from the ``store`` package to a server."""

CASES_IN_SAMPLE = 2
"""The number of parameter sets per test with PostgreSQL that ``make test`` runs. They take most of the tests' time."""

SLOW_PROOFS = (
    *("acceptance/test_container.py", "cli/commands/show/test_agreement.py"),
    *("docs/test_readme.py", "docs/test_site.py"),
    *("deploy/test_deploy_checks.py", "deploy/test_mixed.py", "deploy/test_package.py", "deploy/test_release.py"),
    *("deploy/test_sbom.py", "deploy/test_sources.py", "deploy/test_without_internet.py"),
)
"""The files of the tests that ``make test`` leaves out.

Most of them build something from the whole project, and take many seconds. ``make test-all`` and CI run them.
"""

GC_THRESHOLD = 50_000
"""The number of new objects that triggers a garbage collection while the tests run."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that CI uses to split the tests between two machines and to sample them on other interpreters."""
    parser.addoption("--skipped-to", metavar="FILE", type=Path, help="write the ids of the skipped tests to a file")
    about = "leave out the slow proofs, and all but two cases of each test with PostgreSQL, unless tests are named"
    parser.addoption("--sample", action="store_true", help=about)
    about = (
        "run only the tests that a file lists, the tests that --sample leaves out,"
        " and the tests that send SQL from the store package"
    )
    parser.addoption("--skipped-in", metavar="FILE", type=Path, help=about)
    parser.addoption("--cases", type=int, help="run each test with at most this many of its parameter sets")


def _deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that the command-line options exclude."""
    file, most = config.getoption("skipped_in"), config.getoption("cases")
    if config.getoption("sample") and config.args_source is not pytest.Config.ArgsSource.ARGS:
        _keep(config, items, _in_sample())
    if file is not None:
        skipped = {*file.read_text("utf-8").splitlines()}
        in_sample = _in_sample()
        _keep(
            config,
            items,
            lambda item: not in_sample(item) or _proves_sql(item) or without_group(item.nodeid) in skipped,
        )
    if most is not None:
        _keep(config, items, _first_cases(most))


def _in_sample() -> Callable[[pytest.Item], bool]:
    """Return a function that says whether ``make test`` runs a test. Ask it about each test once, in their order."""
    among_first = _first_cases(CASES_IN_SAMPLE)

    def wanted(item: pytest.Item) -> bool:
        if item.nodeid.removeprefix("tests/").startswith(SLOW_PROOFS):
            return False
        return item.get_closest_marker("postgres") is None or among_first(item)

    return wanted


def _first_cases(most: int) -> Callable[[pytest.Item], bool]:
    """Return a function that says whether a test is one of the first ``most`` cases of its test function."""
    seen: Counter[str] = Counter()

    def first(item: pytest.Item) -> bool:
        name = item.nodeid.partition("[")[0]
        seen[name] += 1
        return seen[name] <= most

    return first


def _keep(config: pytest.Config, items: list[pytest.Item], wanted: Callable[[pytest.Item], bool]) -> None:
    kept, left = [], []
    for item in items:
        (kept if wanted(item) else left).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)
    if hasattr(config, "workeroutput"):  # the controller does not see what a worker deselects
        config.workeroutput["left_out"] = len(left)


def without_group(nodeid: str) -> str:
    """Remove the group that xdist appends to a test's id. Without several workers, ids have no group."""
    return re.sub(r"@\w+$", "", nodeid)


def _proves_sql(item: pytest.Item) -> bool:
    place = item.nodeid.removeprefix("tests/")
    return item.get_closest_marker("postgres") is not None and place.startswith(ON_EACH_SERVER)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Collect the given files folder by folder, without garbage collection. Then exclude the collected objects.

    The tests then run with a threshold like payctl's own, because Python's default takes a few percent of their time.
    """
    # If a file of the parent folder is between two files of a folder, pytest 9.1 loses the folder's fixtures for the
    # second file (pytest's issue 14964).
    session.config.args.sort(key=lambda given: Path(given.partition("::")[0]).parts)
    gc.disable()
    yield
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> WorkUnits:
    """Return a scheduler that gives a worker several quick tests of a file at once."""
    return WorkUnits(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Add markers for each test's services and their group, before ``-m`` selects tests."""
    for item in items:
        used = getattr(item, "fixturenames", ())
        if "postgres" in used or "own_server" in used:
            item.add_marker("postgres")
        if "kafka_server" in used:
            item.add_marker("kafka")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(KAFKA_SECONDS))
        group = next((name for fixture, name in GROUPS.items() if fixture in used), None)
        if group == "kafka" and item.nodeid.removeprefix("tests/").startswith(WITH_SECOND_KAFKA):
            group = "second_kafka"
        if group is not None:
            item.add_marker(pytest.mark.xdist_group(group))
    yield
    _deselect(config, items)
    put_long_ones_first(items)
