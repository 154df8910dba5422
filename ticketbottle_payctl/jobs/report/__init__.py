"""Collect a report about a time window, for a hand-over or an incident.

The report covers the events in the window, the current state of the outbox, and the customers who are waiting for
tickets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.domain.payment import OVERDUE_AFTER
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.report.model import Gap, GapReason, Report, Section, Waiting
from ticketbottle_payctl.jobs.report.timeline import parts_of, pause_of, points_of, timeline_of
from ticketbottle_payctl.providers.queries import known_since
from ticketbottle_payctl.store.db.engine import Limits, is_statement_timeout, transaction
from ticketbottle_payctl.store.db.owner_time import aware
from ticketbottle_payctl.store.outbox import dead, error_groups, republished, stats
from ticketbottle_payctl.store.outbox.error_groups import ErrorGroup
from ticketbottle_payctl.store.outbox.flow_in_window import MOST_READ, flow
from ticketbottle_payctl.store.outbox.orders_at_risk import late_failures
from ticketbottle_payctl.store.outbox.republished import MOST_LOOKED_AT, LongestWait
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.outbox.stats import Unpublished
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.received_in_window import received
from ticketbottle_payctl.store.payments import open_orders
from ticketbottle_payctl.store.payments.created_in_window import OverdueRules, created
from ticketbottle_payctl.store.payments.open_orders import OpenOrders

__all__ = ["STATEMENT_LIMIT", "collect_report"]

STATEMENT_LIMIT = timedelta(seconds=15)
"""The time limit for each statement. If a section takes longer, the report says that the section is missing."""

MOST_RUNS = 200
MOST_GROUPS = 20

_Read = TypeVar("_Read")
LookForMoney = Callable[[Connection, datetime, datetime, datetime], OpenOrders]
"""A function that finds the orders in a window whose payments need manual review.

The last argument is the current time.
"""


def no_money(_: Connection, _since: datetime, _until: datetime, _now: datetime) -> OpenOrders:
    """Return an empty result."""
    return OpenOrders(0, 0, ())


def collect_report(  # noqa: PLR0913 - the window, and one argument per setting
    engine: Engine,
    since: datetime,
    until: datetime,
    *,
    max_retries: int,
    retention: timedelta,
    limit: timedelta = STATEMENT_LIMIT,
    open_money: LookForMoney = no_money,
    explained_by: Sequence[str] = (),
    most_events: int = MOST_READ,
    most_waiting: int = MOST_LOOKED_AT,
    looking: Callable[[Section], None] = lambda _: None,
) -> Report:
    """Read the facts about a time window, and the current state of the outbox.

    Each section is read in its own transaction, so no long transaction delays vacuum. A section that takes longer than
    ``limit`` is left out. At most ``most_events`` published events are read, newest first. The longest wait is searched
    among the ``most_waiting`` oldest pending events. ``open_money`` finds the orders whose payments need manual review.
    ``explained_by`` contains the callback reasons that explain why a payment has been PENDING for too long. ``looking``
    is called before each section.

    Raises:
        DatabaseUnavailableError: the server cannot be reached, or counting the backlog took longer than ``limit``.
        ConfigError: a table or a privilege is missing.
    """
    limits = Limits(statement=limit, jit=False)
    parts = parts_of(since, until)
    gaps: list[Gap] = []

    def read(section: Section, look: Callable[[Connection], _Read]) -> _Read | None:
        looking(section)
        try:
            with transaction(engine, limits, commit=False) as connection:
                return look(connection)
        except DatabaseUnavailableError as error:
            if not is_statement_timeout(error):
                raise
            gaps.append(Gap(section, GapReason.TIMED_OUT))
            return None

    with transaction(engine, limits, commit=False) as connection:
        recent = stats.recent(connection)
        backlog = stats.unpublished(connection, max_retries, late_after_s=0, seen=recent)
        longest = _longest(connection, max_retries, backlog, most_waiting, runs_readable=recent.runs_readable)
    now = aware(recent.now)
    waiting = Waiting(
        backlog.pending,
        backlog.dead,
        backlog.oldest_pending_age_s,
        longest,
        backlog.oldest_dead_age_s,
    )
    unpublished = read(Section.UNPUBLISHED_ORDERS, lambda c: open_orders.unpublished(c, max_retries))
    kept_since = max(since, now - retention)
    no_event = None
    if kept_since < until:
        no_event = read(Section.NO_EVENT, lambda c: open_orders.no_event(c, kept_since, until))
    if kept_since > since:
        gaps.append(Gap(Section.NO_EVENT, GapReason.PAST_RETENTION, min(kept_since, until)))
    refused = read(Section.REFUSED_ORDERS, lambda c: open_orders.refused(c, since, until))
    money = read(Section.MONEY_ORDERS, lambda c: open_money(c, since, until, now))
    seen = read(Section.FLOW, lambda c: flow(c, parts, max_retries, most_events))
    callbacks = read(Section.CALLBACKS, lambda c: received(c, since, until, parts.step_s))
    rules = OverdueRules(OVERDUE_AFTER, explained_by, known_since(now))
    payments = read(Section.PAYMENTS, lambda c: created(c, since, until, rules))
    late = read(Section.LATE_FAILURES, lambda c: late_failures(c, max_retries))
    failed = Selector(failed=True)

    def dead_events(connection: Connection) -> tuple[int, list[ErrorGroup]]:
        rights = dead.rights(connection)
        closed = dead.superseded(connection, max_retries, rights).closed
        most = MOST_GROUPS + 1
        return closed, error_groups.groups(connection, failed, max_retries, most, with_closings=rights.closings)

    closed, groups = read(Section.DEAD_GROUPS, dead_events) or (0, None)
    acts = read(Section.RUNS, lambda c: runs.between(c, since, until, MOST_RUNS + 1))
    if kept_since > since and seen is not None:
        gaps.append(Gap(Section.FLOW, GapReason.PAST_RETENTION, min(kept_since, until)))
    if seen is not None and seen.read_since is not None:
        gaps.append(Gap(Section.FLOW, GapReason.TOO_MANY_EVENTS, seen.read_since))
    cut_off = (
        (Section.FLOW, GapReason.TOO_MANY_WAITING, longest is not None and not longest.is_longest),
        (Section.MONEY_ORDERS, GapReason.TOO_MANY_ORDERS, money is not None and money.more),
        (Section.DEAD_GROUPS, GapReason.TOO_MANY_GROUPS, len(groups or ()) > MOST_GROUPS),
        (Section.RUNS, GapReason.TOO_MANY_RUNS, len(acts or ()) > MOST_RUNS),
    )
    gaps.extend(Gap(section, reason) for section, reason, is_cut in cut_off if is_cut)
    shown_groups, shown_runs = (groups or [])[:MOST_GROUPS], (acts or [])[:MOST_RUNS]
    points = points_of(seen, parts) if seen is not None else ()
    pause = pause_of(seen, points, parts) if seen is not None else None
    return Report(
        at=now,
        parts=parts,
        waiting=waiting,
        flow=seen,
        points=points,
        pause=pause,
        callbacks=callbacks,
        payments=payments,
        unpublished=unpublished,
        no_event=no_event,
        refused=refused,
        money=money,
        dead_groups=None if groups is None else tuple(shown_groups),
        closed=closed,
        runs=None if acts is None else tuple(shown_runs),
        timeline=timeline_of(
            parts,
            now,
            flow=seen,
            points=points,
            pause=pause,
            callbacks=callbacks,
            waiting=waiting,
            dead_groups=shown_groups,
            runs=shown_runs,
        ),
        gaps=tuple(gaps),
        late_failures=late,
    )


def _longest(
    connection: Connection, max_retries: int, backlog: Unpublished, most: int, *, runs_readable: bool
) -> LongestWait | None:
    """Return the event that has waited longest. If the runs cannot be read, return the oldest pending event."""
    if backlog.oldest_pending_id is None or backlog.oldest_pending_age_s is None:
        return None
    if runs_readable:
        return republished.longest_wait(connection, max_retries, most=most)
    return LongestWait(backlog.oldest_pending_id, backlog.oldest_pending_age_s, requeued=False)
