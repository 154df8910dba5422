"""Implement ``payctl version``, which shows the versions of payctl and the packages that it uses."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TypedDict

import typer

from ticketbottle_payctl import __version__
from ticketbottle_payctl.cli.app.global_options import VERSION_LINE
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output.result import Fields, Result, line

_PARTS = ("confluent-kafka", "psycopg2-binary", "sqlalchemy", "tenacity", "typer", "rich", "httpx")


class VersionFacts(TypedDict):
    """The versions of payctl, Python, the system and the packages."""

    payctl: str
    """payctl's version."""
    python: str
    """The Python interpreter's version."""
    platform: str
    """The operating system and the machine type."""
    packages: Mapping[str, str]


def version_command(ctx: typer.Context) -> None:
    """Show the versions of payctl and of its packages.

    `payctl --version` prints only the first line.
    """
    built_with = {name: _installed(name) for name in _PARTS}
    facts: VersionFacts = {
        "payctl": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system().lower()}-{platform.machine()}",
        "packages": {name: found for name, found in built_with.items() if found},
    }
    details = Fields(tuple((name, value) for name, value in facts.items() if name != "payctl"))
    Session.of(ctx).finish(Result("payctl.version/1", result=facts, human=[line(VERSION_LINE), details]))


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
