"""Read ``deploy/samconfig.toml``, and check that a section has every setting that a deployment needs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.refusal import NotDeployableError

Config = Mapping[str, Any]
"""One section of the file, such as ``dev``."""

_DEFAULTS = "default"
"""The section that the SAM CLI uses if no other section is named. No deployment uses this section."""

_EXAMPLE = re.compile(r"(?<![A-Za-z])example|111122223333")
"""A pattern that matches the example values in the committed file."""

_WANTED: tuple[tuple[str, str, type], ...] = (
    ("global", "stack_name", str),
    ("global", "region", str),
    ("deploy", "parameter_overrides", list),
    ("deploy", "tags", list),
    ("deploy", "capabilities", str),
)
_KINDS: Mapping[type, str] = {str: "a string", list: "a list of strings"}


def sections(file: Path) -> dict[str, Config]:
    """Return each section for a deployment. Leave out the defaults for the SAM CLI.

    Raises:
        NotDeployableError: the file cannot be read, or is not TOML.
    """
    try:
        known = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        raise NotDeployableError(message) from error
    except UnicodeDecodeError as error:
        message = f"{file} is not UTF-8"
        raise NotDeployableError(message) from error
    except tomllib.TOMLDecodeError as error:
        message = f"{file} is not TOML: {error}"
        raise NotDeployableError(message) from error
    return {name: found for name, found in known.items() if isinstance(found, dict) and name != _DEFAULTS}


def section_named(known: Mapping[str, Config], environment: str, file: Path) -> Config:
    """Return a section, in which every needed setting has the right type.

    Raises:
        NotDeployableError: the section or one of its settings is missing, or a setting has the wrong type.
    """
    if environment not in known:
        names = list(known)
        there = f": it has {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else ""
        message = f"{file} has no section {environment} to deploy{there}"
        raise NotDeployableError(message)
    for part, name, kind in _WANTED:
        place = f"[{environment}.{part}.parameters]"
        value = _parameters(known[environment], part).get(name)
        if value is None:
            message = f"{file} has no {name} in {place}"
            raise NotDeployableError(message)
        parts = value if isinstance(value, list) else [value]
        if not isinstance(value, kind) or not all(isinstance(each, str) for each in parts):
            message = f"{name} in {place} of {file} must be {_KINDS[kind]}"
            raise NotDeployableError(message)
    return known[environment]


def stacks(known: Mapping[str, Config]) -> dict[str, str]:
    """Return the stack name of each section. Leave out the sections without a stack name."""
    found = {name: _parameters(one, "global").get("stack_name") for name, one in known.items()}
    return {name: stack for name, stack in found.items() if isinstance(stack, str)}


def overrides(section: Config) -> dict[str, str]:
    """Return the parameters in a section as written, without checking them."""
    given = _parameters(section, "deploy").get("parameter_overrides", [])
    pairs = [each.partition("=") for each in given if isinstance(each, str)] if isinstance(given, list) else []
    return {name: value for name, equals, value in pairs if equals}


def is_example(value: str) -> bool:
    """Return whether a value is still the example, which names no real resource."""
    return bool(_EXAMPLE.search(value))


def _parameters(section: Config, part: str) -> Mapping[str, Any]:
    tables = section.get(part, {})
    found = tables.get("parameters", {}) if isinstance(tables, dict) else {}
    return found if isinstance(found, dict) else {}
