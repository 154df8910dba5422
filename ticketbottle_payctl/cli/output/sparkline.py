"""Draw numbers as a row of bars. Each bar is one character."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float]) -> str:
    """Return a bar for each value.

    The lowest bar stands for zero, and the highest bar stands for the greatest value.
    """
    most = max(values, default=0)
    if most <= 0:
        return _BARS[0] * len(values)
    steps = len(_BARS) - 1
    return "".join(_BARS[min(steps, ceil(max(0.0, value) * steps / most))] for value in values)
