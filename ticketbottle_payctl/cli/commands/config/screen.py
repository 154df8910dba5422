"""Show the settings on a terminal, with the profile's file only once."""

from __future__ import annotations

from collections.abc import Sequence
from shutil import get_terminal_size

from ticketbottle_payctl.cli.commands.config.settings import Shown
from ticketbottle_payctl.cli.output.result import Block, dim, line
from ticketbottle_payctl.cli.output.width import columns_of, filled
from ticketbottle_payctl.cli.profile.profiles import Profile

_BETWEEN = 2
_INDENT = "    "
_WIDEST = 24
"""The maximum width of the column with the origins."""


def on_terminal(rows: Sequence[Shown], profile: Profile) -> list[Block]:
    """Return a line for each setting, with its origin before its value.

    The first line names the profile and its file. A list of brokers that does not fit breaks only after a comma.
    """
    whole, brief = next(iter(profile.origins.values()), ""), f"profile {profile.name}"
    origins = [brief if row.origin == whole else row.origin for row in rows]
    names = max(columns_of(row.name) for row in rows)
    widest = max(columns_of(origin) for origin in origins if columns_of(origin) <= _WIDEST)
    room = get_terminal_size().columns - names - widest - 2 * _BETWEEN
    blocks: list[Block] = [line(dim(whole))] if whole else []
    blocks.append(line(dim(filled("name", names)), dim(filled("origin", widest)), dim("value")))
    for row, origin in zip(rows, origins, strict=True):
        first, *others = _pieces(row.text, room)
        blocks.append(line(filled(row.name, names), filled(origin, widest) if first else origin, first))
        blocks += [line(f"{_INDENT}{other}") for other in others]
    return blocks


def _pieces(value: str, room: int) -> list[str]:
    """Return the value as one piece if the value fits next to its name.

    Otherwise return an empty first piece, and a piece for each of the next lines.
    """
    if columns_of(value) <= room:
        return [value]
    *before, last = value.split(",")
    return ["", *(f"{entry}," for entry in before), last]
