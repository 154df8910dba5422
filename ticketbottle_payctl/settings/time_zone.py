"""Find a time zone by its IANA name or by a POSIX string. These are the values that the TZ variable can have.

A POSIX string has the same meaning as in the ``date`` command. ``ICT-7`` and ``<+07>-7`` are seven hours ahead of UTC.
``EST5EDT,M3.2.0,M11.1.0`` has its own rules for summer time, and ``EST5EDT`` uses the United States' rules.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from ticketbottle_payctl.errors import ConfigError

_IANA = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,3}")
_NAME = r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)"
_OFFSET = r"[+-]?\d{1,2}(?::\d{2}){0,2}"
_POSIX = re.compile(rf"(?P<standard>{_NAME})(?P<offset>{_OFFSET})(?P<summer>{_NAME}(?:{_OFFSET})?)?(?P<rules>,.+)?")
_RULES_OF_THE_UNITED_STATES = ",M3.2.0,M11.1.0"
_HINT = "write a zone such as Asia/Ho_Chi_Minh, UTC or <+07>-7; names need the system's tzdata"


def time_zone(text: str) -> tzinfo:
    """Return the time zone with this name or POSIX string.

    Raises:
        ValueError: the zone does not exist, or the POSIX string is invalid.
    """
    # ZoneInfo imports a package for each part of an unknown name, so a long path would exhaust the stack.
    if _IANA.fullmatch(text):
        try:
            return ZoneInfo(text)
        except (KeyError, ValueError, OSError):  # the name is unknown, is not valid, or is a directory
            pass
    return _posix(text)


def machine_zone(environ: Mapping[str, str] | None = None, *, localtime: str = "/etc/localtime") -> tzinfo:
    """Return the machine's time zone, from TZ or, if TZ is not set, from the link ``localtime``.

    Without such a link, return the current offset from UTC. An empty TZ means UTC, as in the ``date`` command.

    Raises:
        ConfigError: TZ is neither a known name nor a POSIX string. The ``date`` command would use UTC without a
            warning.
    """
    given = (os.environ if environ is None else environ).get("TZ")
    if given is None:
        linked = os.path.realpath(localtime).partition("/zoneinfo/")[2]
        try:
            return ZoneInfo(linked)
        except (KeyError, ValueError, OSError):
            offset = datetime.now(UTC).astimezone().utcoffset()
            return timezone(offset) if offset else UTC
    named = given.removeprefix(":")
    if not named:
        return UTC
    try:
        return _of_file(Path(named)) if named.startswith("/") else time_zone(named)
    except (ValueError, OSError) as error:
        message = "TZ is not a time zone"
        raise ConfigError(message, hint=f"{_HINT}; or give --tz") from error


def _posix(text: str) -> tzinfo:
    """Return the zone for a POSIX string. The standard library can read POSIX strings only from a file."""
    found = _POSIX.fullmatch(text)
    if found is None:
        message = "not a time zone"
        raise ValueError(message)
    rules = _RULES_OF_THE_UNITED_STATES if found["summer"] and not found["rules"] else ""
    return ZoneInfo.from_file(io.BytesIO(_without_history(f"{text}{rules}")), key=text)


def _without_history(rule: str) -> bytes:
    """Return the content of a time zone file (RFC 8536, version 2) in which this rule applies to all times."""
    header = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 0, 1, 4)
    block = struct.pack(">lbb4s", 0, 0, 0, b"UTC\0")
    return 2 * (header + block) + f"\n{rule}\n".encode()


def _of_file(path: Path) -> tzinfo:
    with path.open("rb") as file:
        return ZoneInfo.from_file(file, key=str(path))
