"""Sample a process from /proc, and decide whether its memory, descriptors, sockets and threads keep growing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

WARM_UP = 0.25
"""The share of samples that is ignored at the start, while the process still loads code and fills its pools."""

ALLOWED = {"memory": (0.10, 8.0), "descriptors": (0.10, 4.0), "sockets": (0.10, 3.0), "threads": (0.10, 3.0)}
"""The growth that does not count as a leak.

The allowed growth is a share of the first value plus a fixed amount, which is in MB for memory.
"""

_FEWEST = 12


class Sample(NamedTuple):
    """One sample of a process. ``memory`` is the process's resident set size in MB."""

    memory: float
    descriptors: int
    sockets: int
    threads: int


def sample(pid: int) -> Sample | None:
    """Return a sample of the process, or None if the process has ended."""
    place = Path("/proc") / str(pid)
    with suppress(OSError, KeyError):  # the status of a process that has just ended has no VmRSS
        lines = (place / "status").read_text().splitlines()
        value = {name: line.split()[1] for line in lines for name in ("VmRSS", "Threads") if line.startswith(name)}
        links = []
        for entry in (place / "fd").iterdir():
            with suppress(OSError):
                links.append(str(entry.readlink()))
        sockets = sum(link.startswith("socket:") for link in links)
        return Sample(int(value["VmRSS"]) / 1024, len(links), sockets, int(value["Threads"]))
    return None


def growth(samples: Sequence[Sample]) -> dict[str, str]:
    """Return each value that has grown, as ``from -> to``.

    The two numbers are the medians of the first and last quarters after warm-up. With fewer than twelve samples, the
    result is empty.
    """
    steady = samples[int(len(samples) * WARM_UP) :]
    quarter = len(steady) // 4
    if len(samples) < _FEWEST or quarter == 0:
        return {}
    found = {}
    for name, (share, amount) in ALLOWED.items():
        values = [float(getattr(one, name)) for one in steady]
        first, last = median(values[:quarter]), median(values[-quarter:])
        if last > first * (1 + share) + amount:
            found[name] = f"{first:.0f} -> {last:.0f}"
    return found
