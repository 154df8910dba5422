"""What to say where a gateway's keys are not there."""

from __future__ import annotations

from collections.abc import Callable

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.providers.gateway import Credentials, Gateway

CredentialsFor = Callable[[Gateway], Credentials]
"""Where a gateway's credentials are asked for."""


def missing_keys(gateway: Gateway, credentials: Credentials) -> ConfigError:
    """The error that names the variables without which the gateway's callbacks cannot be checked."""
    absent = [
        field.env for field in gateway.fields if field.signs_callbacks and not any(credentials.get(field.name, ()))
    ]
    verb = "is" if len(absent) == 1 else "are"
    message = f"{gateway.name} is off: {', '.join(absent)} {verb} not set"
    return ConfigError(
        message, hint=f"export {absent[0]}, or put it into a profile or a --key-file" if absent else None
    )
