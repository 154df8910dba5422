"""Expand short ids. A short id consists of an id's first characters, as lists show them.

The search reads only the matching part of the primary key's index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from ticketbottle_payctl.errors import InputError

_SHORTEST = 8
"""How many characters of an id a list on a terminal shows (``formats.short_id``)."""

_PREFIX = re.compile(rf"[0-9A-Za-z_-]{{{_SHORTEST},35}}")
_OF_UUID = re.compile(r"[0-9a-f-]+")
_DIGITS = 32
"""The number of hexadecimal digits in a UUID."""

_MOST_NAMED = 3

# In every collation, an id with this prefix sorts no later than the prefix followed by many letters z.
_TEXT = """SELECT DISTINCT id FROM unnest(%(given)s::text[]) AS g (given), {table} AS t
    WHERE t.id >= g.given AND t.id <= g.given || repeat('z', 100) AND starts_with(t.id, g.given)"""
_UUID = """SELECT DISTINCT id::text FROM unnest(%(low)s::uuid[], %(high)s::uuid[], %(given)s) AS g (low, high, given),
    {table} AS t WHERE t.id BETWEEN g.low AND g.high AND starts_with(t.id::text, g.given)"""


def whole(connection: Connection, table: str, given: Sequence[str], *, uuids: bool = False) -> tuple[str, ...]:
    """Replace each short id among the given ids with the only id in ``table`` that begins with it.

    A short id stays unchanged if it is a complete id, or if no id begins with it. ``uuids`` must be true if the column
    has the type uuid. ``table`` must be a constant, never user input.

    Raises:
        InputError: several ids begin with one of the short ids.
    """
    short = [each for each in given if is_short(each, uuids=uuids)]
    if not short:
        return tuple(given)
    found = _beginning_with(connection, table, short, uuids=uuids)
    return tuple(_only_short(each, found, uuids=uuids) if each in short else each for each in given)


def _only_short(given: str, found: Iterable[str], *, uuids: bool) -> str:
    """Return the only id that begins with a short id. If ids are UUIDs, upper case is accepted."""
    written = given.lower() if uuids else given
    whole = only(written, found)
    return given if whole == written else whole


def is_short(text: str, *, uuids: bool = False) -> bool:
    """Return whether a string has the format of a short id."""
    if _PREFIX.fullmatch(text) is None:
        return False
    return not uuids or (_OF_UUID.fullmatch(text.lower()) is not None and len(text.replace("-", "")) <= _DIGITS)


def only(given: str, found: Iterable[str]) -> str:
    """Return the only id in ``found`` that begins with ``given``, or ``given`` itself if no id does.

    Raises:
        InputError: several ids begin with ``given``.
    """
    fits = [each for each in found if each.startswith(given)]
    if given in fits or not fits:
        return given
    if len(fits) > 1:
        message = f"the id {given} is ambiguous: {', '.join(fits[:_MOST_NAMED])} begin with it"
        raise InputError(message, hint="type more characters of it")
    return fits[0]


def _beginning_with(connection: Connection, table: str, short: Sequence[str], *, uuids: bool) -> list[str]:
    if not uuids:
        sql = _TEXT.format(table=table)
        return sorted(connection.exec_driver_sql(sql, {"given": list(short)}).scalars())
    hexadecimal = [each.lower().replace("-", "") for each in short]
    parameters = {
        "low": [each.ljust(32, "0") for each in hexadecimal],
        "high": [each.ljust(32, "f") for each in hexadecimal],
        "given": [each.lower() for each in short],
    }
    return sorted(connection.exec_driver_sql(_UUID.format(table=table), parameters).scalars())
