"""Read durations and rates such as ``50s``, ``1h30m``, ``7d`` and ``500/s``. Refuse a number without a unit."""

from __future__ import annotations

import re
from datetime import timedelta

import typer

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PART = re.compile(r"(\d{1,9})(ms|[smhdw])")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_LONGEST_S = 36_525 * 86_400
"""The longest accepted duration in seconds: 100 years. Longer durations would overflow the libraries' instants."""

_RATE = re.compile(r"(\d{1,7})(?:/(s|m|h))")


def duration(text: str) -> timedelta:
    """Return the duration that a text such as ``50s``, ``90m`` or ``1h30m`` names. The longest is 100 years.

    Raises:
        typer.BadParameter: the text is not a duration, or the duration is zero or too long.
    """
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if not _DURATION.fullmatch(text) or seconds <= 0:
        what = "zero" if _DURATION.fullmatch(text) else "not a duration"
        message = f"{text!r} is {what}; examples are 50s, 90m, 1h30m, 7d"
        raise typer.BadParameter(message)
    if seconds > _LONGEST_S:
        message = f"{text!r} is longer than a hundred years"
        raise typer.BadParameter(message)
    return timedelta(seconds=seconds)


def per_second(text: str) -> float:
    """Return the rate per second that a text such as ``500/s`` or ``100/m`` names.

    Raises:
        typer.BadParameter: the text is not a rate, or the rate is zero.
    """
    found = _RATE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        message = f"{text!r} is not a rate; examples are 500/s, 100/m"
        raise typer.BadParameter(message)
    return int(found[1]) / _SECONDS[found[2]]
