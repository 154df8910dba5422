"""List any number of rows, with only one page of them in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.db.pages import Listed, PagePosition

_LIMITS = Limits(statement=timedelta(seconds=30), jit=False)
_PAGE = 2000

Fetch = Callable[[Connection, int, PagePosition | None], list[Listed]]
"""A function that returns one page: at most the given number of rows, after the given position."""


class Listing:
    """A sequence of rows that can be iterated once.

    After the iteration, ``more`` is true if more rows exist, and ``next`` is the position to continue from.

    Raises, during the iteration:
        InputError: the database does not accept the selector.
        DatabaseUnavailableError: the server cannot be reached.
    """

    def __init__(self, rows: Callable[[Listing], Iterator[dict[str, object]]]) -> None:
        self._rows = rows
        self.next: PagePosition | None = None
        self.more = False
        self.count = 0

    def __iter__(self) -> Iterator[dict[str, object]]:
        for row in self._rows(self):
            self.count += 1
            yield row


def list_rows(
    engine: Engine, fetch: Fetch, *, limit: int | None, after: PagePosition | None = None, page_size: int = _PAGE
) -> Listing:
    """Return at most ``limit`` rows, newest first. If ``limit`` is None, return all rows.

    The iteration reads each page in its own transaction, so a long listing does not delay vacuum. Rows added during the
    listing are newer than the current page, so the listing neither repeats nor skips rows.
    """

    def rows(listing: Listing) -> Iterator[dict[str, object]]:
        position, left = after, limit
        while True:
            size = page_size if left is None else min(page_size, left)
            with transaction(engine, _LIMITS, commit=False) as connection:
                page = fetch(connection, size + 1, position)
            for found in page[:size]:
                yield found.row
            if len(page) <= size:
                return
            position = page[size - 1].position
            left = None if left is None else left - size
            if left == 0:
                listing.next, listing.more = position, True
                return

    return Listing(rows)
