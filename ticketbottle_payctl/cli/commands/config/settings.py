"""Collect the settings for ``payctl config`` with their values and origins, and check them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypedDict

from ticketbottle_payctl import providers, tracing
from ticketbottle_payctl.cli.commands.config import names
from ticketbottle_payctl.cli.commands.config.files import check_database_files, check_kafka_client
from ticketbottle_payctl.cli.profile.guard_in_force import GuardInForce
from ticketbottle_payctl.cli.profile.profiles import Profile
from ticketbottle_payctl.cli.safety.confirm import DEFAULT_MAX_AFFECTED
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings import Settings
from ticketbottle_payctl.settings.protection import REMEDY, unprotected
from ticketbottle_payctl.settings.time_zone import machine_zone

GROUPS = ("database", "kafka", *providers.GATEWAYS)
"""The groups of settings that not every command needs."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting to show. ``value`` is None if the setting is secret or not set."""

    name: str
    value: str | None
    is_set: bool
    origin: str

    @property
    def text(self) -> str:
        """The value as people see it."""
        return self.value if self.value is not None else "(hidden)" if self.is_set else ""


@dataclass(frozen=True, slots=True)
class CheckedSettings:
    """The result of checking a group of settings, and the problem, if any.

    A warning does not make the group invalid.
    """

    name: str
    ok: bool
    message: str
    warnings: tuple[str, ...] = ()


class SettingItem(TypedDict):
    """A setting in the output."""

    name: str
    """The variable."""
    value: str | None
    """The value; null if it is hidden or not set."""
    is_set: bool
    origin: str
    """The source of the value: environment, default, not set, or the profile and its file."""


def setting_of(row: Shown) -> SettingItem:
    """Return a setting for the JSON output."""
    return {"name": row.name, "value": row.value, "is_set": row.is_set, "origin": row.origin}


def shown(profile: Profile, guard: GuardInForce) -> list[Shown]:
    """Return every setting that payctl knows, with its origin.

    Raises:
        ConfigError: a value is invalid.
    """
    settings = Settings.from_env(profile.environ)
    rows = [_row(profile, "DATABASE_URL", _database(settings))]
    rows += [_row(profile, name, str(value(settings))) for name, value in names.DEFAULTED.items()]
    rows += [_row(profile, name, profile.environ.get(name) or None) for name in names.PLAIN]
    rows += [_row(profile, name, _address(profile.environ.get(name))) for name in names.ASKED_AT]
    rows += [_row(profile, name, None) for name in names.HIDDEN]
    rows += [_row(profile, name, _place(profile, name)) for name in names.ONLY_WHERE_SET if profile.environ.get(name)]
    rows.append(_of_profile(profile, "tz", profile.tz or _machine_zone(profile)))
    return rows + [_guard(profile, guard, name) for name in ("protected", "read_only", "max_affected")]


def check_settings(profile: Profile, only: Collection[str] = GROUPS) -> list[CheckedSettings]:
    """Check each group of settings with the code that uses it, and report names that payctl does not read.

    ``only`` contains the names of the groups to check, out of :data:`GROUPS`. The general settings are always checked.
    """
    general = _check("general", lambda: f"environment {Settings.from_env(profile.environ).environment}")
    found = [general]
    if general.ok:
        settings = Settings.from_env(profile.environ)
        if "database" in only:
            found.append(_check_database(settings, profile))
        if "kafka" in only:
            found.append(_check("kafka", lambda: check_kafka_client(settings.kafka)))
    if lacking := tracing.lacks_packages(profile.environ):
        found.append(CheckedSettings("tracing", ok=True, message="off", warnings=(lacking,)))
    if profile.tz is None:
        found.append(_check("time zone", lambda: str(machine_zone(profile.environ))))
    found += [_check_gateway(profile, name) for name in providers.GATEWAYS if name in only]
    return found + [CheckedSettings(name, ok=False, message=message) for name, message in names.unknown(profile)]


def _machine_zone(profile: Profile) -> str:
    try:
        return str(machine_zone(profile.environ))
    except ConfigError as error:
        return f"unknown: {error.message}"


def _row(profile: Profile, name: str, value: str | None) -> Shown:
    is_set = bool(profile.environ.get(name))
    origin = profile.origins.get(name, "environment") if is_set else "default" if value is not None else "not set"
    return Shown(name, value, is_set, origin)


def _guard(profile: Profile, guard: GuardInForce, name: str) -> Shown:
    """Return one setting of the guard.

    If the setting comes from a profile that is not in use, its origin names that profile.
    """
    cap = guard.cap(DEFAULT_MAX_AFFECTED)
    value, owner = {
        "protected": (str(guard.protected is not None).lower(), guard.protected),
        "read_only": (str(guard.read_only is not None).lower(), guard.read_only),
        "max_affected": (str(cap.most), cap.owner),
    }[name]
    if owner is None or owner == profile.name:
        return _of_profile(profile, f"guard.{name}", value)
    return Shown(f"guard.{name}", value, is_set=True, origin=f"profile {owner}, which has the same database")


def _of_profile(profile: Profile, name: str, value: str) -> Shown:
    """Return a setting that only a profile can have."""
    return Shown(name, value, name in profile.origins, profile.origins.get(name, "default"))


def _place(profile: Profile, name: str) -> str | None:
    """Return the ARN in this variable, because an ARN is not secret.

    For a variable that does not hold an ARN, return None.
    """
    return profile.environ[name] if name in names.ARNS else None


def _address(value: str | None) -> str | None:
    """Return a gateway's address, or None if it may contain a password."""
    return value if value and "@" not in value else None


def _database(settings: Settings) -> str | None:
    """Return the server and the database name, without the user or the password."""
    try:
        return str(settings.database.place)
    except ConfigError:
        return None


def _check_database(settings: Settings, profile: Profile) -> CheckedSettings:
    try:
        database = settings.database
        check_database_files(database, profile.environ)
    except ConfigError as error:
        return CheckedSettings("database", ok=False, message=error.message)
    weakness = unprotected(database, profile.environ)
    warnings = (*database.remarks, f"{weakness}: {REMEDY}") if weakness else database.remarks
    return CheckedSettings("database", ok=True, message=str(database.place), warnings=warnings)


def _check(name: str, read: Callable[[], str]) -> CheckedSettings:
    try:
        return CheckedSettings(name, ok=True, message=read())
    except ConfigError as error:
        return CheckedSettings(name, ok=False, message=error.message)


def _check_gateway(profile: Profile, name: str) -> CheckedSettings:
    fields = [field.env for field in providers.GATEWAYS[name].fields if field.signs_callbacks]
    absent = [each for each in fields if not profile.environ.get(each)]
    if not absent:
        return CheckedSettings(name, ok=True, message="its callbacks can be checked")
    elsewhere = [each for each in absent if profile.environ.get(f"{each}{names.SECRET_ARN}")]
    if absent == elsewhere:
        named = ", ".join(f"{each}{names.SECRET_ARN}" for each in elsewhere)
        return CheckedSettings(name, ok=True, message=f"not used on the command line: only the functions read {named}")
    if absent == fields:
        return CheckedSettings(name, ok=True, message="off: no keys are set")
    return CheckedSettings(name, ok=False, message=f"some keys are set, but not {', '.join(absent)}")
