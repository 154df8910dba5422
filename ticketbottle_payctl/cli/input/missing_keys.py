"""Build the error for a gateway whose keys are not set."""

from __future__ import annotations

from collections.abc import Callable

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.formats import gateway_name
from ticketbottle_payctl.providers.gateway import Credentials, Gateway

CredentialsFor = Callable[[Gateway], Credentials]
"""A function that returns a gateway's credentials."""


def missing_keys(gateway: Gateway, credentials: Credentials) -> ConfigError:
    """Return the error that lists the missing variables."""
    absent = [
        field.env for field in gateway.fields if field.signs_callbacks and not any(credentials.get(field.name, ()))
    ]
    verb = "is" if len(absent) == 1 else "are"
    message = f"{gateway_name(gateway.name)} is not configured: {', '.join(absent)} {verb} not set"
    return ConfigError(
        message, hint=f"set {absent[0]} in the environment, in a profile or in a --key-file" if absent else None
    )
