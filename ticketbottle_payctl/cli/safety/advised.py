"""Write the commands that payctl advises, so that they work when they are pasted.

A command names the profile and the file that this run uses, and gives what the guard in force asks for: a reason and
the name for a protected profile, a higher cap for more rows than the cap allows. The question before a bulk change is
still asked, and shows the plan.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.safety.confirm import DEFAULT_MAX_AFFECTED
from ticketbottle_payctl.formats import command_line


def advised(  # noqa: PLR0913 - what a command line has
    session: Session,
    verb: Sequence[str],
    operands: Sequence[str] = (),
    options: Sequence[str] = (),
    *,
    reason: str | None = None,
    rows: int = 1,
) -> str:
    """Return a command of payctl. ``reason`` is given if the command changes something; ``rows`` is how many.

    Raises:
        ConfigError: the profile or its file is missing or cannot be read.
        DatabaseUnavailableError: a profile states its server's identifier, and the server cannot be reached.
    """
    wanted = [*options, *_profile(session)]
    if reason is not None:
        wanted += _guard(session, reason, rows)
    return command_line(verb, operands, wanted)


def reading_only(session: Session) -> str | None:
    """Return the profile that refuses every change, or None. A command that changes something is of no use with it."""
    session.recognise_server()
    return session.guard.read_only


def _profile(session: Session) -> Iterator[str]:
    for option, value, variable in (
        ("-p", session.shared.profile, "PAYCTL_PROFILE"),
        ("--config", session.shared.config, "PAYCTL_CONFIG"),
    ):
        if value and os.environ.get(variable) != value:
            yield from (option, value)


def _guard(session: Session, reason: str, rows: int) -> Iterator[str]:
    session.recognise_server()
    if rows > session.guard.cap(DEFAULT_MAX_AFFECTED).most:
        yield from ("--max-affected", str(rows))
    if session.guard.protected is not None:
        yield from ("--reason", reason, "--confirm", session.guard.protected)
