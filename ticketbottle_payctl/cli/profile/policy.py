"""Which guards count. A guard protects a database, not the name by which it is reached.

If several profiles in the file lead to the database of DATABASE_URL, the guards of all of them count, whichever profile
was named: of each limit the stricter. Places are compared as they are written; localhost, 127.0.0.1, ::1 and a socket
are one server. A profile may also state its server's system identifier; then it is recognised through a tunnel too.
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
    """How many rows one command may change, and which profile says so."""

    most: int
    owner: str | None


@dataclass(frozen=True, slots=True)
class GuardInForce:
    """The profiles whose guards count. ``recognisable`` are others in the file that state their server's identifier."""

    profiles: tuple[Profile, ...]
    recognisable: tuple[Profile, ...] = ()

    @property
    def protected(self) -> str | None:
        """The name of the profile that wants a reason and its name typed."""
        return next((each.name for each in self.profiles if each.guard.protected), None)

    @property
    def read_only(self) -> str | None:
        """The name of the profile that lets nothing be changed."""
        return next((each.name for each in self.profiles if each.guard.read_only), None)

    @property
    def max_affected(self) -> int | None:
        """The lowest cap that a profile sets, or None."""
        caps = [each.guard.max_affected for each in self.profiles if each.guard.max_affected is not None]
        return min(caps, default=None)

    def cap(self, default: int) -> Cap:
        """Return the lowest cap that was set and its owner; if none was set, the default."""
        caps = [
            Cap(each.guard.max_affected, each.name) for each in self.profiles if each.guard.max_affected is not None
        ]
        return min(caps, key=lambda cap: cap.most, default=Cap(default, self.profiles[0].name))

    def on_server(self, system_identifier: str | None, database: str) -> GuardInForce:
        """Return the guards that count once the server has said who it is.

        If the server does not tell its identifier (None), every profile that names this database counts: the stricter.
        """
        found = tuple(
            each
            for each in self.recognisable
            if _database(each) in {None, database}
            and each.guard.system_identifier == (system_identifier or each.guard.system_identifier)
        )
        return GuardInForce((*found, *self.profiles))


def in_force(profile: Profile, given: str | None, environ: Mapping[str, str]) -> GuardInForce:
    """Return the guards that count for what ``profile`` leads to. ``given`` is the file that was named.

    If the named profile is one of the database's own, it comes first: its name is the one to confirm. Otherwise the
    database's own profiles come first.

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
    """Return the configuration file if there is one. An account may have no home, or one that it may not look into."""
    try:
        path = config_path(given, environ)
        return path if path.is_file() else None
    except (OSError, RuntimeError):
        return None
