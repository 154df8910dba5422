"""Find the order codes that differ from a typed code by one typing error.

The search looks up every code that one typing error could turn into the typed code. The search uses the unique index on
``"orderCode"``, so it takes the same time on a large table.
"""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_uppercase, digits

from sqlalchemy import Connection

_LETTERS = ascii_uppercase + digits + "-"
_SHORTEST, _LONGEST = 4, 40
_MOST = 3


def similar_codes(connection: Connection, typed: str) -> list[str]:
    """Return at most three order codes, in alphabetical order, that differ from ``typed`` by one typing error.

    A typing error is a wrong, missing or additional character, or two characters in the wrong order. ``typed`` may be
    in upper or lower case. If ``typed`` is too short or too long for an order code, the result is empty.
    """
    if not _SHORTEST <= len(typed) <= _LONGEST:
        return []
    sql = f'SELECT "orderCode" FROM payments WHERE "orderCode" = ANY (%(codes)s) ORDER BY 1 LIMIT {_MOST}'  # noqa: S608
    codes = sorted(set(_one_error_away(typed.upper())))
    return list(connection.exec_driver_sql(sql, {"codes": codes}).scalars())


def _one_error_away(code: str) -> Iterator[str]:
    yield code
    for place in range(len(code) + 1):
        before, after = code[:place], code[place:]
        yield from (f"{before}{letter}{after}" for letter in _LETTERS)
        if after:
            yield f"{before}{after[1:]}"
            yield from (f"{before}{letter}{after[1:]}" for letter in _LETTERS)
            yield f"{before}{after[1:2]}{after[0]}{after[2:]}"
