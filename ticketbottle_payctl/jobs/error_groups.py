"""Group unpublished events by the kind of their last error."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import dead
from ticketbottle_payctl.store.outbox import error_groups as store
from ticketbottle_payctl.store.outbox.error_groups import ErrorGroup
from ticketbottle_payctl.store.outbox.selector import Selector

_LIMITS = Limits(statement=timedelta(seconds=30))


@dataclass(frozen=True, slots=True)
class ErrorsReport:
    """Groups of events with the same kind of error, largest first. ``truncated`` is True if more groups exist."""

    groups: tuple[ErrorGroup, ...]
    truncated: bool

    @property
    def events(self) -> int:
        """The number of events in these groups."""
        return sum(group.count for group in self.groups)

    @property
    def closed(self) -> int:
        """The number of dead events in these groups that a person has closed."""
        return sum(group.closed for group in self.groups)


def group_errors(engine: Engine, selector: Selector, *, max_retries: int, limit: int) -> ErrorsReport:
    """Group failed, unpublished events by their last error. Ignore ids and numbers in the errors.

    Raises:
        InputError: the selector's pattern is not a regular expression.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        readable = dead.rights(connection).closings
        found = store.groups(connection, selector, max_retries, limit + 1, with_closings=readable)
    return ErrorsReport(tuple(found[:limit]), truncated=len(found) > limit)
