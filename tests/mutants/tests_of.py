"""Measure which tests run which lines, and choose the tests that should notice a mutant."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from coverage import CoverageData

from tests.mutants.constants import importers, made_from, made_with
from tests.mutants.making import Mutant
from tests.mutants.rooms import DEFAULTS, PACKAGE, Room

PLUGIN = "tests.mutants.durations"


@dataclass(frozen=True, slots=True)
class Test:
    """A test that passes without a mutant, and its duration in seconds."""

    id: str
    seconds: float

    @property
    def file(self) -> str:
        """The path of the test's file."""
        return self.id.partition("::")[0]

    @property
    def folder(self) -> str:
        """The path of the test's folder. One pytest process runs the tests in one folder."""
        return self.file.rpartition("/")[0]


@dataclass(slots=True)
class Map:
    """A map from each line to the tests that run this line.

    A line's text identifies it, so the map still finds a line that has moved.
    """

    entries: dict[str, dict[str, Any]]
    tree: Path
    lines: dict[str, dict[str, list[Test]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    sources: dict[str, str] = field(init=False)
    """The text of each file, read before a worker writes a mutant into this tree."""

    def __post_init__(self) -> None:
        """Sort the recorded tests by file and line, and read the files."""
        for entry in self.entries.values():
            for name, (seconds, lines) in entry["tests"].items():
                for file, texts in lines.items():
                    for text in texts:
                        self.lines[file][text].append(Test(name, seconds))
        files = [file for file in self.lines if (self.tree / file).exists()]
        self.sources = {file: (self.tree / file).read_text("utf-8") for file in files}

    def tests_of(self, mutant: Mutant, source: str, room: Room, budget: float) -> list[Test]:
        """Return the tests that run a mutant, in the order to try them.

        Together these tests take at most ``budget`` seconds.
        """
        lines = [line.strip() for line in source.splitlines()[mutant.first - 1 : mutant.line]]
        known = self.lines[mutant.file]
        chosen = _spread(next((known[line] for line in reversed(lines) if line in known), []), room)
        # If each test of a function also imports a file, the function may run only at import, for a constant.
        importing = {test.id for lines in list(self.lines.values()) for test in lines.get(_FIRST_LINE, [])}
        once = mutant.shared or importing.issuperset(test.id for test in chosen)
        if once or lines[-1] not in known:
            # The nearest known line above may have fewer tests, for example only the tests that import the file.
            chosen += _spread({test.id: test for tests in known.values() for test in tests}.values(), room)
        names = made_from(source, mutant.line)
        constants = self._constants_of(mutant.file, names)
        if once:
            users = self._users({**constants, mutant.file: names})
            chosen = [*self._that_name(names[:1]), *_spread(users, room), *chosen]
            # A test that only reads a constant runs no line of its file.
            whole = (Test(name, one[0]) for entry in self.entries.values() for name, one in entry["tests"].items())
            chosen += _spread((test for test in whole if test.id.startswith((room.tests[0], DEFAULTS))), room)
        elif any(constants.values()):
            # The function runs in these tests, and an import makes constants from it for other tests.
            chosen = _spread({test.id: test for test in [*chosen, *self._users(constants)]}.values(), room)
        return _within(chosen, budget * (_MORE_IF_ONCE if once else 1))

    def _constants_of(self, file: str, names: Sequence[str]) -> dict[str, list[str]]:
        """Return, by file, the constants that this file, and the files that import it, make from the given names."""
        return {other: made_with(self.sources[other], names) for other in (file, *importers(self.sources, file))}

    def _users(self, names: Mapping[str, Sequence[str]]) -> list[Test]:
        """Return the tests that run a line with one of the names. ``names`` has the names for each file."""
        found = (
            tests
            for file, wanted in names.items()
            for text, tests in self.lines[file].items()
            if _words(text).intersection(wanted)
        )
        return [*{test.id: test for tests in found for test in tests}.values()]

    def _that_name(self, names: Sequence[str]) -> list[Test]:
        """Return the tests whose text contains one of the names, such as the name of a constant."""
        found = [
            Test(test, entry["tests"][test][0])
            for file, entry in self.entries.items()
            for test in entry["tests"]
            if _words(_texts(self.tree / file).get(re.split(r"::|\[", test)[1], "")) & set(names)
        ]
        return sorted(found, key=lambda test: test.seconds)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


_FIRST_LINE = "from __future__ import annotations"
"""The first line of each file, which runs only in a test that imports the file."""


_MORE_IF_ONCE = 2
"""The factor by which the budget grows for code that runs once, such as a constant.

Only a single test might notice a change to such code.
"""


_CHEAP = 0.05
"""The duration, in seconds, below which a test costs almost nothing, because it needs no service."""


@cache
def _texts(file: Path) -> dict[str, str]:
    """Return the source text of each test function in a file, by name."""
    parts = re.split(r"^def (test_\w+)", file.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _spread(tests: Iterable[Test], room: Room) -> list[Test]:
    """Sort tests so that the room's own tests come before other tests, and each file's fastest tests come first.

    Tests that cost almost nothing come before all other tests, so the budget never leaves them out.
    """
    of_file: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        of_file[test.file].append(test)
    ranked = [
        (not file.startswith(room.tests), 0 if test.seconds < _CHEAP else 1 + number // 4, test.seconds, test)
        for file, some in of_file.items()
        for number, test in enumerate(sorted(some, key=lambda one: one.seconds))
    ]
    return [test for *_, test in sorted(ranked, key=lambda one: one[:3])]


def _within(tests: Sequence[Test], budget: float) -> list[Test]:
    chosen: dict[str, Test] = {}
    spent = 0.0
    for test in tests:
        if test.id not in chosen and spent + test.seconds <= budget:
            chosen[test.id] = test
            spent += test.seconds
    return list(chosen.values())


def measured(room: Room, tree: Path, build: Path, workers: int) -> Map:
    """Return the map of a room's tests. Run only test files that have changed since the last measurement."""
    store = build / "map.json"
    known = json.loads(store.read_text("utf-8")) if store.exists() else {}
    files = {
        file: _digest(tree / file, kafka=room.kafka)
        for place in sorted(set(room.tests))
        for file in _test_files(tree, place)
    }
    stale = [file for file, digest in files.items() if known.get(file, {}).get("digest") != digest]
    if stale:
        sys.stderr.write(f"measuring {len(stale)} test files\n")
    for folder in dict.fromkeys(file.rpartition("/")[0] for file in stale):
        # Run one folder at a time, because pytest then finds a folder's fixtures more reliably.
        some = [file for file in stale if file.rpartition("/")[0] == folder]
        found = _measure(some, tree, build, workers, kafka=room.kafka)
        known |= {file: {"digest": files[file], "tests": found.get(file, {})} for file in some}
        store.write_text(json.dumps(known), "utf-8")
    return Map({file: known[file] for file in files}, tree)


def _test_files(tree: Path, place: str) -> list[str]:
    path = tree / place
    found = [path] if path.is_file() else sorted(path.rglob("test_*.py"))
    return [file.relative_to(tree).as_posix() for file in found]


def _digest(file: Path, *, kafka: bool) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] + (" with Kafka" if kafka else "")


def _measure(files: Sequence[str], tree: Path, build: Path, workers: int, *, kafka: bool) -> dict[str, dict[str, Any]]:
    """Run test files with coverage. Return each test's duration and the lines that it runs."""
    data, durations = build / "coverage", build / "durations.json"
    data.unlink(missing_ok=True)
    without = "not container" if kafka else "not kafka and not container"
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "-m", without]
    command += ["-p", PLUGIN, "--timeout", "300", f"--cov={PACKAGE}", "--cov-context=test", "--cov-report=", *files]
    variables = {"COVERAGE_FILE": str(data), "MUTANTS_DURATIONS": str(durations), "PYTHONPATH": str(tree)}
    with (build / "measuring.log").open("a") as log:
        durations.unlink(missing_ok=True)  # a killed pytest writes no file, so an earlier run's file would be read
        subprocess.run(command, cwd=tree, env=os.environ | variables, stdout=log, stderr=log, check=False)
    passed = json.loads(durations.read_text("utf-8"))
    lines = _lines_of_tests(data, tree)
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, seconds in passed.items():
        of_test = {file: sorted(texts) for file, texts in lines[name].items()}
        found[name.partition("::")[0]][name] = [round(seconds, 3), of_test]
    return found


def _lines_of_tests(data: Path, tree: Path) -> dict[str, dict[str, set[str]]]:
    """Return, by file, the text of each line that each test runs."""
    lines: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    recorded = CoverageData(str(data))
    recorded.read()
    for path in recorded.measured_files():
        file = Path(path).relative_to(tree).as_posix()
        texts = [line.strip() for line in Path(path).read_text("utf-8").splitlines()]
        for number, contexts in recorded.contexts_by_lineno(path).items():
            for context in filter(None, contexts):
                test = re.sub(r"@\w+$", "", context.rpartition("|")[0])  # xdist adds the test's group to its name
                lines[test][file].update(texts[number - 1 : number])
    return lines
