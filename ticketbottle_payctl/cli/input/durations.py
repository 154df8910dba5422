"""Read durations and rates such as ``50s``, ``1h30m``, ``7d`` and ``500/s``. Refuse a number without a unit."""

from __future__ import annotations

import re
from datetime import timedelta

import typer

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PART = re.compile(r"(\d{1,9})(ms|[smhdw])")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_LONGEST_S = 36_525 * 86_400
"""The longest accepted duration in seconds: 100 years. A longer duration would overflow ``datetime``."""

_RATE = re.compile(r"(\d{1,7})(?:/(s|m|h))")


def duration(text: str) -> timedelta:
    """Parse a duration such as ``50s``, ``90m`` or ``1h30m``. The longest accepted duration is 100 years.

    Raises:
        typer.BadParameter: the value is not a duration, or the duration is zero or too long.
    """
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if not _DURATION.fullmatch(text) or seconds <= 0:
        what = "zero" if _DURATION.fullmatch(text) else "not a duration"
        message = f"{text!r} is {what}; use a value such as 50s, 90m, 1h30m or 7d"
        raise typer.BadParameter(message)
    if seconds > _LONGEST_S:
        message = f"{text!r} is longer than a hundred years"
        raise typer.BadParameter(message)
    return timedelta(seconds=seconds)


def per_second(text: str) -> float:
    """Parse a rate such as ``500/s`` or ``100/m``, and return the rate per second.

    Raises:
        typer.BadParameter: the value is not a rate, or the rate is zero.
    """
    found = _RATE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        message = f"{text!r} is not a rate; use a value such as 500/s or 100/m"
        raise typer.BadParameter(message)
    return int(found[1]) / _SECONDS[found[2]]
