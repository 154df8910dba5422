"""Refuse development commands in production."""

from __future__ import annotations

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.errors import GuardError


def refuse_in_production(session: Session, verb: str) -> None:
    """Raise an error if the profile is protected or ENVIRONMENT is production. No option overrides this refusal.

    Raises:
        GuardError: the profile is protected, or ENVIRONMENT is production.
        ConfigError: the profile or its file is missing or cannot be read.
    """
    if session.guard.protected is not None:
        message = f"profile {session.guard.protected} is protected: {verb} is for development only"
    elif session.settings.is_production:
        message = f"ENVIRONMENT is {session.settings.environment}: {verb} is for development only"
    else:
        return
    raise GuardError(message, hint="use a profile of a local or test environment")
