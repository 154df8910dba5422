"""What is for trying things out stays away from where money is real."""

from __future__ import annotations

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.errors import GuardError

_IN_EARNEST = frozenset({"prod", "production", "live"})


def refuse_in_earnest(session: Session, verb: str) -> None:
    """Return where the profile is not protected and ENVIRONMENT is not production. No option helps.

    Raises:
        GuardError: it is one of them.
        ConfigError: the profile or its file is not there or not understood.
    """
    if session.guard.protected is not None:
        message = f"profile {session.guard.protected} is protected: {verb} is for trying things out"
    elif session.settings.environment.casefold() in _IN_EARNEST:
        message = f"ENVIRONMENT is {session.settings.environment}: {verb} is for trying things out"
    else:
        return
    raise GuardError(message, hint="use a profile of a local or a test environment")
