"""Format instants, durations, sizes, money, counts and commands for people. Each kind of value has one format."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
_SIZES = ("B", "kB", "MB", "GB", "TB")
_STEP = 1000
_EXACT = 100
_SHORT_ID = 8

PROVIDERS = {"zalopay": "ZaloPay", "payos": "PayOS", "vnpay": "VNPay", "momo": "MoMo"}
"""The name of each gateway, as people write it."""


def rfc3339(at: datetime) -> str:
    """Format a timezone-aware datetime in UTC with milliseconds and ``Z``: ``2026-11-22T03:04:05.678Z``."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local(at: datetime, zone: tzinfo) -> str:
    """Format an instant in the time zone ``zone``: ``2026-11-22 10:04:05.678 +07:00``."""
    there = at.astimezone(zone).isoformat(" ", "milliseconds")
    return f"{there[:23]} {there[23:]}"


def local_and_utc(at: datetime, zone: tzinfo) -> str:
    """Format an instant in both ``zone`` and UTC: ``2026-11-22 10:00:00 +07:00 (2026-11-22T03:00:00.000Z)``."""
    local = at.astimezone(zone).replace(microsecond=0)
    return f"{local.isoformat(' ')[:19]} {local.isoformat()[19:]} ({rfc3339(at)})"


def wall_clock(at: datetime, zone: tzinfo) -> str:
    """Format an instant in ``zone`` to the second, without the zone: ``2026-11-22 10:04:05``."""
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def clock_and_age(at: datetime, zone: tzinfo, now: datetime) -> str:
    """Format an instant with its age, for lists: ``08:23, 3 h ago`` for today, ``22 Nov, 7 d ago`` otherwise."""
    there, today = at.astimezone(zone), now.astimezone(zone)
    if there.date() == today.date():
        day = f"{there:%H:%M}"
    elif there.year == today.year:
        day = f"{there.day} {there:%b}"
    else:
        day = f"{there:%Y-%m-%d}"
    return f"{day}, {age((now - at).total_seconds())}"


def time_of_day(at: datetime, zone: tzinfo) -> str:
    """Format an instant's time of day, for the output lines of a running command: ``10:04:05``."""
    return f"{at.astimezone(zone):%H:%M:%S}"


def span(first: datetime, last: datetime, zone: tzinfo) -> str:
    """Format two instants as a range, or as one instant if both look the same."""
    start, end = local(first, zone), local(last, zone)
    return start if start == end else f"{start} → {end}"


def span_and_age(first: datetime, last: datetime, zone: tzinfo, now: datetime) -> str:
    """Format two instants with their ages: ``08:23, 3 h ago → 10:40, 45 min ago``.

    If both look the same, show only one instant.
    """
    start, end = clock_and_age(first, zone, now), clock_and_age(last, zone, now)
    return start if start == end else f"{start} → {end}"


def age(seconds: float) -> str:
    """Format an age in the largest unit that fits: ``3 h ago``. An age of less than a second is ``now``."""
    whole = int(seconds)
    for unit, length in _UNITS:
        if whole >= length:
            return f"{whole // length:,} {unit} ago"
    return "now"


def short_id(text: str) -> str:
    """Return the first eight characters of an id. Every command accepts these characters instead of the whole id."""
    return text[:_SHORT_ID]


def cut(text: str, width: int) -> str:
    """Shorten a string to at most ``width`` characters by replacing its end with ``…``."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def cut_middle(text: str, width: int) -> str:
    """Shorten a string to at most ``width`` characters by replacing its middle with ``…``."""
    if len(text) <= width:
        return text
    left = max(0, width - 1)
    return f"{text[: left - left // 2]}…{text[len(text) - left // 2 :]}"


def duration(seconds: float) -> str:
    """Format a duration in at most two units: ``850 ms``, ``12.5 s``, ``3 min 20 s``, ``5 d 4 h``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _UNITS[2][1]:
        return f"{_short(seconds)} s"
    whole = round(seconds)
    place = next(number for number, (_, size) in enumerate(_UNITS) if whole >= size)
    (unit, size), (smaller, smaller_size) = _UNITS[place], _UNITS[place + 1]
    rest = whole % size // smaller_size
    return f"{whole // size:,} {unit} {rest} {smaller}" if rest else f"{whole // size:,} {unit}"


def rate(per_second: float) -> str:
    """Format a rate per second, minute or hour, so that the number is at least 1: ``12.5/s``, ``3.5/min``, ``4/h``."""
    for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)):
        if per_second * seconds >= 1:
            return f"{_short(per_second * seconds)}/{unit}"
    return "0/s" if per_second <= 0 else "under 1/h"


def gateway_name(name: str) -> str:
    """Return a gateway's name in the gateway's own spelling: ``ZaloPay`` for ``ZALOPAY``.

    Keep an unknown name unchanged.
    """
    return PROVIDERS.get("".join(letter for letter in name.lower() if letter.isalnum()), name)


def size(count: int) -> str:
    """Format a number of bytes in decimal units: ``512 B``, ``9.5 MB``."""
    amount, unit = float(count), _SIZES[0]
    for unit in _SIZES:
        if amount < _STEP or unit == _SIZES[-1]:
            break
        amount /= _STEP
    return f"{_short(amount)} {unit}"


def money(amount: int, currency: str | None = "VND") -> str:
    """Format an amount with separators and its currency: ``450,000 VND``."""
    return f"{amount:,} {currency or 'VND'}"


def count(number: int, noun: str, many: str | None = None) -> str:
    """Format a number with its noun: ``1 event``, ``1,234 events``.

    ``many`` is the noun's plural if it is irregular.
    """
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def _short(amount: float) -> str:
    """Format a number with about three significant digits, without an exponent."""
    return f"{amount:,.0f}" if round(amount, 1) >= _EXACT else f"{amount:.3g}"


PLACEHOLDER = "TEXT"
"""The placeholder for a reason that only a person knows, in suggested commands, hints and the help."""


def command_line(verb: Sequence[str], operands: Sequence[str] = (), options: Sequence[str] = ()) -> str:
    """Return a payctl command that is quoted for a shell, so that a person can paste it.

    If an operand begins with a hyphen, ``--`` precedes the operands, so that the operand is not parsed as an option.
    """
    if any(each.startswith("-") for each in operands):
        return shlex.join(["payctl", *verb, *options, "--", *operands])
    return shlex.join(["payctl", *verb, *operands, *options])
