"""Read profiles, which are named groups of settings in a TOML file. The environment overrides a profile's settings.

::

    [profiles.staging]
    DATABASE_URL = "postgresql://..."
    KAFKA_BROKERS = "..."
    tz = "Asia/Ho_Chi_Minh"

    [profiles.staging.guard]
    protected = true        # changes need --reason and the profile's name
    read_only = false       # true refuses every change
    max_affected = 1000     # rows one command may change
    system_identifier = "7391..."  # from pg_control_system; identifies the server through a tunnel
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

import typer

from ticketbottle_payctl.cli.profile.config_file import config_path, parse, refuse_writable, table_of
from ticketbottle_payctl.errors import ConfigError, PayctlError
from ticketbottle_payctl.settings.place import leads_to

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Guard:
    """A profile's guard, which limits changes. If ``max_affected`` is None, each command's own default applies."""

    protected: bool = False
    read_only: bool = False
    max_affected: int | None = None
    system_identifier: str | None = None
    """The server's system identifier. The guard applies to all connections to this server, whatever their URL is."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The effective settings. ``origins`` maps each setting from the profile to the profile's file.

    ``hidden`` contains the profile's values that the environment overrides.
    """

    name: str | None
    environ: Mapping[str, str] = field(repr=False)
    origins: Mapping[str, str] = field(default_factory=dict)
    guard: Guard = field(default_factory=Guard)
    tz: str | None = None
    hidden: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def misled(self) -> list[str]:
        """A warning for each address in the profile that the environment overrides with a different address."""
        if not self.hidden:
            return []
        from ticketbottle_payctl.cli.profile import same_address  # noqa: PLC0415 - not for --help

        found = []
        for name, same, said in (
            ("DATABASE_URL", same_address.same_database, _database),
            ("KAFKA_BROKERS", same_address.same_brokers, _brokers),
        ):
            other = self.environ.get(name, "")
            if name in self.hidden and not same(self.hidden[name], other):
                found.append(f"{name} from the environment overrides profile {self.name}: {said(other)}")
        return found


def load(name: str | None, given: str | None, environ: Mapping[str, str]) -> Profile:
    """Return the environment with a profile's values added. If neither a profile nor a file was given, read no file.

    Raises:
        ConfigError: the file cannot be read, or the profile is not in it.
    """
    if name is None and given is None:
        return Profile(None, environ)
    path = config_path(given, environ)
    known = table_of(parse(path).get("profiles", {}), "profiles", path)
    if name is None:
        return Profile(None, environ)
    if name not in known:
        message = f"profile {name} is not in {path}"
        raise ConfigError(message, hint=f"one of: {', '.join(known)}" if known else "add the profile to the file")
    found = _profile(name, table_of(known[name], f"profiles.{name}", path), path, environ)
    if found.guard.protected:
        refuse_writable(path, name)
    return found


def every(path: Path) -> list[Profile]:
    """Return every profile in a file, without values from the environment.

    Raises:
        ConfigError: the file cannot be read, or a profile in it is invalid.
    """
    known = table_of(parse(path).get("profiles", {}), "profiles", path)
    return [_profile(name, table_of(known[name], f"profiles.{name}", path), path, {}) for name in known]


def names(path: Path) -> list[str]:
    """Return the names of the profiles in a file.

    Raises:
        ConfigError: the file cannot be read.
    """
    return list(table_of(parse(path).get("profiles", {}), "profiles", path))


def _profile(name: str, table: Mapping[str, object], path: Path, environ: Mapping[str, str]) -> Profile:
    values: dict[str, str] = {}
    for key, value in table.items():
        if key in {"guard", "tz"}:
            continue
        if not _VARIABLE.fullmatch(key) or not isinstance(value, str | int | float):
            message = f"profiles.{name}.{key} in {path} is not a setting"
            raise ConfigError(
                message, hint="use the name of an environment variable, and a string or a number as its value"
            )
        values[key] = str(value).lower() if isinstance(value, bool) else str(value)
    tz = table.get("tz")
    if tz is not None and not _is_zone(tz):
        message = f"profiles.{name}.tz in {path} is not a time zone"
        raise ConfigError(message, hint='for example: tz = "Asia/Ho_Chi_Minh"')
    fills = {key: value for key, value in values.items() if not environ.get(key)}
    guards = table_of(table.get("guard", {}), f"profiles.{name}.guard", path)
    own = [*fills, *(["tz"] if tz else []), *(f"guard.{key}" for key in guards)]
    origins = dict.fromkeys(own, f"profile {name} in {path}")
    hidden = {key: value for key, value in values.items() if key not in fills}
    return Profile(name, {**environ, **fills}, origins, _guard(guards, name, path), tz, hidden)


def _database(url: str) -> str:
    return str(leads_to(url) or "no database")


def _brokers(text: str) -> str:
    from ticketbottle_payctl.cli.profile import same_address  # noqa: PLC0415 - not for --help

    return ",".join(sorted(same_address.brokers(text)))


def _is_zone(name: object) -> TypeGuard[str]:
    from ticketbottle_payctl.settings.time_zone import time_zone  # noqa: PLC0415 - only if a profile names a zone

    try:
        return isinstance(name, str) and bool(time_zone(name))
    except ValueError:
        return False


def _guard(table: Mapping[str, object], name: str, path: Path) -> Guard:
    for key, value in table.items():
        wanted = {"protected": (bool,), "read_only": (bool,), "max_affected": (int,), "system_identifier": (int, str)}
        if type(value) not in wanted.get(key, ()):
            message = f"profiles.{name}.guard.{key} in {path} is not a valid guard"
            hint = "protected and read_only are true or false; max_affected and system_identifier are numbers"
            raise ConfigError(message, hint=hint)
    cap = table.get("max_affected")
    if isinstance(cap, int) and cap < 1:
        message = f"profiles.{name}.guard.max_affected in {path} is less than 1"
        raise ConfigError(message, hint="to refuse every change, set read_only = true")
    identifier = str(table.get("system_identifier") or "")
    if identifier and not (identifier.isascii() and identifier.isdigit()):
        message = f"profiles.{name}.guard.system_identifier in {path} is not a number"
        sql = "SELECT system_identifier FROM pg_control_system()"
        raise ConfigError(message, hint="ask the server for its number in psql", sql=sql)
    return Guard(
        system_identifier=identifier or None,
        protected=table.get("protected") is True,
        read_only=table.get("read_only") is True,
        max_affected=cap if isinstance(cap, int) else None,
    )


def complete_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the profiles that begin with ``incomplete``, for a shell's completion. Never raise an error."""
    given = ctx.params.get("config") or ctx.find_root().params.get("config") or os.environ.get("PAYCTL_CONFIG")
    try:
        return [name for name in names(config_path(given, os.environ)) if name.startswith(incomplete)]
    except PayctlError:
        return []
