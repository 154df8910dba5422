"""Read instants in a known time zone, and print how payctl understood them.

Examples are ``2h``, ``90m``, ``3d``, ``2h ago``, ``now``, ``today``, ``yesterday``, ``09:00``, ``2026-11-22``,
``2026-11-22T10:00`` and RFC 3339 (which has its own zone). Ambiguous input is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.input.durations import duration
from ticketbottle_payctl.cli.output.result import dim
from ticketbottle_payctl.formats import local_and_utc

_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""The range of accepted instants. Near the limits of ``datetime``, converting to another zone can overflow."""

_EXAMPLES = "use a value such as 2h, yesterday, 09:00, 2026-11-22, 2026-11-22T10:00 or 2026-11-22T03:00:00Z"
_CLOCK = re.compile(r"\d{2}:\d{2}(:\d{2})?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_LOCAL = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?")
_RFC_3339 = re.compile(rf"({_LOCAL.pattern})(Z|z|[+-]\d{{2}}:\d{{2}})")
_ORDER_UNKNOWN = re.compile(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}|\d{4}/\d{1,2}/\d{1,2}")


def instant(text: str, zone: tzinfo, now: datetime, *, option: str | None = None) -> datetime:
    """Parse ``text``, and return the instant in UTC. A day means its start, and a duration means that long ago.

    Days and clock times are read in ``zone``. ``2h ago`` and ``today`` are relative to ``now``, which must have a zone.
    Error messages contain ``option``.

    Raises:
        typer.BadParameter: the value has no accepted format, is ambiguous, does not exist in ``zone``, or is not
            :func:`in_reach`.
    """
    try:
        moment = _parse(text.strip(), zone, now).astimezone(UTC)
        return moment if in_reach(moment) else _too_far(text)
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is not a valid time; {_EXAMPLES}"
        raise typer.BadParameter(message, param_hint=option) from error
    except typer.BadParameter as error:
        raise typer.BadParameter(error.message, param_hint=option) from error


def in_reach(moment: datetime) -> bool:
    """Return whether an instant is between 1900 and 2199, so that every zone and the database can represent it."""
    return _EARLIEST <= moment < _LATEST


def is_fixed(text: str) -> bool:
    """Return whether ``text`` always means the same instant, as a date or an RFC 3339 instant does."""
    return any(form.fullmatch(text.strip()) for form in (_RFC_3339, _LOCAL, _DAY))


def database_clock_of(session: Session) -> Callable[[], datetime]:
    """Return the clock of the session's database.

    The rows' times come from the database's clock, and this machine's clock may be wrong.

    Raises:
        ConfigError: the database is not configured.
        DatabaseUnavailableError: the server cannot be reached.
    """
    from ticketbottle_payctl.jobs.reconcile.database_clock import database_clock  # noqa: PLC0415 - loads the driver

    return database_clock(session.services.engine)


def age(text: str) -> timedelta:
    """Parse a duration such as ``2h``, ``90m`` or ``3d ago``.

    Raises:
        typer.BadParameter: the value is not a duration, or the duration is zero.
    """
    return duration(text.strip().removesuffix("ago").strip())


def is_age(text: str) -> bool:
    """Return whether ``text`` is a duration such as ``2h``, and not an instant."""
    try:
        age(text)
    except typer.BadParameter:
        return False
    return True


def zone_of(session: Session) -> tzinfo:
    """Return the zone for reading and showing times: ``--tz``, then the profile's zone, then the machine's.

    Raises:
        ConfigError: the profile or its file is missing or invalid, or TZ is not a time zone.
    """
    return session.zone


def note_window(session: Session, since: datetime | None, until: datetime | None, *, by: str | None = None) -> None:
    """Print the window on stderr, in local time and in UTC, below the line about the target.

    If the window has neither a start nor an end, print nothing.
    """
    if since is None and until is None:
        return
    zone = zone_of(session)
    start = local_and_utc(since, zone) if since else "the beginning"
    end = local_and_utc(until, zone) if until else "now"
    session.note_below(dim("window"), f"{start} → {end}", dim(f"by {by}") if by else dim(""))


def _parse(text: str, zone: tzinfo, now: datetime) -> datetime:
    lowered = text.lower()
    words: dict[str, Callable[[], datetime]] = {
        "now": lambda: now,
        "today": lambda: _local(_today(zone, now), time.min, zone, first=True),
        "yesterday": lambda: _local(_today(zone, now) - timedelta(days=1), time.min, zone, first=True),
    }
    if lowered in words:
        return words[lowered]()
    if found := _RFC_3339.fullmatch(text):
        return datetime.fromisoformat(f"{_with_t(found[1])}{found[4].upper()}")
    if _LOCAL.fullmatch(text):
        there = datetime.fromisoformat(_with_t(text))
        return _local(there.date(), there.time(), zone)
    if _DAY.fullmatch(text):
        return _local(date.fromisoformat(text), time.min, zone, first=True)
    if _CLOCK.fullmatch(text):
        return _local(_today(zone, now), time.fromisoformat(text), zone)
    _refuse_ambiguous(text)
    return now - age(lowered) if re.match(r"\d+[a-z]", lowered) else _no(text)


def _with_t(text: str) -> str:
    return f"{text[:10]}T{text[11:]}"


def _today(zone: tzinfo, now: datetime) -> date:
    return now.astimezone(zone).date()


def _local(day: date, clock: time, zone: tzinfo, *, first: bool = False) -> datetime:
    """Return the instant of a clock time on a day in ``zone``.

    If a clock change skips or repeats this time, raise an error unless ``first`` is True.
    """
    early, late = (datetime.combine(day, clock.replace(fold=fold), zone) for fold in (0, 1))
    if early.utcoffset() != late.utcoffset() and not first:
        message = f"{clock} on {day} is ambiguous or skipped in {zone} (clock change); add an offset or Z"
        raise typer.BadParameter(message)
    return early


def _refuse_ambiguous(text: str) -> None:
    if text.isdigit():
        message = f"{text!r} is ambiguous: seconds, days or a year? {_EXAMPLES}"
        raise typer.BadParameter(message)
    if _ORDER_UNKNOWN.fullmatch(text):
        message = f"{text!r} is ambiguous: which number is the day, which the month? Write 2026-11-22"
        raise typer.BadParameter(message)


def _too_far(text: str) -> datetime:
    message = f"{text!r} is not between 1900 and 2199"
    raise typer.BadParameter(message)


def _no(text: str) -> datetime:
    message = f"{text!r} is not a valid time; {_EXAMPLES}"
    raise typer.BadParameter(message)
