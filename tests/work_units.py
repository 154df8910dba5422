"""Divide a run's tests among the workers, and decide which tests start first."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from xdist.scheduler import LoadGroupScheduling

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

LONG = (
    *("soak/", "docs/test_pictures.py", "docs/test_readme.py", "docs/test_tutorials.py", "interleavings/"),
    *("cli/test_one_form.py", "cli/commands/publish_outbox/", "servers/test_local_functions.py"),
    *("test_division.py", "lambda_entrypoints/test_reconcile_payments.py", "lambda_entrypoints/test_runtime.py"),
    *("faults/", "acceptance/test_demo.py", "deploy/test_sam_local.py", "lambda_entrypoints/test_init.py"),
)
"""The folders and files of the tests that take several seconds each."""

TOGETHER = 6
"""The number of quick tests from one file that a worker gets at once.

The controller needs a third more time if it hands them out one at a time.
"""


def is_long(nodeid: str) -> bool:
    """Return whether a test can take several seconds."""
    return nodeid.removeprefix("tests/").startswith(LONG)


def put_long_ones_first(items: list[pytest.Item]) -> None:
    """Put the groups and the longest tests first, so that no worker has to wait for one of them at the end."""
    sizes = Counter(map(_group, items))

    def place(item: pytest.Item) -> tuple[int, str, bool]:
        group = _group(item)
        return (-sizes[group], group, False) if group else (0, "", not is_long(item.nodeid))

    items.sort(key=place)


def units(nodeids: Iterable[str]) -> Iterator[list[str]]:
    """Yield the tests that one worker gets at once: a group, a long test, or a few quick tests from one file.

    The id of a test in a group ends with the group's name, and the tests of a group are adjacent.
    """
    for group, grouped in groupby(nodeids, key=_suffix):
        if group:
            yield list(grouped)
            continue
        for _, of_file in groupby(grouped, key=lambda nodeid: nodeid.partition("::")[0]):
            tests = list(of_file)
            most = 1 if is_long(tests[0]) else TOGETHER
            yield from (tests[start : start + most] for start in range(0, len(tests), most))


class WorkUnits(LoadGroupScheduling):
    """A scheduler that gives each worker its next unit shortly before the worker finishes its current one."""

    def schedule(self) -> None:
        """Make the units when every worker has collected the tests."""
        if self.collection is None:
            self.config.option.loadscopereorder = False
            collected = next(iter(self.registered_collections.values()))
            self._unit_of = {nodeid: unit[0] for unit in units(collected) for nodeid in unit}
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return self._unit_of[nodeid]


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return str(marker.args[0]) if marker else ""


def _suffix(nodeid: str) -> str:
    """Return the group that xdist appends to a test's id after an @. A parameter set can also contain an @."""
    return nodeid.rpartition("@")[2] if nodeid.rfind("@") > nodeid.rfind("]") else ""
