"""Decide which guards apply. A profile's guard protects the profile's database, even if another profile is in use.

If several profiles in the file point to the database in DATABASE_URL, the guards of all these profiles apply. If their
limits differ, the strictest limit applies. Two URLs point to the same database if their host, port and database name
are equal. localhost, 127.0.0.1, ::1 and a socket count as one host. If a profile contains its server's system
identifier, the profile's guard also applies to a connection through a tunnel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ticketbottle_payctl.cli.profile import same_address
from ticketbottle_payctl.cli.profile.config_file import config_path, refuse_writable
from ticketbottle_payctl.cli.profile.profiles import Profile, every
from ticketbottle_payctl.settings.place import leads_to


class Cap(NamedTuple):
    """The largest number of rows that one command is allowed to change, and the profile that sets this limit."""

    most: int
    owner: str | None


@dataclass(frozen=True, slots=True)
class GuardInForce:
    """The profiles whose guards apply. ``recognisable`` contains other profiles that have a system identifier."""

    profiles: tuple[Profile, ...]
    recognisable: tuple[Profile, ...] = ()

    @property
    def protected(self) -> str | None:
        """The first protected profile's name, or None.

        Before a command changes data under such a profile, the operator must give a reason and type the profile's name.
        """
        return next((each.name for each in self.profiles if each.guard.protected), None)

    @property
    def read_only(self) -> str | None:
        """The first ``read_only`` profile's name, or None. Such a profile forbids all changes."""
        return next((each.name for each in self.profiles if each.guard.read_only), None)

    @property
    def max_affected(self) -> int | None:
        """The lowest row limit of these profiles, or None if no profile sets a limit."""
        caps = [each.guard.max_affected for each in self.profiles if each.guard.max_affected is not None]
        return min(caps, default=None)

    def cap(self, default: int) -> Cap:
        """Return the lowest row limit and its profile. If no profile sets a limit, return ``default``."""
        caps = [
            Cap(each.guard.max_affected, each.name) for each in self.profiles if each.guard.max_affected is not None
        ]
        return min(caps, key=lambda cap: cap.most, default=Cap(default, self.profiles[0].name))

    def on_server(self, system_identifier: str | None, database: str) -> GuardInForce:
        """Return the guards that apply to the server at the other end of a connection.

        A guard in ``recognisable`` applies if it contains ``system_identifier``, and if its profile's URL is missing or
        has the database name ``database``. If the connection's role is not allowed to read the server's identifier,
        ``system_identifier`` is None, and only the database names are compared.
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

    To confirm a change, an operator must type the name of the first protected profile. In the list of profiles,
    ``profile`` comes first if its entry in the file points to this database. Otherwise the profiles that point to this
    database come before ``profile``.

    Raises:
        ConfigError: the file cannot be read or understood, or the file has a protected profile for this database and
            another user can write to the file.
    """
    url = profile.environ.get("DATABASE_URL", "")
    path = _file(given, environ) if leads_to(url) else None
    known = every(path) if path else []
    here = [each for each in known if same_address.same_database(each.environ.get("DATABASE_URL", ""), url)]
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
    """Return the configuration file. Return None if it does not exist or this account is not allowed to look for it."""
    try:
        path = config_path(given, environ)
        return path if path.is_file() else None
    except (OSError, RuntimeError):
        return None
