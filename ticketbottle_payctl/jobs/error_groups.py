"""Group unpublished events by the kind of their last error, and count the events that wait without an error."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.domain.causes import OVERDUE_AFTER, WithoutError, without_error
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.inspect.evidence import evidence
from ticketbottle_payctl.store.outbox import dead, stats
from ticketbottle_payctl.store.outbox import error_groups as store
from ticketbottle_payctl.store.outbox.error_groups import ErrorGroup
from ticketbottle_payctl.store.outbox.selector import Selector

_LIMITS = Limits(statement=timedelta(seconds=30))
_OF_WAITING = Limits(statement=timedelta(seconds=30), index_only_plan=True)
_WINDOW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ErrorsReport:
    """Groups of events with the same kind of error, largest first. ``truncated`` is True if more groups exist.

    ``waiting`` is None if a selector chose the events.
    """

    groups: tuple[ErrorGroup, ...]
    truncated: bool
    waiting: WithoutError | None = None

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

    Without a selector, also count the events that wait without an error.

    Raises:
        InputError: the selector's pattern is not a regular expression.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        readable = dead.rights(connection).closings
        found = store.groups(connection, selector, max_retries, limit + 1, with_closings=readable)
    waiting = _waiting(engine, max_retries) if selector.is_empty else None
    return ErrorsReport(tuple(found[:limit]), truncated=len(found) > limit, waiting=waiting)


def _waiting(engine: Engine, max_retries: int) -> WithoutError:
    with transaction(engine, _OF_WAITING, commit=False) as connection:
        recent = stats.recent(connection, _WINDOW.total_seconds())
        found = stats.unpublished(connection, max_retries, late_after_s=OVERDUE_AFTER.total_seconds())
        return without_error(evidence(connection, max_retries, found, recent))
