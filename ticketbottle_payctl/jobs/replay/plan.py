"""Plan a replay: select the events to requeue, and say which selected events are left out and why.

Planning does not change anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.domain.unknown_types import is_unknown
from ticketbottle_payctl.jobs.replay.report import (
    LeftOut,
    LeftOutReason,
    Misnamed,
    PlannedEvent,
    ReplayOptions,
    ReplayPlan,
)
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import dead
from ticketbottle_payctl.store.outbox import replay as store
from ticketbottle_payctl.store.outbox.replay import Candidate, Superseded
from ticketbottle_payctl.store.outbox.selector import Selector, with_whole_ids
from ticketbottle_payctl.store.payctl.runs import Run
from ticketbottle_payctl.store.payments import overdue

_MOST_LOOKED_UP = 1000
_LIMITS = Limits(statement=timedelta(minutes=1), jit=False)


def plan_replay(
    engine: Engine,
    selector: Selector,
    *,
    max_retries: int,
    allow_published: bool = False,
    allow_superseded: bool = False,
) -> ReplayPlan:
    """Select events, and decide which of them the plan requeues.

    Events of unknown types and events that are too large are left out, because no publisher can send them. Published
    events and superseded events are left out unless the caller allows them. The plan lists every event that is left
    out, and every id that does not exist. Events that an operator has closed come after the other events that are
    left out.

    Raises:
        InputError: the selector's pattern is not a regular expression.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        selector = with_whole_ids(connection, selector)
        found = store.candidates(connection, selector, max_retries)
        left_out = list(_left_out(found, allow_published=allow_published, allow_superseded=allow_superseded))
        needless = {LeftOutReason.SUPERSEDED, LeftOutReason.UNKNOWN_TYPE}
        closed = dead.closed_among(connection, [left.id for left in left_out if left.reason in needless], max_retries)
        left_out.sort(key=lambda left: left.id in closed)
        away = {left.id for left in left_out}
        chosen = [event for event in found if event.row.id not in away]
        newer = store.keys_with_newer_events(connection, chosen)
        missing = tuple(_missing(selector, found))
        misnamed = _misnamed(connection, selector, [left.id for left in missing], max_retries)
    return ReplayPlan(
        events=tuple(PlannedEvent(event.row, event.state) for event in chosen),
        left_out=(*left_out, *missing),
        by_type=dict(sorted(Counter(event.event_type for event in chosen).items())),
        keys_with_newer=newer,
        oldest=chosen[0].created_at if chosen else None,
        newest=chosen[-1].created_at if chosen else None,
        superseded=tuple(
            Superseded(event.row.id, event.event_type, event.aggregate_id) for event in chosen if event.superseded
        ),
        misnamed=misnamed,
        closed=closed,
        failed=sum(event.state == "pending" and event.retries > 0 for event in chosen),
    )


def count_replay(
    engine: Engine, selector: Selector, *, max_retries: int, allow_published: bool, allow_superseded: bool
) -> int:
    """Count the events that a plan would contain, so that payctl can refuse a plan early if it is much too large.

    Raises:
        InputError: the selector's pattern is not a regular expression.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        return store.count_candidates(
            connection,
            with_whole_ids(connection, selector),
            max_retries,
            published=allow_published,
            superseded=allow_superseded,
        )


def changes_nothing(plan: ReplayPlan) -> bool:
    """Return whether every planned event is already pending with no retry used up, as it would be after a replay."""
    return bool(plan.events) and not plan.failed and all(event.state == "pending" for event in plan.events)


def refreshed(engine: Engine, plan: ReplayPlan, *, allow_superseded: bool) -> ReplayPlan:
    """Add two facts that a plan file lacks: how many pending events have failed, and which events are superseded.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        allowed = [event.row.id for event in plan.events] if allow_superseded else []
        pending = [event.row.id for event in plan.events if event.state == "pending"]
        return replace(
            plan,
            superseded=store.superseded_among(connection, allowed),
            failed=store.count_failed(connection, pending),
        )


def superseded_in(engine: Engine, run: Run) -> tuple[Superseded, ...]:
    """Return the superseded events that resuming a run would requeue.

    The result is empty unless the run's options allow superseded events.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
    """
    if not ReplayOptions.restored(run.options).allow_superseded:
        return ()
    with transaction(engine, _LIMITS, commit=False) as connection:
        return store.superseded_left(connection, run.id)


def _left_out(found: Iterable[Candidate], *, allow_published: bool, allow_superseded: bool) -> Iterable[LeftOut]:
    for event in found:
        if is_unknown(event.event_type):
            yield LeftOut(event.row.id, LeftOutReason.UNKNOWN_TYPE, event.event_type, event.aggregate_id)
        elif event.too_large:
            yield LeftOut(event.row.id, LeftOutReason.TOO_LARGE, event.event_type, event.aggregate_id)
        elif event.superseded and not allow_superseded:
            yield LeftOut(event.row.id, LeftOutReason.SUPERSEDED, event.event_type, event.aggregate_id)
        elif event.state == "published" and not allow_published:
            yield LeftOut(event.row.id, LeftOutReason.PUBLISHED, event.event_type, event.aggregate_id)


def _missing(selector: Selector, found: Iterable[Candidate]) -> Iterable[LeftOut]:
    """Yield the requested ids that the selector did not find.

    If the selector has no other conditions, these events do not exist. Otherwise, they may exist without matching the
    other conditions.
    """
    if selector.ids is None:
        return
    only_ids = replace(selector, ids=None, limit=None).is_empty
    reason = LeftOutReason.NOT_FOUND if only_ids and selector.limit is None else LeftOutReason.NOT_SELECTED
    known = {event.row.id for event in found}
    for event_id in dict.fromkeys(selector.ids):
        if event_id not in known:
            yield LeftOut(event_id, reason)


def _misnamed(connection: Connection, selector: Selector, missing: Sequence[str], max_retries: int) -> Misnamed:
    """Find the missing ids that are order codes or payment ids, and the order codes that do not exist."""
    names = [*missing[:_MOST_LOOKED_UP], *selector.order_codes]
    if not names:
        return Misnamed()
    payments = overdue.named(connection, names)
    known = {payment.order_code for payment in payments}
    orders = tuple(name for name in missing if name in known)
    ids = tuple(name for name in missing if name in {payment.id for payment in payments})
    meant = (Selector(order_codes=orders), Selector(aggregates=ids))
    return Misnamed(
        order_codes=orders,
        payments=ids,
        replayable=sum(
            store.count_candidates(connection, each, max_retries, published=False, superseded=False)
            for each in meant
            if not each.is_empty
        ),
        unknown_orders=tuple(code for code in selector.order_codes if code not in known),
    )
