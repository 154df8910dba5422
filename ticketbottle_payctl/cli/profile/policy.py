"""Whose guard counts. A guard protects a database, not the name by which it is reached.

Where the environment's DATABASE_URL leads to the database of other profiles in the file, their guards count beside
that of the profile that was named, if any was: of each limit the stricter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ticketbottle_payctl.cli.profile import endpoints
from ticketbottle_payctl.cli.profile.profiles import Profile, config_path, every


class Cap(NamedTuple):
    """How many rows one command may change, and which profile says so."""

    most: int
    owner: str | None


@dataclass(frozen=True, slots=True)
class GuardInForce:
    """The profiles whose guards count: those whose database it is, then the one that was named or none."""

    profiles: tuple[Profile, ...]

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
        """The lowest cap that was set; None where none was."""
        caps = [each.guard.max_affected for each in self.profiles if each.guard.max_affected is not None]
        return min(caps, default=None)

    def cap(self, default: int) -> Cap:
        """The lowest cap and whose it is; a profile that sets none has the default."""
        caps = [Cap(each.guard.max_affected or default, each.name) for each in self.profiles]
        return min(caps, key=lambda cap: cap.most)


def in_force(profile: Profile, given: str | None, environ: Mapping[str, str]) -> GuardInForce:
    """The guards that count for what ``profile`` leads to; ``given`` is the file that was named.

    Raises:
        ConfigError: there is a file, and it cannot be read or understood.
    """
    place = endpoints.database(profile.environ.get("DATABASE_URL", ""))
    own = place is None or "DATABASE_URL" in profile.origins
    path = None if own else _file(given, environ)
    here = [] if path is None else [each for each in every(path) if _leads_to(each, place)]
    if any(each.name == profile.name for each in here):
        return GuardInForce((profile,))
    return GuardInForce((*here, profile))


def _leads_to(profile: Profile, place: endpoints.Database | None) -> bool:
    return endpoints.database(profile.environ.get("DATABASE_URL", "")) == place


def _file(given: str | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file, where there is one. An account may have no home, or one that it may not look into."""
    try:
        path = config_path(given, environ)
        return path if path.is_file() else None
    except (OSError, RuntimeError):
        return None
