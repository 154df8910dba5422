"""Run chosen tests in a chosen order until the first failure. This is a pytest plugin."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings


class Selection:
    """The ids of the tests to run, each with a time limit in seconds. ``failed`` is the first failure, or None."""

    def __init__(self, limits: dict[str, float]) -> None:
        self._limits = limits
        self.failed: str | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        """Make hypothesis draw the same examples each time and not simplify failing examples."""
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", settings(), phases=phases, derandomize=True, database=None)
        settings.load_profile("mutants")

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]):
        """Keep only the chosen tests, in the chosen order."""
        yield
        found = {item.nodeid: item for item in items}
        items[:] = [found[name] for name in self._limits if name in found]
        for item in items:
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(self._limits[item.nodeid]))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record a test file that cannot be imported."""
        if report.failed:
            self._note(f"import of {report.nodeid}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record a failing test."""
        if report.failed:
            self._note(report.nodeid)

    def _note(self, name: str) -> None:
        self.failed = self.failed or name
