"""Find out from the database why an event has not been sent."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Engine

from ticketbottle_payctl.domain.causes import (
    OVERDUE_AFTER,
    Activity,
    Cause,
    CauseKind,
    Evidence,
    Publishing,
    Reason,
    causes,
    ended_lately,
    if_unsent,
    of_new_event,
    publishing,
    publishing_of,
)
from ticketbottle_payctl.domain.causes.late_failures import dry_run_instead
from ticketbottle_payctl.domain.causes.publishing import NEXT_SCHEDULED_RUN
from ticketbottle_payctl.domain.causes.stopped import of_table_locks
from ticketbottle_payctl.domain.causes.words import PUBLISH, WAIT_OR_PUBLISH, overdue
from ticketbottle_payctl.errors import ConfigError, DatabaseUnavailableError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.inspect import publishers
from ticketbottle_payctl.store.inspect.evidence import evidence, table_locks
from ticketbottle_payctl.store.outbox import stats

_LIMITS = Limits(statement=timedelta(seconds=10), index_only_plan=True)
_OF_EVERY_EVENT = {
    CauseKind.DEBEZIUM, CauseKind.BROKERS, CauseKind.NO_PUBLISHER, CauseKind.BETWEEN_RUNS, CauseKind.TABLE_LOCK,
    CauseKind.SHARDS,
}  # fmt: skip
_NEXT_TO_OVERDUE_TRIES = {
    CauseKind.LATE_FAILURE, CauseKind.FAILING, CauseKind.NOT_DUE, CauseKind.NO_TICKET, CauseKind.DEAD,
    CauseKind.BLOCKED, CauseKind.SUPERSEDED,
}  # fmt: skip
"""The causes that do not explain why an event's next try is overdue."""


class WhyOverdue(NamedTuple):
    """The cause that stops all events, or None if the database does not show it.

    ``some_are_held`` is True if the database shows that a lock holds some of the overdue events, or that the brokers
    did not accept some of them.
    """

    cause: Cause | None = None
    some_are_held: bool = False


def what_stops_every_event(engine: Engine, max_retries: int) -> WhyOverdue:
    """Find the cause that stops all events. Do not connect to the brokers.

    If the last publisher has ended, this is the cause of overdue tries, unless another cause may explain the wait. No
    cause is found if the server does not answer in time, or if the role lacks a privilege.
    """
    seen = _evidence(engine, max_retries)
    if seen is None:
        return WhyOverdue()
    found = causes(seen)
    held = bool(overdue(seen, Reason.LOCKED, Reason.UNANSWERED))
    only_tries = not held and all(each.kind in _NEXT_TO_OVERDUE_TRIES for each in found)
    rest = _without_publisher(seen) if only_tries else None
    return WhyOverdue(next((each for each in found if each.kind in _OF_EVERY_EVENT), rest), held)


def _without_publisher(seen: Evidence) -> Cause | None:
    last = ended_lately(seen) if seen.slot_active is None else None
    if last is None:
        return None
    fact, meaning = f"no publisher is running: {last}", NEXT_SCHEDULED_RUN
    cause = Cause(CauseKind.BETWEEN_RUNS, seen.pending, fact, meaning, WAIT_OR_PUBLISH, PUBLISH)
    return dry_run_instead(cause, seen.late_failures)


class NewEvent(NamedTuple):
    """What the database shows about a new event: the cause that stops it, and the publishers. Each may be None."""

    cause: Cause | None = None
    publishing: Publishing | None = None


def what_stops_a_new_event(engine: Engine, unsent_s: float) -> NewEvent:
    """Find out whether a session locks the outbox, and whether a publisher is running and reaches its brokers.

    ``unsent_s`` is the number of seconds that the event has waited although a publisher could have sent it. Do not read
    the other events, because there may be many. Call this only if Debezium does not publish.
    """
    try:
        with transaction(engine, _LIMITS, commit=False) as connection:
            locked = next(of_table_locks(Evidence(pending=1, table_locks=table_locks(connection))), None)
            if locked is not None:
                return NewEvent(locked)
            seen, known = publishers.seen(connection)
            state = publishing(seen, known=known)
            silent = if_unsent(state, unsent_s, None).activity is Activity.SILENT
            if state.activity is not Activity.WITHOUT_BROKERS and not silent:
                return NewEvent(publishing=state)
            last_sent_s = stats.recent(connection).last_sent_s
            if silent:
                return NewEvent(publishing=if_unsent(state, unsent_s, last_sent_s))
    except (DatabaseUnavailableError, ConfigError):
        return NewEvent()
    found = Evidence(pending=1, publishers=seen, publishers_known=known, last_sent_s=last_sent_s)
    return NewEvent(of_new_event(found), publishing_of(found))


def _evidence(engine: Engine, max_retries: int) -> Evidence | None:
    try:
        with transaction(engine, _LIMITS, commit=False) as connection:
            recent = stats.recent(connection)
            found = stats.unpublished(connection, max_retries, late_after_s=OVERDUE_AFTER.total_seconds())
            return evidence(connection, max_retries, found, recent)
    except (DatabaseUnavailableError, ConfigError):
        return None
