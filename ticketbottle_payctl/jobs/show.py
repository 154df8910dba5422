"""Show everything about one payment or event in order of time, and what to do next."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Engine

from ticketbottle_payctl.broker.range_reader import Received
from ticketbottle_payctl.broker.search import Search, SearchQuery, find_records
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.errors import BrokerUnavailableError, ConfigError, NotFoundError
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payctl.runs import Run
from ticketbottle_payctl.store.payments import history
from ticketbottle_payctl.store.payments.history import EventRow, History, PaymentRow, Replayed

_LIMITS = Limits(statement=timedelta(seconds=30))
# Clocks differ. The mark of a batch is older than its last message by the time that the batch took.
_EARLIER, _LATER = timedelta(minutes=1), timedelta(minutes=10)
_PATIENCE = timedelta(seconds=10)
_LONG = timedelta(minutes=5)


class Step(NamedTuple):
    """An occurrence or a state. ``kind`` is a fixed word, ``id`` the row's id, ``facts`` its content."""

    at: datetime
    kind: str
    id: str
    facts: Mapping[str, object]


class Advice(NamedTuple):
    """A command to type next, and the reason."""

    command: str
    why: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is known of a payment, oldest first. ``warnings`` name what could not be read."""

    payment: PaymentRow | None
    steps: tuple[Step, ...]
    advice: tuple[Advice, ...]
    warnings: tuple[str, ...] = field(default=())


def show(
    engine: Engine,
    name: str,
    *,
    max_retries: int,
    kafka: Mapping[str, str | int | bool] | None = None,
    now: datetime,
) -> Timeline:
    """Join callbacks, payment, events, runs of operators and, if ``kafka`` is given, the records in the topics.

    ``name`` is the id of a payment, an event or a callback, an order code, or the gateway's id of the payment.

    Raises:
        NotFoundError: nothing has this name.
        DatabaseUnavailableError: the server cannot be reached. An unavailable broker is only a warning.
    """
    with transaction(engine, _LIMITS, commit=False) as connection:
        found = history.find(connection, name, max_retries)
    if found is None:
        message = "no payment, event or callback has this id or order code"
        raise NotFoundError(message, hint="`payctl list payments` and `payctl list outbox` show ids and order codes")
    records, warnings = _records(found, kafka) if kafka else ([], [])
    steps = sorted([*_steps(found), *records], key=lambda step: step.at)
    return Timeline(found.payment, tuple(steps), tuple(_advice(found, now)), tuple(warnings))


def _steps(found: History) -> Iterator[Step]:
    payment = found.payment
    if payment:
        facts = {"status": "PENDING", "amount": payment.amount, "currency": payment.currency}
        yield Step(payment.created_at, "payment_created", payment.id, {**facts, "provider": payment.provider})
        ends = (("COMPLETED", payment.completed_at), ("FAILED", payment.failed_at), ("CANCELLED", payment.cancelled_at))
        for status, at in ends:
            if at:
                yield Step(at, "payment_settled", payment.id, {"status": status})
    for receipt in found.receipts:
        yield Step(receipt.received_at, "callback", receipt.id, {
            "provider": receipt.provider, "outcome": receipt.outcome, "result": receipt.result,
            "reason": receipt.reason, "amount": receipt.amount, "currency": receipt.currency,
            "gateway_transaction_id": receipt.gateway_transaction_id, "bytes": receipt.body_bytes,
        })  # fmt: skip
    for event in found.events:
        yield Step(event.created_at, "event_written", event.id, {
            "event_type": event.event_type, "state": event.state, "superseded": event.superseded,
            "retry_count": event.retry_count, "last_error": event.last_error, "payload": event.payload,
        })  # fmt: skip
        if event.published_at:
            yield Step(event.published_at, "event_published", event.id, {"event_type": event.event_type})
    for event_id, run, _ in found.replays:
        yield Step(run.started_at, "event_replayed", event_id, _of_run(run))


def _of_run(run: Run) -> dict[str, object]:
    who = run.who.actor or f"{run.who.os_user}@{run.who.host}"
    return {"run_id": run.id, "command": run.command, "who": who, "reason": run.reason}


def _records(found: History, kafka: Mapping[str, str | int | bool]) -> tuple[list[Step], list[str]]:
    steps: list[Step] = []
    warnings: list[str] = []
    for event in found.events:
        if event.state != "published" or event.event_type not in TOPICS:
            continue
        try:
            searches = list(_searched(event, _stretches(event, found.replays), kafka))
        except (BrokerUnavailableError, ConfigError) as error:
            return steps, [f"{error.message}: the topics were not looked at"]
        # If the brokers know nothing of a stretch, they answer with the topic's end. So a copy may be found twice.
        records = {(each.partition, each.offset): each for search in searches for each in search.records}
        steps += _found(records.values(), event)
        if not records:
            warnings.append(_not_found(searches, event))
    return steps, warnings


def _searched(
    event: EventRow, stretches: Sequence[tuple[datetime, datetime]], kafka: Mapping[str, str | int | bool]
) -> Iterator[Search]:
    """Search the stretches of time, the latest first, all of them within one time limit."""
    deadline = time.monotonic() + _PATIENCE.total_seconds()
    for since, until in reversed(stretches):
        left = timedelta(seconds=deadline - time.monotonic())
        if left <= timedelta(0):
            yield Search(-1, (), complete=False)
            return
        query = SearchQuery(TOPICS[event.event_type], event.aggregate_id, event.id, since, until)
        yield find_records(kafka, query, left)


def _stretches(event: EventRow, replays: Sequence[Replayed]) -> list[tuple[datetime, datetime]]:
    """Return where copies may be: around each publishing before a replay, and from the first replay to the last one.

    The stretches are in order. Stretches that touch are one, so that no copy is found twice.
    """
    own = [each for each in replays if each.event_id == event.id]
    last = event.published_at or event.created_at
    spans = [(each.published_before, each.published_before) for each in own if each.published_before]
    spans.append((min([last, *(each.run.started_at for each in own)]), last))
    stretches: list[tuple[datetime, datetime]] = []
    for first, end in sorted(spans):
        since, until = first - _EARLIER, end + _LATER
        if stretches and since <= stretches[-1][1]:
            since, earlier = stretches.pop()
            until = max(until, earlier)
        stretches.append((since, until))
    return stretches


def _found(records: Iterable[Received], event: EventRow) -> Iterator[Step]:
    for record in records:
        run = record.text("replayRunId")
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        yield Step(record.at, "record", event.id, {**place, "replay_run_id": run})


def _not_found(searches: Sequence[Search], event: EventRow) -> str:
    where = f"{TOPICS[event.event_type]}, partition {searches[0].partition}"
    if not all(search.complete for search in searches):
        return f"event {event.id} was not found in {where} within {_PATIENCE.seconds} seconds of reading"
    return f"event {event.id} is not in {where} around its publishing: never sent, or past the topic's retention"


def _advice(found: History, now: datetime) -> Iterator[Advice]:
    """Return the commands to type next, the most pressing first, or none if nothing can be improved."""
    yield from _of_events(found, now)
    payment = found.payment
    if payment and payment.status == "PENDING":
        ask = _command("reconcile", "payments", payment.order_code)
        yield Advice(ask, "ask the gateway what became of the payment")
    elif payment and not found.events:
        yield Advice("payctl doctor", f"the payment is {payment.status} and wrote no event")
    elif payment is None and not found.events:
        yield Advice("payctl list payments", "the callback found no payment here")
    elif all(event.state == "published" for event in found.events):
        yield _again(found.events)


def _again(published: Sequence[EventRow]) -> Advice:
    """Return the command that publishes the latest event again, but never an event that a success has superseded."""
    for event in reversed(published):
        if not event.superseded:
            again = _command("replay", event.id, "--published", "--allow-published")
            return Advice(again, "only if the order service did not act on it: it will be seen twice")
    return Advice("payctl doctor", "the payment is COMPLETED, and no event says so")


def _command(*words: str) -> str:
    """Return a command as it is pasted into a shell: ids and order codes are opaque text."""
    return shlex.join(["payctl", *words])


def _of_events(found: History, now: datetime) -> Iterator[Advice]:
    blocked = False
    for event in found.events:
        if event.state == "dead":
            blocked = True
            yield _of_dead(event)
        elif event.state == "pending" and not blocked:
            yield _of_waiting(now - event.created_at)


def _of_dead(event: EventRow) -> Advice:
    if event.superseded:
        why = "this failure is superseded: let the payment's later events pass it, do not replay it"
        return Advice("payctl publish-outbox --on-dead release", why)
    return Advice(_command("replay", event.id), "it is out of retries")


def _of_waiting(waited: timedelta) -> Advice:
    if waited > _LONG:
        return Advice("payctl doctor", "it has waited for long: is a publisher running?")
    return Advice("payctl publish-outbox", "it waits for a publisher")
