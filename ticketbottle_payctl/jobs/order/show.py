"""Show the state of an order, its history in chronological order, and the next commands.

``judge_money`` checks the payment, ``judge_delivery`` checks whether the order service received the event, and
``advice`` chooses the next commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.domain.unknown_types import is_unknown
from ticketbottle_payctl.jobs.order.advice import advise, advise_afterwards
from ticketbottle_payctl.jobs.order.find import find
from ticketbottle_payctl.jobs.order.judge_delivery import dead_before, tries_of
from ticketbottle_payctl.jobs.order.judge_money import amounts_of
from ticketbottle_payctl.jobs.order.model import NamedEvent, Timeline, VerdictKind
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
        if named is not None and not closed:
            named = named._replace(can_be_closed=_can_be_closed(connection, named.event, max_retries))
        repeated = _repeated(connection, found, named, max_retries)
        opened = [each for each in found.unsent_unknown if each.id not in found.closed_events and each != event]
        closable = tuple(each.id for each in opened if _can_be_closed(connection, each, max_retries))
    records = find_all(found, kafka) if kafka else Records()
    first, *also = judge(found, records, now, retention)
    if first.kind is VerdictKind.OVERDUE:
        why = what_stops_every_event(engine, max_retries)
        first = replace(first, cause=why.cause, some_are_held=why.some_are_held)
    elif first.kind is VerdictKind.WAITING and slot is None:
        new = what_stops_a_new_event(engine)
        first = replace(first, cause=new.cause, publishing=new.publishing)
    return Timeline(
        payment=found.payment,
        verdict=first,
        steps=tuple(in_order(found, [*steps_of(found), *records.steps])),
        advice=advise(found, [first, *also], now, debezium_publishes=slot is not None),
        afterwards=advise_afterwards([first, *also], debezium_publishes=slot is not None),
        also=tuple(also),
        amounts=amounts_of(found.receipts),
        warnings=tuple(records.warnings),
        repeated=repeated,
        closable_unknown=closable,
        named_event=named,
        debezium_sends=slot is not None and slot.active,
    )


def _is_named(event: EventRow, name: str) -> bool:
    return event.id == name or (is_short(name) and event.id.startswith(name))


def _can_be_closed(connection: Connection, event: EventRow, max_retries: int) -> bool:
    """Return whether the event is dead and harmless. False if the role cannot read the closing records."""
    needless = event.superseded or event.repeats or is_unknown(event.event_type)
    if event.state != "dead" or not needless or not dead.rights(connection).closings:
        return False
    found = dead.find(connection, event.id, max_retries)
    return found is not None and found.why_needless is not None and not found.blocks


def _repeated(
    connection: Connection, found: History, named: NamedEvent | None, max_retries: int
) -> tuple[NamedEvent, ...]:
    """Return the dead events that repeat a sent success and can be closed, except the named one."""
    events = [each for each in found.events if each.repeats and not (named and named.event.id == each.id)]
    closed = dead.closed_among(connection, [each.id for each in events], max_retries)
    return tuple(
        _named_event(each, found, closed=False)._replace(can_be_closed=True)
        for each in events
        if each.id not in closed and _can_be_closed(connection, each, max_retries)
    )


def _named_event(event: EventRow, found: History, *, closed: bool) -> NamedEvent:
    runs = [each.run for each in found.replays if each.event_id == event.id and each.run.command == CLOSE]
    closing = max(runs, key=lambda run: run.started_at, default=None) if closed else None
    return NamedEvent(event, tries_of(event), dead_before(event, found.events) is not None, closing)
