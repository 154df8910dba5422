"""Show the state of an order, its history in chronological order, and the next commands.

``judge_money`` checks the payment, ``judge_delivery`` checks whether the event was published, and
``advice`` chooses the next commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.domain.causes.evidence import RESCANNED_WITHIN
from ticketbottle_payctl.domain.unknown_types import is_unknown
from ticketbottle_payctl.jobs.order.advice import advise, advise_afterwards, with_dry_runs
from ticketbottle_payctl.jobs.order.find import find
from ticketbottle_payctl.jobs.order.judge_delivery import dead_before, tries_of
from ticketbottle_payctl.jobs.order.judge_money import amounts_of
from ticketbottle_payctl.jobs.order.model import NamedEvent, Timeline, Verdict, VerdictKind
from ticketbottle_payctl.jobs.order.records import Records, find_all
from ticketbottle_payctl.jobs.order.steps import CLOSE, in_order, steps_of
from ticketbottle_payctl.jobs.order.verdict import judge
from ticketbottle_payctl.jobs.order.why_overdue import what_stops_a_new_event, what_stops_every_event
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.db.short_ids import is_short
from ticketbottle_payctl.store.outbox import cdc, dead
from ticketbottle_payctl.store.payments.history import EventRow, History

_LIMITS = Limits(statement=timedelta(seconds=30), jit=False)


def show(  # noqa: PLR0913 - one argument per source
    engine: Engine,
    name: str,
    *,
    max_retries: int,
    kafka: Mapping[str, str | int | bool] | None = None,
    retention: timedelta | None = None,
    now: datetime,
) -> Timeline:
    """Return the state and history of an order. If ``kafka`` is given, also search the topics for the order's events.

    ``name`` is an order code, or the last characters of an order code in upper or lower case. It can also be the id of
    a payment, an event or a receipt, or the gateway's id for the payment. ``retention`` is how long published events
    are kept.

    Raises:
        NotFoundError: no order, payment, event or receipt matches ``name``.
        InputError: several order codes end with ``name``. The message lists them.
        DatabaseUnavailableError: the server cannot be reached. An unavailable broker causes only a warning.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        found = find(connection, name, max_retries)
        slot = cdc.slot(connection)
        event = next((each for each in found.events if _is_named(each, name)), None)
        closed = event is not None and bool(dead.closed_among(connection, [event.id], max_retries))
        named = None if event is None else _named_event(event, found, closed=closed)
        asked = [each for each in found.events if each.repeats or is_unknown(each.event_type) or each == event]
        closable = _closable(connection, asked, max_retries)
    if named is not None:
        named = named._replace(can_be_closed=named.event.id in closable)
    others = [each for each in asked if each != event and each.id in closable]
    records = find_all(found, kafka) if kafka else Records()
    first, *also = judge(found, records, now, retention)
    if first.kind is VerdictKind.OVERDUE:
        why = what_stops_every_event(engine, max_retries)
        first = replace(first, cause=why.cause, some_are_held=why.some_are_held)
    elif first.kind is VerdictKind.WAITING and slot is None:
        new = what_stops_a_new_event(engine, _unsent_s(first, now))
        first = replace(first, cause=new.cause, publishing=new.publishing)
    return Timeline(
        payment=found.payment,
        verdict=first,
        steps=tuple(in_order(found, [*steps_of(found), *records.steps])),
        advice=with_dry_runs(
            advise(found, [first, *also], now, debezium_publishes=slot is not None), engine, max_retries
        ),
        afterwards=advise_afterwards([first, *also], debezium_publishes=slot is not None),
        also=tuple(also),
        amounts=amounts_of(found.receipts),
        warnings=tuple(records.warnings),
        repeated=tuple(
            _named_event(each, found, closed=False)._replace(can_be_closed=True) for each in others if each.repeats
        ),
        closable_unknown=tuple(each.id for each in others if not each.repeats),
        named_event=named,
        debezium_sends=slot is not None and slot.active,
    )


def _unsent_s(verdict: Verdict, now: datetime) -> float:
    """Return how long a running publisher has not sent the event, or 0 if it may not have looked since a replay."""
    waited = (now - verdict.at).total_seconds() if verdict.at else 0.0
    return 0.0 if verdict.replays and waited < RESCANNED_WITHIN.total_seconds() else waited


def _is_named(event: EventRow, name: str) -> bool:
    return event.id == name or (is_short(name) and event.id.startswith(name))


def _closable(connection: Connection, events: Iterable[EventRow], max_retries: int) -> frozenset[str]:
    """Return the ids of the events that a person can close. Empty if the role cannot read the closing records."""
    needless = (each for each in events if each.superseded or each.repeats or is_unknown(each.event_type))
    ids = [each.id for each in needless if each.state == "dead"]
    if not ids or not dead.rights(connection).closings:
        return frozenset()
    found = dead.find_all(connection, ids, max_retries)
    return frozenset(each.id for each in found if each.why_needless and not each.blocks and not each.closed)


def _named_event(event: EventRow, found: History, *, closed: bool) -> NamedEvent:
    runs = [each.run for each in found.replays if each.event_id == event.id and each.run.command == CLOSE]
    closing = max(runs, key=lambda run: run.started_at, default=None) if closed else None
    return NamedEvent(event, tries_of(event), dead_before(event, found.events) is not None, closing)
