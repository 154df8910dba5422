"""Group unpublished events by the kind of their last error, and count events that are waiting without an error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.domain.causes import OVERDUE_AFTER, WithoutError, without_error
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.store.db.engine import Limits, is_lock_timeout, is_statement_timeout, transaction
from ticketbottle_payctl.store.inspect.evidence import evidence
from ticketbottle_payctl.store.outbox import dead, stats
from ticketbottle_payctl.store.outbox import error_groups as store
from ticketbottle_payctl.store.outbox.error_groups import ErrorGroup
from ticketbottle_payctl.store.outbox.selector import Selector

_LIMITS = Limits(statement=timedelta(seconds=30), jit=False)


@dataclass(frozen=True, slots=True)
class ErrorsReport:
    """Groups of events with the same kind of error, largest first. ``truncated`` is True if more groups exist.

    ``waiting`` is None if a selector was given, or if counting took too long. In the latter case, ``timed_out`` is
    True.
    """

    groups: tuple[ErrorGroup, ...]
    truncated: bool
    waiting: WithoutError | None = None
    timed_out: bool = False

    @property
    def events(self) -> int:
        """The number of events in these groups."""
        return sum(group.count for group in self.groups)

    @property
    def closed(self) -> int:
        """The number of dead events in these groups that a person has closed."""
        return sum(group.closed for group in self.groups)


def group_errors(
    engine: Engine, selector: Selector, *, max_retries: int, limit: int, patience: timedelta = _LIMITS.statement
) -> ErrorsReport:
    """Group failed, unpublished events by their last error, ignoring ids and numbers in the errors.

    Without a selector, also count events that are waiting without an error. If this count takes longer than
    ``patience`` or waits too long for a lock, the report contains only the groups.

    Raises:
        InputError: the selector's pattern is not a regular expression.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        rights = dead.rights(connection)
        found = store.groups(connection, selector, max_retries, limit + 1, with_closings=rights.closings)
        found = store.with_blocked(connection, found, selector, max_retries)
        found = store.with_harmless(connection, found, selector, max_retries, rights)
    report = ErrorsReport(tuple(found[:limit]), truncated=len(found) > limit)
    if not selector.is_empty:
        return report
    try:
        return replace(report, waiting=_waiting(engine, max_retries, patience))
    except DatabaseUnavailableError as error:
        if not (is_statement_timeout(error) or is_lock_timeout(error)):
            raise
        return replace(report, timed_out=True)


def _waiting(engine: Engine, max_retries: int, patience: timedelta) -> WithoutError:
    with transaction(engine, Limits(statement=patience, index_only_plan=True), commit=False) as connection:
        recent = stats.recent(connection)
        found = stats.unpublished(connection, max_retries, late_after_s=OVERDUE_AFTER.total_seconds())
        return without_error(evidence(connection, max_retries, found, recent))
