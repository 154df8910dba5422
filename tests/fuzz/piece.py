"""Run libFuzzer on one target in its own process, and read its report."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import FOUND, SEEDS, TARGETS, words
from ticketbottle_payctl.formats import cut

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "fuzz"
PATIENCE_S = 120
"""The time limit, in seconds, for one input.

``one`` also limits the processor time, which depends less on the machine's load.
"""

MEMORY_MB = 1024
_LONGEST_ERROR = 400
"""The maximum number of characters of an error that the report shows. An error can quote a whole input."""

_EDGES = re.compile(r" cov: (\d+) ")
_INPUTS = re.compile(r"stat::number_of_executed_units: +(\d+)")
_SAVED = re.compile(r"(?:failed input:|Test unit written to) (\S+)")
_RAISED = re.compile(r"^ *=== Uncaught Python exception: ===\n(.*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Piece:
    """A number of inputs for one target. The seed and the corpus determine which inputs are tried."""

    target: str
    inputs: int
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a piece. ``edges`` is the number of branches taken in payctl's code."""

    target: str
    inputs: int
    seconds: float
    edges: int
    finding: str | None = None
    """The path of the file with the failed input, or None."""
    error: str = ""


def run(piece: Piece, started: Callable[[subprocess.Popen[bytes]], None]) -> Outcome:
    """Run a piece and wait for it to finish. Return its outcome."""
    folder = BUILD / "found" / piece.target
    corpus = BUILD / "corpus" / piece.target
    known = [each / piece.target for each in (SEEDS, FOUND)]
    for each in (folder, corpus):
        each.mkdir(parents=True, exist_ok=True)
    log = BUILD / f"{piece.target}.log"
    began = time.monotonic()
    with log.open("wb") as file:
        command = [sys.executable, "-m", "tests.fuzz.one", piece.target, str(folder), *_options(piece, folder)]
        command += [str(each) for each in (corpus, *known) if each.is_dir()]
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
        started(process)
        code = process.wait()
    return _read(piece, log.read_text("utf-8", "replace"), code, time.monotonic() - began)


def _options(piece: Piece, folder: Path) -> list[str]:
    dictionary = BUILD / f"{piece.target}.dict"
    target = TARGETS[piece.target]
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in words(target)), "ascii")
    return [
        f"-runs={piece.inputs}", f"-seed={piece.seed}", f"-max_len={target.longest}", f"-dict={dictionary}",
        f"-timeout={PATIENCE_S}", f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={folder}/", "-len_control=20",
        "-print_final_stats=1", "-reload=0", "-verbosity=1",
    ]  # fmt: skip


def _escaped(word: bytes) -> str:
    return "".join(chr(byte) if 32 < byte < 127 and byte not in b'"\\' else f"\\x{byte:02X}" for byte in word)


def _read(piece: Piece, log: str, code: int, seconds: float) -> Outcome:
    """Read libFuzzer's report. A process that ends without a report also counts as a finding."""
    edges = [int(each) for each in _EDGES.findall(log)]
    inputs = _INPUTS.search(log)
    saved, raised = _SAVED.search(log), _RAISED.search(log)
    error = cut(raised[1] if raised else f"the process ended with {code}", _LONGEST_ERROR)
    finding = saved[1] if saved else None if inputs else "no report"
    return Outcome(piece.target, int(inputs[1]) if inputs else 0, seconds, max(edges, default=0), finding, error)
