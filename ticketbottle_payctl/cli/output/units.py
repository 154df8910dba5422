"""Spans of time and sizes as people read them. Programs get plain seconds and bytes."""

from __future__ import annotations

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
_SIZES = ("B", "kB", "MB", "GB", "TB")
_STEP = 1000


def span(seconds: float | None) -> str | None:
    """Seconds in their two largest units: ``850 ms``, ``12.5 s``, ``3 min 20 s``, ``5 d 4 h``. None stays None."""
    if seconds is None:
        return None
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _UNITS[2][1]:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    place = next(number for number, (_, size) in enumerate(_UNITS) if whole >= size)
    (unit, size), (smaller, smaller_size) = _UNITS[place], _UNITS[place + 1]
    rest = whole % size // smaller_size
    return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"


def size(count: int) -> str:
    """Bytes in steps of a thousand: ``512 B``, ``9.5 MB``."""
    amount, unit = float(count), _SIZES[0]
    for unit in _SIZES:
        if amount < _STEP or unit == _SIZES[-1]:
            break
        amount /= _STEP
    return f"{amount:.3g} {unit}"
