"""Decide which guards apply. A guard protects a database, whatever the name of the profile that leads to it.

If several profiles in the file lead to the database of DATABASE_URL, the guards of all of them apply, whichever profile
is in use. Of each limit, the strictest applies. Two URLs lead to one database if their host, port and database name are
the same; localhost, 127.0.0.1, ::1 and a socket are one host. If a profile states its server's system identifier, its
guard also applies to a connection through a tunnel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ticketbottle_payctl.cli.profile import endpoints
from ticketbottle_payctl.cli.profile.profiles import Profile, config_path, every, refuse_writable
from ticketbottle_payctl.settings.place import leads_to


class Cap(NamedTuple):
    """How many rows one command may change, and the profile that sets this limit."""

    most: int
    owner: str | None


@dataclass(frozen=True, slots=True)
class GuardInForce:
    """The profiles whose guards apply. ``recognisable`` are the other profiles that state a system identifier."""

    profiles: tuple[Profile, ...]
    recognisable: tuple[Profile, ...] = ()

    @property
    def protected(self) -> str | None:
        """The name of the first protected profile. Then a change needs a reason, and the operator types the name."""
        return next((each.name for each in self.profiles if each.guard.protected), None)

    @property
    def read_only(self) -> str | None:
        """The name of the first profile that is ``read_only``. Then nothing may be changed."""
        return next((each.name for each in self.profiles if each.guard.read_only), None)

    @property
    def max_affected(self) -> int | None:
        """The lowest limit of rows that a profile sets, or None."""
        caps = [each.guard.max_affected for each in self.profiles if each.guard.max_affected is not None]
        return min(caps, default=None)

    def cap(self, default: int) -> Cap:
        """Return the lowest limit of rows and the profile that sets it. If no profile sets one, return the default."""
        caps = [
            Cap(each.guard.max_affected, each.name) for each in self.profiles if each.guard.max_affected is not None
        ]
        return min(caps, key=lambda cap: cap.most, default=Cap(default, self.profiles[0].name))

    def on_server(self, system_identifier: str | None, database: str) -> GuardInForce:
        """Return the guards that apply to the server that a connection has reached.

        ``system_identifier`` is None if the server does not tell it. Then every profile with this database counts.
        """
        found = tuple(
            each
            for each in self.recognisable
            if _database(each) in {None, database}
            and each.guard.system_identifier == (system_identifier or each.guard.system_identifier)
        )
        return GuardInForce((*found, *self.profiles))


def in_force(profile: Profile, given: str | None, environ: Mapping[str, str]) -> GuardInForce:
    """Return the guards that apply to the database of ``profile``. ``given`` is the path from ``--config``.

    An operator confirms with the name of the first profile. If ``profile`` leads to this database by its entry in the
    file, it comes first. Otherwise the profiles that lead there come first.

    Raises:
        ConfigError: there is a file, and it cannot be read or understood, or it has a protected profile for this
            database and another user may write it.
    """
    url = profile.environ.get("DATABASE_URL", "")
    path = _file(given, environ) if leads_to(url) else None
    known = every(path) if path else []
    here = [each for each in known if endpoints.same_database(each.environ.get("DATABASE_URL", ""), url)]
    elsewhere = tuple(
        each for each in known if each not in here and each.name != profile.name and each.guard.system_identifier
    )
    others = [each for each in here if each.name != profile.name]
    own = len(others) < len(here)
    protected = next((each.name for each in (*here, *elsewhere) if each.guard.protected and each.name), None)
    if path and protected:
        refuse_writable(path, protected)
    return GuardInForce((profile, *others) if own else (*here, profile), elsewhere)


def _database(profile: Profile) -> str | None:
    place = leads_to(profile.environ.get("DATABASE_URL", ""))
    return place.database if place else None


def _file(given: str | None, environ: Mapping[str, str]) -> Path | None:
    """Return the configuration file, or None if there is none or if this account cannot look for it."""
    try:
        path = config_path(given, environ)
        return path if path.is_file() else None
    except (OSError, RuntimeError):
        return None
