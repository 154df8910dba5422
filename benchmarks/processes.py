"""Measure the CPU time of child processes and servers, and the load that other processes cause."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_QUIET = 0.1
_PROC = Path("/proc")
_OURS = re.compile(r"(?:PAYCTL_(?!KAFKA_HOME)|OUTBOX_|KAFKA_|DATABASE_URL|ENVIRONMENT$|LOG_LEVEL$)")
_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
ROOT = Path(__file__).resolve().parent.parent
CORES = os.cpu_count() or 1


class ChildFailedError(Exception):
    """A contender failed. The message ends with its output."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A child process that has ended, with its output and its CPU time in seconds.

    The CPU time includes starting the process.
    """

    output: str
    cpu: float


def inherited() -> dict[str, str]:
    """Return the environment without payctl's settings, because every contender gets its own settings.

    The variable that keeps Python from writing bytecode is removed too, because installed packages have bytecode.
    """
    return {name: value for name, value in os.environ.items() if not _OURS.match(name) and name != _NO_BYTECODE}


def run(command: Sequence[str], environ: Mapping[str, str] | None = None, *, check: bool = True) -> Ended:
    """Run a child process and wait for it to finish. The CPU time includes the child's own children that have ended.

    Raises:
        ChildFailedError: the child failed, and ``check`` is true.
    """
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        child = subprocess.Popen(  # noqa: S603 - the commands are our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=complained,
            cwd=ROOT,
            env={**inherited(), **(environ or {})},
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complained.seek(0)
        if check and child.returncode != 0:
            message = f"exit code {child.returncode}\n{complained.read()[-800:]}"
            raise ChildFailedError(message)
        return Ended(said.read(), usage.ru_utime + usage.ru_stime)


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of the project's modules with the current interpreter."""
    return [sys.executable, "-m", module, *arguments]


def cpu_of(pid: int) -> float:
    """Return the CPU time of a process and all its descendants, in seconds, including those that have ended.

    If /proc does not exist, return 0.
    """
    children = _children()
    found, waiting = 0.0, [pid]
    while waiting:
        each = waiting.pop()
        waiting += children.get(each, [])
        found += _seconds(each)
    return found


def busy() -> float:
    """Return the CPU time that the whole machine has used since it booted, in seconds."""
    if not _PROC.joinpath("stat").exists():
        return 0.0
    fields = [int(word) for word in _PROC.joinpath("stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS


def wait_for_quiet(patience: float) -> None:
    """Wait at most ``patience`` seconds until less than a tenth of the machine's CPU capacity is in use."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before, began = busy(), time.monotonic()
        time.sleep(0.4)
        if (busy() - before) / (time.monotonic() - began) / CORES < _QUIET:
            return


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for place in _PROC.glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # the process has ended
        found.setdefault(int(fields[1]), []).append(int(place.parent.name))
    return found


def _seconds(pid: int) -> float:
    try:
        fields = _PROC.joinpath(str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS
