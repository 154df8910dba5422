"""Add this run's profile to the commands in an error's hint, so that they work when a user pastes them.

Jobs and the store have no access to the profile. A hint of a job or of the store is either a command alone, or a
sentence with a command between backticks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace

from ticketbottle_payctl.cli.app.global_options import Shared
from ticketbottle_payctl.cli.output.result import Failure
from ticketbottle_payctl.formats import command_line

_COMMAND = re.compile(r"`payctl [^`]+`|^payctl [a-z- ]+$")
_OWN_WORLD = re.compile(r"`?payctl demo\b")
"""A command that does not need a profile, because it starts its own servers."""


def profile_options(shared: Shared) -> Iterator[str]:
    """Yield the options for this run's profile and configuration file, unless the environment already selects them."""
    for option, value, variable in (
        ("-p", shared.profile, "PAYCTL_PROFILE"),
        ("--config", shared.config, "PAYCTL_CONFIG"),
    ):
        if value and os.environ.get(variable) != value:
            yield from (option, value)


def with_profile(failure: Failure, shared: Shared) -> Failure:
    """Return the failure with this run's profile added to the commands in its hint.

    Commands that already have a profile stay unchanged.
    """
    options = [*profile_options(shared)]
    if not failure.hint or not options:
        return failure
    added = command_line([], [], options).removeprefix("payctl")

    def pasted(found: re.Match[str]) -> str:
        command = found.group()
        if _OWN_WORLD.match(command) or any(each in command.split() for each in options[::2]):
            return command
        return f"{command[:-1]}{added}`" if command.startswith("`") else command + added

    return replace(failure, hint=_COMMAND.sub(pasted, failure.hint))
