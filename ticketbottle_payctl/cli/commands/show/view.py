"""Build the result of ``payctl show``, as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.show.facts import STEP_WORDS, AdviceFacts, ShowFacts, StepItem, VerdictFacts
from ticketbottle_payctl.cli.commands.show.named_event_words import event_sentence, named_event_facts
from ticketbottle_payctl.cli.commands.show.verdict_words import Todo, sentence, todo
from ticketbottle_payctl.cli.input.times import zone_of
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.result import (
    Block,
    Fields,
    Part,
    Result,
    Styled,
    accent,
    bad,
    bold,
    dim,
    good,
    headline,
    line,
    warn,
)
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.cli.safety.cause_advice import next_lines, remedy_text
from ticketbottle_payctl.formats import PLACEHOLDER, count, gateway_name, local, money, short_id
from ticketbottle_payctl.jobs.order import (
    Advice,
    Amounts,
    Mark,
    SettledBy,
    Step,
    Timeline,
    Verdict,
    VerdictKind,
    can_be_closed,
    is_too_early_to_close,
)
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.store.payments.history import PaymentRow

_MASK = "***"
_SAID = 2
"""In a history line, the index of the first part after the step's name."""
_HARMLESS = {
    "payment_id", "order_code", "amount_cents", "currency", "provider", "transaction_id", "completed_at", "failed_at",
    "cancelled_at", "paymentId", "orderCode", "amountCents", "transactionId", "completedAt", "failedAt", "cancelledAt",
}  # fmt: skip
_WITHOUT_MONEY = {"FAILED", "CANCELLED"}
"""The outcomes of callbacks that report no transfer of money."""
_MARKS = {Mark.GOOD: good("✔"), Mark.OPEN: warn("!"), Mark.BAD: bad("✘")}
_SETTLED_BY = {
    SettledBy.CALLBACK: "a callback",
    SettledBy.RECONCILE: "payctl reconcile payments, which asked the gateway",
}


@dataclass(frozen=True, slots=True)
class Reader:
    """The output's context: the session, the current time, and whether personal data is shown."""

    session: Session
    now: datetime
    unmask: bool


def result_of(timeline: Timeline, reader: Reader) -> Result:
    """Return the verdict, the history and the next command. The exit code is 0 if nothing is open."""
    steps = [_masked(step, unmask=reader.unmask) for step in timeline.steps]
    advice = [_advice(each, timeline, reader.session) for each in timeline.advice]
    return Result(
        "payctl.show/1",
        exit_codes.of_answer(yes=timeline.verdict.mark is Mark.GOOD),
        result=_facts(timeline, advice, reader.now),
        items=[_item(step) for step in steps],
        human=[
            *_head(timeline, reader.now),
            *_history(reader.session, steps),
            *_next(timeline, advice, reader.session),
        ],
        warnings=timeline.warnings,
    )


def _masked(step: Step, *, unmask: bool) -> Step:
    """Return the step without personal data.

    In a payload, only fields that are known to be harmless keep their values.
    """
    facts = dict(step.facts)
    if isinstance(facts.get("last_error"), str):
        facts["last_error"] = redact(str(facts["last_error"]))
    payload = facts.get("payload")
    if not unmask and isinstance(payload, dict):
        facts["payload"] = {
            key: value if key in _HARMLESS and not isinstance(value, dict | list) else _MASK
            for key, value in payload.items()
        }
    elif not unmask and payload is not None:
        facts["payload"] = _MASK
    return step._replace(facts=facts)


def _advice(advice: Advice, timeline: Timeline, session: Session) -> AdviceFacts:
    """Return the advised command with the options that the guard requires, and the reason for running it."""
    adviser = Adviser(session, f"show: {timeline.verdict.kind.value.replace('_', ' ')}")
    if not advice.changes:
        return {"command": adviser.reading(advice.verb, advice.operands, advice.options), "why": advice.why}
    refuses = adviser.read_only
    why = f"{advice.why} (profile {refuses} is read-only: use another profile)" if refuses else advice.why
    return {"command": adviser.changing(advice.verb, advice.operands, advice.options), "why": why}


def _item(step: Step) -> StepItem:
    return {"at": step.at, "kind": step.kind, "id": step.id, "facts": dict(step.facts)}


def _facts(timeline: Timeline, advice: Sequence[AdviceFacts], now: datetime) -> ShowFacts:
    payment = timeline.payment
    return {
        "payment_id": payment.id if payment else None,
        "order_code": payment.order_code if payment else None,
        "status": payment.status if payment else None,
        "amount": payment.amount if payment else None,
        "currency": payment.currency if payment else None,
        "provider": payment.provider if payment else None,
        "provider_transaction_id": payment.reference if payment else None,
        "next": advice,
        "verdict": _verdict(timeline.verdict, timeline, now),
        "also": [_verdict(each, timeline, now) for each in timeline.also],
        "paid": timeline.amounts.paid,
        "refused_amounts": timeline.amounts.refused,
        "settled_by": timeline.amounts.settled_by,
        "repeated": [named_event_facts(each, now) for each in timeline.repeated],
        "event": named_event_facts(timeline.named_event, now) if timeline.named_event else None,
    }


def _verdict(verdict: Verdict, timeline: Timeline, now: datetime) -> VerdictFacts:
    return {
        "kind": verdict.kind,
        "mark": verdict.mark,
        "text": sentence(verdict, timeline, now),
        "at": verdict.at,
        "paid": verdict.paid,
        "receipt_id": verdict.receipt.id if verdict.receipt else None,
        "event_id": verdict.event.id if verdict.event else None,
        "blocked_by": verdict.blocked_by.id if verdict.blocked_by else None,
        "tries": verdict.tries,
        "due": verdict.due,
        "sent_before": verdict.sent_before,
        "readers": verdict.readers,
        "behind": verdict.behind,
        "remedy": verdict.remedy,
        "todo": _todo_text(todo(verdict, timeline)),
        "closed_by_run": verdict.closing.run.id if verdict.closing else None,
    }


def _todo_text(said: Todo | None) -> str | None:
    return said and remedy_text(said.words, said.sql)


def _head(timeline: Timeline, now: datetime) -> Iterator[Block]:
    yield headline(_MARKS[timeline.verdict.mark], bold(sentence(timeline.verdict, timeline, now)))
    if timeline.named_event is not None:
        yield line(" ", event_sentence(timeline.named_event, now))
    for event in timeline.repeated:
        yield line(" ", event_sentence(event, now))
    for verdict in timeline.also:
        yield line(_MARKS[verdict.mark], bold(sentence(verdict, timeline, now)))
    payment = timeline.payment
    if payment is None:
        yield line("this database has no payment for it")
        yield line()
        return
    status = good(payment.status) if payment.status == "COMPLETED" else warn(payment.status)
    amounts = timeline.amounts
    refused = ", ".join(money(each, payment.currency) for each in amounts.refused)
    yield Fields(
        (
            ("order", payment.order_code),
            ("payment", payment.id),
            ("gateway", gateway_name(payment.provider)),
            ("status", status),
            ("asked", money(payment.amount, payment.currency)),
            ("paid", _paid(amounts, payment)),
            ("refused", warn(refused) if refused else None),
            ("settled by", _SETTLED_BY[amounts.settled_by] if amounts.settled_by else None),
        )
    )
    yield line()


def _paid(amounts: Amounts, payment: PaymentRow) -> Styled | str | None:
    """Return the accepted amount, or say why there is none.

    If only refused amounts exist, return None, because they have their own row.
    """
    if amounts.paid is not None:
        paid = money(amounts.paid, payment.currency)
        return paid if amounts.paid == payment.amount else warn(paid)
    if amounts.refused:
        return None
    ended = payment.status in {"FAILED", "CANCELLED"} and amounts.settled_by is not None
    return "nothing" if ended else "no callback reported this"


def _history(session: Session, steps: Sequence[Step]) -> Iterator[Block]:
    zone = zone_of(session)
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        # The receipt's time is read after the settlement that the callback caused, in the same transaction.
        at = min(step.at, after.at) if after and step.kind == "callback" else step.at
        word = "gateway asked" if step.facts.get("source") is SettledBy.RECONCILE else STEP_WORDS[step.kind]
        said = line(dim(local(at, zone)), f"{word:<15}", *_said(step))
        yield replace(said, hang=_SAID)
        if step.facts.get("payload") is not None:
            yield Fields((("id", step.id), ("payload", step.facts["payload"])))


def _can_be_closed(timeline: Timeline) -> list[Verdict]:
    return [each for each in (timeline.verdict, *timeline.also) if can_be_closed(each)]


def _closing(timeline: Timeline, session: Session) -> str | None:
    """Return the command that closes this order's findings, or None if they cannot be closed now."""
    open_ones = _can_be_closed(timeline)
    if not open_ones or is_too_early_to_close(timeline):
        return None
    receipt = open_ones[0].receipt
    name = timeline.payment.order_code if timeline.payment else receipt.id if receipt else ""
    return Adviser(session, PLACEHOLDER).changing(["close"], [name])


def _next(timeline: Timeline, advice: Sequence[AdviceFacts], session: Session) -> Iterator[Block]:
    verdicts = (timeline.verdict, *timeline.also)
    sentences = dict.fromkeys(said for said in (todo(each, timeline) for each in verdicts) if said)
    yield line()
    to_do: list[Block] = [
        block for said in sentences for block in next_lines("", bold("to do:"), said.words, None, said.sql)
    ]
    afterwards = [_advice(each, timeline, session) for each in timeline.afterwards]
    to_do += [
        block
        for each in afterwards
        for block in (line(bold("then:"), each["why"]), line(accent(f"  {each['command']}")))
    ]
    commands = [
        block
        for place, each in enumerate(advice)
        for block in (line(bold("then:" if place else "next:"), each["why"]), line(accent(f"  {each['command']}")))
    ]
    # A replay of a dead event also lets a publisher send a failure that waits behind it.
    late = any(each.kind is VerdictKind.LATE_FAILURE for each in verdicts)
    yield from [*commands, *to_do] if timeline.success_is_unsent and not late else [*to_do, *commands]
    close = _closing(timeline, session)
    if close:
        asked_first = all(each.is_overdue_payment and each.remedy is None for each in _can_be_closed(timeline))
        unknown = "if the gateway does not know the payment, look in its portal, and record what you found"
        yield line(bold("then:"), unknown if asked_first else "record what was done, for the next shift")
        yield line(accent(f"  {close}"))
    named = [timeline.named_event] if timeline.named_event is not None else []
    ending = "to end the warning about this dead event, record that no customer is waiting for the event"
    unknown = "if nobody needs the event, record that no customer is waiting for the event"
    ends = [(ending, each.event.id) for each in (*named, *timeline.repeated) if each.can_be_closed]
    for why, event in [*ends, *((unknown, each) for each in timeline.closable_unknown)]:
        yield line(bold("then:"), why)
        yield line(accent(f"  {Adviser(session, PLACEHOLDER).changing(['close'], [event])}"))
    if not advice and not sentences:
        yield line("nothing to do" if timeline.verdict.mark is Mark.GOOD else "nothing to do but wait")


def _said(step: Step) -> list[Part]:
    """Return the part of a step's line that follows the step's name."""
    facts = step.facts
    parts: list[Part] = [str(facts.get("event_type", ""))]
    match step.kind:
        case "payment_created":
            parts = [gateway_name(str(facts["provider"])), money(_whole(facts["amount"]) or 0, str(facts["currency"]))]
        case "payment_settled":
            parts = [_status(str(facts["status"]))]
        case "callback":
            parts = list(_of_callback(step))
        case "event_written":
            parts += _state(facts)
        case "event_replayed" | "closed":
            reason = f"reason: {facts['reason']}" if facts["reason"] else "no reason given"
            said = f"by {facts['who']}, {reason}"
            if step.kind == "closed":
                said = f"{_what_was_closed(step)}, {said}"
            parts = [said, dim(f"run {short_id(str(facts['run_id']))}")]
        case "record":
            parts = [f"{facts['topic']}, partition {facts['partition']}, offset {facts['offset']}"]
            parts += [warn("from a replay")] if facts["replay_run_id"] else []
    return parts


def _what_was_closed(step: Step) -> str:
    event_type = step.facts.get("event_type")
    if step.facts.get("overdue_payment"):
        return "the overdue payment"
    return f"dead event {short_id(step.id)} ({event_type})" if event_type else "the findings about the money"


def _of_callback(step: Step) -> Iterator[Part]:
    facts = step.facts
    amount = _whole(facts["amount"])
    said = f"{facts['outcome']}, {facts['result']}"
    yield gateway_name(str(facts["provider"]))
    yield f"{said} ({facts['reason']})" if facts["reason"] else said
    if amount is not None:
        yield money(amount, str(facts["currency"]))
    number = facts["payment_number"] or facts["gateway_transaction_id"]
    if number and facts["outcome"] not in _WITHOUT_MONEY:
        yield f"transfer {number}"
    yield dim(f"receipt {short_id(step.id)}")


def _state(facts: Mapping[str, object]) -> list[Part]:
    words: list[Part] = []
    tries = _whole(facts["tries"]) or 0
    match facts["state"]:
        case "dead":
            words.append(bad(f"dead after {count(tries, 'try', 'tries')}"))
        case "pending" if facts["blocked"]:
            words.append(bad("blocked"))
        case "pending":
            words.append(warn(f"pending, {count(tries, 'try', 'tries')} failed" if tries else "pending"))
        case _:
            words.append(good("published"))
    if facts["superseded"]:
        words.append(warn("superseded"))
    if facts["repeats"]:
        words.append(warn("harmless"))
    if facts["last_error"] and facts["state"] != "published":
        old = "" if facts["retry_count"] else "last error before the replay: "  # only a replay resets the count
        words.append(f"{old}{facts['last_error']}")
    return words


def _status(status: str) -> Styled:
    return good(status) if status == "COMPLETED" else warn(status)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
