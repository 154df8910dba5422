"""What a shell may offer for an option's value. It never fails, never connects, reads one file at most."""

from __future__ import annotations

import os
from collections.abc import Iterable

import typer

from ticketbottle_payctl.errors import PayctlError


def profile_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The profiles of the configuration file that was named, or of the one in its usual place."""
    from ticketbottle_payctl.cli.profile.profiles import config_path, names  # noqa: PLC0415 - only where one presses Tab

    given = ctx.params.get("config") or ctx.find_root().params.get("config") or os.environ.get("PAYCTL_CONFIG")
    try:
        return _beginning(names(config_path(given, os.environ)), incomplete)
    except PayctlError:
        return []


def event_types(incomplete: str) -> list[str]:
    """The event types that have a topic."""
    from ticketbottle_payctl.domain.event import TOPICS  # noqa: PLC0415 - as above

    return _beginning(TOPICS, incomplete)


def gateways(incomplete: str) -> list[str]:
    """``auto`` and the gateways' names."""
    from ticketbottle_payctl.cli.input.callback_options import NAMES_OF_GATEWAYS  # noqa: PLC0415 - as above

    return _beginning(NAMES_OF_GATEWAYS, incomplete)


def zones(incomplete: str) -> list[str]:
    """The time zones that the machine knows."""
    from zoneinfo import available_timezones  # noqa: PLC0415 - as above

    return _beginning(sorted(available_timezones()), incomplete)


def schema_names(incomplete: str) -> list[str]:
    """The JSON Schemas there are."""
    from ticketbottle_payctl.cli.commands.schema import names  # noqa: PLC0415 - as above

    return _beginning(names(), incomplete)


def _beginning(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
