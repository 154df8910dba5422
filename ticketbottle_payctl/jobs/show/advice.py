"""What to type next. A command is given only if it can help: a replay that must die again is never among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from ticketbottle_payctl.jobs.show.delivery import dead_until, remedy_for
from ticketbottle_payctl.jobs.show.model import Advice, Verdict, VerdictKind
from ticketbottle_payctl.jobs.show.money import can_be_asked
from ticketbottle_payctl.store.payments.history import EventRow, History, PaymentRow

_ASK = {
    VerdictKind.NOT_PAID: "ask the gateway what became of the payment",
    VerdictKind.NO_CALLBACK: "ask the gateway what became of the payment, and settle it",
    VerdictKind.IN_PROGRESS: "ask the gateway again",
    VerdictKind.UNREADABLE: "ask the gateway what the callback meant, and settle the payment",
    VerdictKind.AMBIGUOUS: "ask the gateway what the callback meant, and settle the payment",
    VerdictKind.MONEY_HELD: "when the gateway has released the money: ask it, and settle the payment",
    VerdictKind.UNDOCUMENTED_CODE: "when the gateway has said what the code means: ask it, and settle the payment",
}
_DOCTOR = Advice(("doctor",), "it says why nothing sends the event: no publisher, topic, lock", changes=False)


def advise(
    found: History, verdicts: Sequence[Verdict], now: datetime, *, debezium_publishes: bool
) -> tuple[Advice, ...]:
    """Return the commands that help, the most pressing first. None if only a person can act, or nothing is to do."""
    advice = [each for verdict in verdicts for each in _of(verdict, found, now, debezium_publishes=debezium_publishes)]
    return tuple({each.command: each for each in reversed(advice)}.values())[::-1]


def _of(verdict: Verdict, found: History, now: datetime, *, debezium_publishes: bool) -> Iterator[Advice]:
    event, receipt, payment = verdict.event, verdict.receipt, found.payment
    match verdict.kind:
        case kind if kind in _ASK and payment is not None:
            yield from _ask(payment, _ASK[kind], now)
        case VerdictKind.NOT_APPLIED if receipt is not None:
            why = "settle the payment with the callback that was kept"
            yield Advice(("process-webhook",), why, options=("--receipt", receipt.id))
        case VerdictKind.DEAD | VerdictKind.BLOCKED if event is not None:
            yield from _of_dead(dead_until(event, found.events), event, debezium_publishes=debezium_publishes)
        case VerdictKind.WAITING | VerdictKind.RETRYING | VerdictKind.BEHIND | VerdictKind.OVERDUE if (
            debezium_publishes
        ):
            yield Advice(("cdc", "mark"), "Debezium publishes this outbox; this marks the events that it has sent")
        case VerdictKind.WAITING:
            yield Advice(("publish-outbox",), "send it now, unless a publisher is running")
        case VerdictKind.OVERDUE:
            yield _DOCTOR
        case VerdictKind.NOT_IN_KAFKA if event is not None and verdict.ticket_is_due:
            yield _again(event, "send it again: its record is not in the topic")
        case VerdictKind.PUBLISHED if event is not None and not event.superseded:
            yield _again(event, "only if the order service did not act on it: it will be seen twice")


def _ask(payment: PaymentRow, why: str, now: datetime) -> Iterator[Advice]:
    if can_be_asked(payment, now):
        yield Advice(("reconcile", "payments"), why, (payment.order_code,))


def _of_dead(dead: Sequence[EventRow], last: EventRow, *, debezium_publishes: bool) -> Iterator[Advice]:
    """Return how to deal with dead events, up to the one that has to be sent."""
    replayable = [each.id for each in dead if not each.superseded and remedy_for(each) is None]
    if replayable:
        yield Advice(("replay",), "set it back to pending when its cause is gone", tuple(replayable))
    passed = [each for each in dead if each.id not in {*replayable, last.id}]
    if passed and not debezium_publishes:
        superseded = any(each.superseded for each in passed)
        why = "never replay it: the customer would lose the tickets" if superseded else "a replay would die again"
        release = f"let the payment's later events pass the dead one; {why}"
        yield Advice(("publish-outbox",), release, options=("--on-dead", "release"))


def _again(event: EventRow, why: str) -> Advice:
    return Advice(("replay",), why, (event.id,), ("--published", "--allow-published"))
