"""Read lists one page at a time, newest rows first. All of payctl's lists use these types."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ticketbottle_payctl.store.db.owner_time import aware_value, stored


class PagePosition(NamedTuple):
    """The instant (aware) and the id of a page's last row. The next page begins after this row."""

    at: datetime
    id: str


class Listed(NamedTuple):
    """A row in a list. ``names`` contains the names of the row's values.

    The rows are sorted by the value with the name ``instant``.
    """

    names: tuple[str, ...]
    values: Sequence[Any]
    instant: str

    @property
    def position(self) -> PagePosition:
        """Return the row's position in the list."""
        at = aware_value(self.values[self.names.index(self.instant)])
        assert isinstance(at, datetime)  # noqa: S101 - for the type checker
        return PagePosition(at, str(self.values[0]))

    @property
    def row(self) -> dict[str, object]:
        """Return the row's values by name."""
        return dict(zip(self.names, map(aware_value, self.values), strict=True))


OLDER = '({0} <= %(before_at)s AND ({0}, o.id COLLATE "C") < (%(before_at)s, %(before_id)s))'
"""An SQL condition for the rows ``o`` that follow the previous page, compared by an instant column and the id."""


def page_parameters(limit: int, before: PagePosition | None) -> dict[str, object]:
    """Return the parameters of :data:`OLDER` and ``LIMIT`` for a page from one of the payment service's tables."""
    at = stored(before.at) if before else None
    return {"limit": limit, "before_at": at, "before_id": before.id if before else None}
