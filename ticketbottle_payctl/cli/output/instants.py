"""Show times to people in the ``--tz`` zone, with the zone's offset. Programs get times in UTC (:mod:`machine`)."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, tzinfo

from ticketbottle_payctl.cli.output.machine import cell
from ticketbottle_payctl.formats import local

_zone: ContextVar[Callable[[], tzinfo] | None] = ContextVar("payctl_zone_shown", default=None)


def show_in(zone: Callable[[], tzinfo]) -> None:
    """From now on, show times in the zone that ``zone()`` returns. ``zone`` is called only when a time is shown."""
    _zone.set(zone)


def instant(at: datetime) -> str:
    """Return a time as text such as ``2026-11-22T10:04:05.678+07:00``. In UTC, the offset is ``Z``."""
    return at.astimezone(zone_shown()).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def zone_shown() -> tzinfo:
    """Return the time zone in which times are shown."""
    zone = _zone.get()
    return zone() if zone else UTC


def clock(at: datetime) -> str:
    """Return a time as text for a terminal, such as ``2026-11-22 10:04:05.678 +07:00``."""
    return local(at, zone_shown())


def shown(value: object) -> str:
    """Return a value as the text for one table cell."""
    return instant(value) if isinstance(value, datetime) else cell(value)
