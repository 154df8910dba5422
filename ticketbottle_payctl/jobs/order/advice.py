"""Choose the commands to run next. Never advise a replay that would fail again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import Engine

from ticketbottle_payctl.domain.causes import NEXT_RESCAN, Activity, Command
from ticketbottle_payctl.domain.causes.late_failures import Instead, instead_of_publishing, publishes
from ticketbottle_payctl.domain.message_size import is_small_enough_now
from ticketbottle_payctl.domain.payment import is_overdue
from ticketbottle_payctl.domain.unknown_types import is_unknown
from ticketbottle_payctl.formats import short_id
from ticketbottle_payctl.jobs.order.judge_delivery import dead_until, remedy_for
from ticketbottle_payctl.jobs.order.judge_money import can_be_asked
from ticketbottle_payctl.jobs.order.model import Advice, Verdict, VerdictKind
from ticketbottle_payctl.store.outbox.orders_at_risk import known_late_failures
from ticketbottle_payctl.store.payments.history import EventRow, History, PaymentRow

_ASK = {
    VerdictKind.NO_CALLBACK: "ask the gateway, and settle the payment; if it cannot be settled, the output says why",
    VerdictKind.IN_PROGRESS: "ask the gateway again",
    VerdictKind.UNREADABLE: "ask the gateway what the callback meant, and settle the payment",
    VerdictKind.AMBIGUOUS: "ask the gateway what the callback meant, and settle the payment",
    VerdictKind.MONEY_HELD: "after the gateway has released the money, ask it and settle the payment",
    VerdictKind.UNDOCUMENTED_CODE: "after the gateway has said what the code means, ask it and settle the payment",
}
_DOCTOR = Advice(
    ("doctor",), "find out why the event is not being sent: no publisher, a missing topic, or a lock", changes=False
)
_TRY_AGAIN = Advice(
    ("publish-outbox",), "the next try is overdue: send the event by hand, unless a publisher is sending it"
)
_FIND_HOLDER = Advice(
    ("doctor",), "find out what holds the event: a lock or a topic", options=("--only", "backlog"), changes=False
)

_PENDING = {VerdictKind.WAITING, VerdictKind.RETRYING, VerdictKind.BEHIND, VerdictKind.OVERDUE}
_FIX_AND_REQUEUE = "fix the cause, then requeue the dead events"
_CUT_BACK = Advice(
    ("cdc", "cut-back"),
    "Debezium is publishing this outbox and does not send requeued events: take the outbox back first",
)


def advise(
    found: History, verdicts: Sequence[Verdict], now: datetime, *, debezium_publishes: bool
) -> tuple[Advice, ...]:
    """Return the commands to run next, most urgent first.

    The list is empty if no finding is open or no command helps.
    """
    # Advise sending a published event again only if no other finding is open, such as a refund or late money.
    held = [each for each in verdicts if each.closing is not None and each.kind is VerdictKind.MONEY_HELD]
    verdicts = [each for each in verdicts if each.closing is None]
    pressing = [each for number, each in enumerate(verdicts) if number == 0 or each.kind is not VerdictKind.PUBLISHED]
    advice: dict[str, Advice] = {}
    for verdict in pressing:
        for each in _of(verdict, found, now, debezium_publishes=debezium_publishes):
            advice.setdefault(each.command, each)
    if held and found.payment is not None and found.payment.status == "PENDING":
        for each in _ask(found.payment, _ASK[VerdictKind.MONEY_HELD], now):  # closing the finding settles nothing
            advice.setdefault(each.command, each)
    return tuple(advice.values())


def advise_sending(verdict: Verdict, found: History, now: datetime, *, debezium_publishes: bool) -> Advice:
    """Return the first command that helps to send the verdict's event, which must be unsent.

    If the verdict has a remedy, the operator must apply it before the command.
    """
    if verdict.remedy is not None and verdict.event is not None and not debezium_publishes:
        return Advice(("replay",), "requeue the dead event", (verdict.event.id,))
    advice = _of(verdict, found, now, debezium_publishes=debezium_publishes)
    return next((each for each in advice if each.changes), Advice(("publish-outbox",), "send the event now"))


def advise_afterwards(verdicts: Sequence[Verdict], *, debezium_publishes: bool) -> tuple[Advice, ...]:
    """Return the commands that requeue dead events. They help only after the operator has fixed the events' fault."""
    if debezium_publishes:
        return ()
    return tuple(
        Advice(("replay",), "requeue the event", (each.event.id,))
        for each in verdicts
        if each.kind is VerdictKind.DEAD and each.remedy is not None and each.event is not None
    )


def with_dry_runs(advice: Sequence[Advice], engine: Engine, max_retries: int) -> tuple[Advice, ...]:
    """Return the advice with a dry run instead of publishing, if a pending failure would take a paid order's tickets.

    Read the failure events only if some advice is to publish.
    """
    if not any(publishes(_command(each)) for each in advice):
        return tuple(advice)
    late = known_late_failures(engine, max_retries)
    return tuple(_with_dry_run(each, instead_of_publishing(each.why, _command(each), late)) for each in advice)


def _command(advice: Advice) -> Command:
    return Command(advice.verb, advice.operands, advice.options, advice.changes)


def _with_dry_run(advice: Advice, instead: Instead | None) -> Advice:
    if instead is None:
        return advice
    return Advice(instead.command.verb, instead.advice, options=instead.command.options, changes=False)


def _of(verdict: Verdict, found: History, now: datetime, *, debezium_publishes: bool) -> Iterator[Advice]:
    if debezium_publishes and verdict.event is not None:
        yield from _with_debezium(verdict)
        return
    event, receipt, payment = verdict.event, verdict.receipt, found.payment
    match verdict.kind:
        case VerdictKind.IN_PROGRESS if payment is not None and not is_overdue(payment.created_at, now):
            return  # the customer may still be paying
        case kind if kind in _ASK and payment is not None:
            yield from _ask(payment, _ASK[kind], now)
        case VerdictKind.NOT_APPLIED if receipt is not None:
            why = "settle the payment with the stored callback"
            yield Advice(("process-webhook",), why, options=("--receipt", receipt.id))
        case VerdictKind.DEAD | VerdictKind.BLOCKED if event is not None:
            yield from _of_dead(dead_until(event, found.events), event)
        case VerdictKind.WAITING if verdict.cause is None:
            yield Advice(("publish-outbox",), _why_to_send(verdict))
        case VerdictKind.WAITING | VerdictKind.OVERDUE:
            yield from _of_overdue(verdict)
        case VerdictKind.NOT_IN_KAFKA if event is not None and verdict.ticket_is_due:
            yield _again(event, "send it again if the order has no tickets: a second completed event is harmless")
        case VerdictKind.PUBLISHED if event is not None and _may_be_sent_again(event):
            yield _again(
                event,
                "only if the order service did not act on the event, because it will receive the event a second time",
            )


def _why_to_send(verdict: Verdict) -> str:
    """Return a phrase that says when to send a new event by hand. It depends on the publishers in the database."""
    seen = verdict.publishing
    match seen.activity if seen else None:
        case Activity.RUNNING if seen and seen.last:
            looks = f"; {NEXT_RESCAN}" if verdict.replays else ""
            return f"publisher {seen.last}{looks}; send it by hand only if that publisher does not send it"
        case Activity.SILENT if seen:
            return f"{seen.words}; if it does not run again, send it now"
        case Activity.BETWEEN_RUNS if seen:
            return f"{seen.words}; if none is scheduled, send it now"
        case Activity.GONE | Activity.NEVER_SEEN if seen:
            return f"{seen.words}; send it now"
    return "send it now, unless a publisher is running"


def _may_be_sent_again(event: EventRow) -> bool:
    return event.state == "published" and not event.superseded and not is_unknown(event.event_type)


def _of_overdue(verdict: Verdict) -> Iterator[Advice]:
    cause = verdict.cause
    if cause is None:
        of_try = _FIND_HOLDER if verdict.some_are_held else _TRY_AGAIN
        yield of_try if verdict.is_overdue_try else _DOCTOR
    elif cause.command is not None:
        verb, operands, options, changes, _ = cause.command
        yield Advice(verb, cause.advice or cause.meaning, operands, options, changes=changes)


def _ask(payment: PaymentRow, why: str, now: datetime) -> Iterator[Advice]:
    if can_be_asked(payment, now):
        yield Advice(("reconcile", "payments"), why, (payment.order_code,))


def _with_debezium(verdict: Verdict) -> Iterator[Advice]:
    """Yield the advice for an outbox that Debezium publishes.

    Debezium sends inserted events but not requeued ones, and payctl's publisher refuses to run.
    """
    match verdict.kind:
        case kind if kind in _PENDING and verdict.is_skipped_by_debezium:
            yield _CUT_BACK
        case VerdictKind.OVERDUE if verdict.cause is not None:
            yield from _of_overdue(verdict)
        case kind if kind in _PENDING:
            yield Advice(
                ("cdc", "mark"),
                "Debezium is publishing this outbox; this command marks the events that Debezium has sent",
            )
        case VerdictKind.DEAD | VerdictKind.BLOCKED | VerdictKind.NOT_IN_KAFKA:
            yield _CUT_BACK


def _of_dead(dead: Sequence[EventRow], last: EventRow) -> Iterator[Advice]:
    """Yield the advice about the ``dead`` events, which must be resolved before the ``last`` event can be sent."""
    replayable = [each.id for each in dead if not each.superseded and remedy_for(each) is None]
    if replayable:
        small = all(is_small_enough_now(each.last_error, each.message_bytes) for each in dead if each.id in replayable)
        why = "the message is smaller now, so requeue the event" if small else _FIX_AND_REQUEUE
        yield Advice(("replay",), why, tuple(replayable))
    passed = [each for each in dead if each.id not in {*replayable, last.id}]
    if passed:
        superseded = any(each.superseded for each in passed)
        why = "never replay it: the customer would lose their tickets" if superseded else "a replay would fail again"
        skipped = " and the dead ".join(f"{each.event_type} {short_id(each.id)}" for each in passed)
        yield Advice(("publish-outbox",), f"skip the dead {skipped}; {why}", options=("--on-dead", "release"))


def _again(event: EventRow, why: str) -> Advice:
    return Advice(("replay",), why, (event.id,), ("--allow-published",))
