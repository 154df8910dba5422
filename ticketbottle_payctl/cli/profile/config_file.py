"""Find and read the configuration file, and check who can change it."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

from ticketbottle_payctl.errors import ConfigError

_LARGEST_FILE = 1_048_576
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def config_path(given: str | None, environ: Mapping[str, str]) -> Path:
    """Return the configuration file's path. If no path was given, return ``$XDG_CONFIG_HOME/payctl/config.toml``."""
    if given is not None:
        return Path(given)
    base = environ.get("XDG_CONFIG_HOME") or ""
    # The XDG base directory specification says that a relative path must be ignored.
    root = Path(base) if base.startswith("/") else Path(environ.get("HOME") or "~").expanduser() / ".config"
    return root / "payctl" / "config.toml"


def refuse_writable(path: Path, name: str) -> None:
    """Raise an error if any account except this one and root can change the file with the guard of profile ``name``.

    Raises:
        ConfigError: another account can write or replace the file, or the file cannot be inspected.
    """
    try:
        real = path.resolve()
        file, folder = real.stat(), real.parent.stat()
    except (OSError, RuntimeError) as error:
        from ticketbottle_payctl.cli.profile.unusable_file import unreadable  # noqa: PLC0415 - not for --help

        raise unreadable(path, error) from error
    trusted = {0, os.geteuid()}
    if file.st_uid not in trusted:
        why, fix = "it belongs to another user", f"sudo chown {os.geteuid()} {shlex.quote(str(real))}"
    elif file.st_mode & _OTHERS_WRITE:
        why, fix = "other users can write to it", f"chmod go-w {shlex.quote(str(real))}"
    elif folder.st_uid not in trusted:
        why, fix = (
            "its directory belongs to another user",
            "move it to a directory of your own, and pass its path with --config",
        )
    elif folder.st_mode & _OTHERS_WRITE and not folder.st_mode & stat.S_ISVTX:
        why, fix = (
            "other users can replace it, because they can write to its directory",
            f"chmod go-w {shlex.quote(str(real.parent))}",
        )
    else:
        return
    message = f"the configuration file {path} is refused for the protected profile {name}: {why}"
    raise ConfigError(message, hint=fix)


def parse(path: Path) -> Mapping[str, object]:
    """Return the file's content.

    Raises:
        ConfigError: the file cannot be read, or is not TOML.
    """
    import tomllib  # noqa: PLC0415 - only if there is a file

    from ticketbottle_payctl.cli.profile.unusable_file import unreadable, unusable  # noqa: PLC0415 - not for --help

    try:
        if path.exists() and not path.is_file():  # opening a named pipe would wait for a writer
            message = f"the configuration file {path} is not a regular file"
            raise unusable(message, "replace it with a file")
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            message = f"{path} is larger than 1 MiB, the limit for a configuration file"
            raise unusable(message, "make the file smaller")
        return tomllib.loads(text.decode())
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:  # the file is not TOML or not UTF-8; the error is dropped, because it may quote a value
        place = _place(error)
        message = f"{path} is not valid TOML{place}"
        raise unusable(message, "correct it there" if place else "write it as TOML in UTF-8") from None


def table_of(value: object, name: str, path: Path) -> Mapping[str, object]:
    """Return the value of ``name`` in the file, which must be a table.

    Raises:
        ConfigError: the value is not a table.
    """
    if not isinstance(value, dict):
        from ticketbottle_payctl.cli.profile.unusable_file import unusable  # noqa: PLC0415 - not for --help

        heading = "profiles.NAME" if name == "profiles" else name
        message = f"{name} in {path} is not a table"
        raise unusable(message, f"write it as a table with the heading [{heading}]")
    return value


def _place(error: ValueError) -> str:
    found = re.search(r"line \d+, column \d+", str(error))
    return f" at {found[0]}" if found else ""
