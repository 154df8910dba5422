"""Divide the inputs between the targets, and run the parts in several processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.fuzz.page import Tried
from tests.fuzz.piece import ROOT, Outcome, Piece, run

_FIRST = 20_000
"""The number of inputs that each target gets first.

With fewer inputs, the time to start Python would hide how fast the target is.
"""

_LARGEST_PIECE = 1_000_000


class Course:
    """A run of several targets. Each target first gets a few inputs. After that, faster targets get more inputs."""

    def __init__(self, names: Sequence[str], inputs: int, least: int, seed: int, workers: int) -> None:
        self._names = names
        self._inputs = inputs
        self._least = least
        self._seed = seed
        self._workers = workers
        self._running: set[subprocess.Popen[bytes]] = set()
        self._enough = False
        self._found: dict[str, Tried] = {
            name: {"inputs": 0, "seconds": 0.0, "edges": 0, "findings": []} for name in names
        }

    def run(self) -> dict[str, Tried]:
        """Run all pieces of work. Return the number of inputs and the findings for each target."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stop())
        first = max(1, min(_FIRST, self._least or _FIRST, self._inputs // len(self._names)))
        with ThreadPoolExecutor(self._workers) as pool:
            for outcome in pool.map(self._piece, [Piece(name, first, self._seed) for name in self._names]):
                self._add(outcome)
            for outcome in pool.map(self._piece, list(self._rest())):
                self._add(outcome)
        return self._found

    def _rest(self) -> Iterator[Piece]:
        """Yield the remaining pieces, one target after another.

        Faster targets get more of the inputs above the minimum.
        """
        left = self._inputs - sum(each["inputs"] for each in self._found.values())
        wanted = {name: max(0, self._least - each["inputs"]) for name, each in self._found.items()}
        left -= sum(wanted.values())
        speed = {name: each["inputs"] / max(0.1, each["seconds"]) for name, each in self._found.items()}
        for name, each in speed.items():
            wanted[name] += max(0, round(left * each / sum(speed.values())))
        number = 0
        while any(wanted.values()):
            number += 1
            for name in sorted(wanted, key=wanted.__getitem__, reverse=True):
                size = min(_LARGEST_PIECE, wanted[name])
                wanted[name] -= size
                if size:
                    yield Piece(name, size, self._seed + number)

    def _piece(self, piece: Piece) -> Outcome | None:
        if self._enough or self._found[piece.target]["findings"]:
            return None
        processes: list[subprocess.Popen[bytes]] = []

        def started(process: subprocess.Popen[bytes]) -> None:
            processes.append(process)
            self._running.add(process)

        outcome = run(piece, started)
        self._running.difference_update(processes)
        return outcome

    def _add(self, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        target = self._found[outcome.target]
        target["inputs"] += outcome.inputs
        target["seconds"] = round(target["seconds"] + outcome.seconds, 1)
        target["edges"] = max(target["edges"], outcome.edges)
        if outcome.finding and not self._enough:
            place = outcome.finding.removeprefix(f"{ROOT}/")
            target["findings"].append({"input": place, "error": f"{outcome.target}: {outcome.error}"})
        sys.stderr.write(f"{outcome.target}: {outcome.inputs:,} inputs in {outcome.seconds:.0f} s\n")

    def _stop(self) -> None:
        """End the running pieces and do not start new ones."""
        self._enough = True
        for process in list(self._running):
            process.terminate()
