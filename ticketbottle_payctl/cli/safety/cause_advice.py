"""Write the advice for a cause, with a command that a user can paste."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output.result import Line, Styled, accent, line
from ticketbottle_payctl.cli.output.width import columns_of
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.domain.causes import Command
from ticketbottle_payctl.formats import PLACEHOLDER

_COLUMNS = 80
_GAP = 2
"""The number of spaces between two parts of a line."""


def command_text(session: Session, command: Command | None, reason: str) -> str | None:
    """Return the command for the session's profile, or None. ``reason`` is the value of ``--reason``, if needed.

    A ``close`` command contains a placeholder instead, because only a person knows why something can be closed.

    Raises:
        ConfigError: the profile or its file is missing or cannot be read.
        DatabaseUnavailableError: a profile contains a server identifier, and the server cannot be reached.
    """
    if command is None:
        return None
    adviser = Adviser(session, PLACEHOLDER if command.verb == ("close",) else reason)
    if command.changes:
        return adviser.changing(command.verb, command.operands, command.options, rows=command.rows)
    return adviser.reading(command.verb, command.operands, command.options)


def advice_text(session: Session, words: str | None, command: Command | None) -> str | None:
    """Return the advice, with a note if the command needs another profile. Return None if there is no advice.

    Raises:
        ConfigError, DatabaseUnavailableError: see :func:`command_text`.
    """
    refuses = Adviser(session, "").read_only if command is not None and command.changes else None
    other = f"profile {refuses} is read-only, so use another profile" if refuses else None
    return "; ".join(part for part in (words, other) if part) or None


def next_lines(
    indent: str, label: Styled, words: str | None, command: str | None, sql: str | None = None
) -> Iterator[Line]:
    """Yield the label with the advice, then a separate line with the command or the SQL.

    This line is never broken, so that it can be copied. The line is indented less if it is too long for 80 columns. SQL
    ends with a semicolon, so that psql runs it immediately.
    """
    pasted = command or (f"{sql};" if sql else None)
    if words and pasted:
        yield line(indent, label, f"{words}:")
        aligned, room = len(indent) + len(label.text) + _GAP, _COLUMNS - _GAP - columns_of(pasted)
        yield replace(line(" " * min(aligned, max(0, room)), accent(pasted)), whole=True)
    elif pasted:
        yield replace(line(indent, label, accent(pasted)), whole=True)
    elif words:
        yield line(indent, label, words)


def remedy_text(words: str | None, pasted: str | None) -> str | None:
    """Return the advice followed by the command or the SQL as one string, or None if both are missing."""
    return ": ".join(part for part in (words, pasted) if part) or None
