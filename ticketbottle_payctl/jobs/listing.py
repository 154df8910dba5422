"""Look at rows, as many as wanted, in memory one page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox.listing import Listed, Position

_LIMITS = Limits(statement=timedelta(seconds=30))
_PAGE = 2000

Fetch = Callable[[Connection, int, Position | None], list[Listed]]
"""A page: so many rows, from after a position."""


class Listing:
    """An iterator over rows. After its end, ``more`` says whether there are others, and ``next`` where they begin.

    Raises, while it is iterated:
        InputError: the selector cannot be understood by the database.
        DatabaseUnavailableError: the database is away.
    """

    def __init__(self, rows: Callable[[Listing], Iterator[dict[str, object]]]) -> None:
        self._rows = rows
        self.next: Position | None = None
        self.more = False
        self.count = 0

    def __iter__(self) -> Iterator[dict[str, object]]:
        for row in self._rows(self):
            self.count += 1
            yield row


def list_rows(
    engine: Engine, fetch: Fetch, *, limit: int | None, after: Position | None = None, page_size: int = _PAGE
) -> Listing:
    """At most ``limit`` rows, newest first, all of them where it is None. Nothing is read before it is iterated.

    Each page is a transaction of its own: a long listing holds back no vacuum, and rows that come meanwhile are newer
    than where it is.
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
