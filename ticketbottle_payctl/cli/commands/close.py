"""Implement ``payctl close``: record that a person has dealt with the findings about an order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NoReturn, TypedDict

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.close_overdue import answer_blocks, with_answer
from ticketbottle_payctl.cli.commands.show.verdict_words import sentence, todo
from ticketbottle_payctl.cli.input import change_options
from ticketbottle_payctl.cli.input.selector_options import order_name
from ticketbottle_payctl.cli.output.result import Block, Fields, Result, bold, dim, good, line, warn
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.cli.safety.cause_advice import remedy_text
from ticketbottle_payctl.cli.safety.confirm import Act, Approval, approve, refuse_read_only
from ticketbottle_payctl.cli.safety.recorded import new_run
from ticketbottle_payctl.domain.why_needless import WhyNeedless
from ticketbottle_payctl.errors import GuardError
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.close_event import NamedEvent, close_event, find_event, refuse
from ticketbottle_payctl.jobs.order import (
    Mark,
    OpenFindings,
    VerdictKind,
    close_findings,
    find_open,
    is_too_early_to_close,
)

SCHEMA = "payctl.close/1"
_WHY_NEEDLESS = {
    WhyNeedless.SUPERSEDED: "is superseded: the customer has paid since and is not waiting for it",
    WhyNeedless.REPEATED: "repeats a success that was sent: the customer is not waiting for it",
    WhyNeedless.UNKNOWN_TYPE: "has a type that payctl does not know, and no customer is waiting for it",
}


class CloseFacts(TypedDict):
    """The order whose findings were closed."""

    order_code: str | None
    """The order code, or null if this database has no payment for it."""
    payment_id: str | None


class CloseCounts(TypedDict):
    """The number of closed findings."""

    closed: Count
    """Findings or dead events that were closed or, with dry_run, that would be closed."""


class ClosedItem(TypedDict):
    """A finding or a dead event that was closed."""

    kind: str
    """The finding's code, as in `payctl show`; for a dead event, superseded, repeated or unknown_type."""
    text: str
    """The sentence that people read."""


def close_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    name: Annotated[str, order_name("payment, callback or dead event")],
    *,
    dry_run: change_options.DryRun = False,
    yes: change_options.Yes = False,
    reason: change_options.RequiredReason = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Record that a person has dealt with an order.

    Use this for something that payctl cannot see, such as a refund in the gateway's portal. The command closes the
    order's findings about money, and does not change the payment. Afterwards `payctl show` names you and the reason,
    and `payctl report` leaves the order out. If more money arrives later, it is a new open finding. An overdue payment
    is closed only if its gateway does not know it or no longer answers, so the command asks the gateway. If you
    give the id of a harmless dead event, the command closes only this event. The event stays in the outbox, and
    `payctl doctor` no longer warns about it. If you give the id of any other event, the command closes nothing.
    """
    session = Session.of(ctx)
    session.note_target()
    if not dry_run:
        refuse_read_only(session, "close")
    now = session.services.now()
    settings = session.settings
    approval = Approval(yes=yes, reason=reason, confirm=confirm)
    event = find_event(session.services.engine, name, settings.max_retries)
    if event is not None:
        _close_event(session, event, approval, dry_run=dry_run)
    found = find_open(
        session.services.engine, name, max_retries=settings.max_retries, retention=settings.retention, now=now
    )
    found, warnings = with_answer(session, found)
    items: list[ClosedItem] = [
        {"kind": each.kind, "text": sentence(each, found.timeline, now)} for each in found.findings
    ]
    number = len(items)
    look = Adviser(session, "close").reading(["show"], [name])
    if is_too_early_to_close(found.timeline):
        message = "not closed: until the success event is sent, the seats may be sold to another customer"
        raise GuardError(message, hint=_before_closing(session, found, look))
    if not number and found.timeline.verdict.mark is not Mark.GOOD:
        message = "nothing was closed: no open finding about this order can be closed by a person"
        raise GuardError(message, hint=look)
    plan: list[Block] = [*(line(each["text"]) for each in items), *answer_blocks(found)]
    run, payment = None, found.timeline.payment
    if number and not dry_run:
        _approve(session, "order", payment.order_code if payment else found.subject, plan, approval)
        code = {"order_code": payment.order_code} if payment else {}
        run = new_run(session, "close", reason, selector={"subject": found.subject, **code})
        close_findings(session.services.engine, found, run)
    facts: CloseFacts = {
        "order_code": payment.order_code if payment else None,
        "payment_id": payment.id if payment else None,
    }
    counts: CloseCounts = {"closed": number}
    order = f"order {payment.order_code}" if payment else None
    about = f" about {order}" if order else ""
    human: list[Block] = [line(good("✔"), f"no finding{about} can be closed; see its state: {look}")]
    if number:
        word = "would be closed" if dry_run else "closed"
        human = [line(good("✔"), bold(count(number, "finding")), word, order), *plan]
        human.append(line(warn("dry run:"), "nothing was recorded") if run is None else Fields((("run", dim(run.id)),)))
    if number and found.timeline.success_is_unmarked:
        word = "sent" if found.timeline.success_is_unsent else "marked as published"
        warnings.append(f"the success event has not been {word} yet: {look}")
    if payment and payment.status == "PENDING" and any(each.kind is VerdictKind.MONEY_HELD for each in found.findings):
        ask = Adviser(session, "close").changing(["reconcile", "payments"], [payment.order_code])
        warnings.append(f"the payment is still PENDING; when the gateway has released the money, settle it: {ask}")
    session.finish(
        Result(
            SCHEMA,
            counts=counts,
            result=facts,
            items=items,
            human=human,
            warnings=warnings,
            dry_run=dry_run,
            run_id=run.id if run else None,
        )
    )


def _before_closing(session: Session, found: OpenFindings, look: str) -> str:
    """Return what the operator must do before closing a finding about late money.

    payctl cannot create a missing event.
    """
    unsent, sending = found.timeline.unsent_success, found.sending
    if unsent is None or sending is None:
        days = count(session.settings.retention.days, "day")
        return (
            "no success event exists, so ask the order service's team whether the order has its tickets. You can close"
            " the finding as soon as the payment service has written the event and it is published, or"
            f" {days} (OUTBOX_RETENTION_DAYS) after the payment; see the state: `{look}`"
        )
    adviser, again = Adviser(session, "close"), f"then check the order again: `{look}`"
    then = f"then ask whether the order has its tickets: `{look}`"
    if sending.verb == ("cdc", "mark"):  # this command sends nothing: Debezium sends the event
        return f"wait until Debezium has sent the event (`{adviser.reading(['doctor'])}` says what stops it), {then}"
    remedy = todo(unsent, found.timeline)
    before = f"{remedy_text(remedy.words, remedy.sql)}. " if remedy else ""
    if not sending.changes:
        preview = adviser.reading(sending.verb, sending.operands, sending.options)
        return f"{sending.why}: `{preview}`, {again}"  # a dry run sends nothing
    command = adviser.changing(sending.verb, sending.operands, sending.options)
    if sending.verb == ("cdc", "cut-back"):
        return f"{before}{sending.why}: `{command}`, {again}"
    send = "Then send the event" if remedy else "send the event first"
    return f"{before}{send}: `{command}`, {then}"


def _close_event(session: Session, event: NamedEvent, approval: Approval, *, dry_run: bool) -> NoReturn:
    """Close a harmless dead event and end the command. If it is already closed, nothing is recorded.

    Raises:
        GuardError: the event is not dead and harmless, or blocks another event.
    """
    look = Adviser(session, "close").reading(["show"], [event.order_code or event.id])
    why = event.why_needless
    what = f"dead {event.event_type} {event.id} {_WHY_NEEDLESS[why]}" if why else ""
    plan: list[Block] = [line(what)]
    run, number = None, 0 if event.closed else 1
    if number:
        refuse(event, look)
    if number and not dry_run:
        _approve(session, "dead event", event.id, plan, approval)
        run = new_run(session, "close", approval.reason, selector={"subject": event.id})
        close_event(session.services.engine, event, run, session.settings.max_retries, look)
    items: list[ClosedItem] = [{"kind": why, "text": what}] * number if why else []
    facts: CloseFacts = {"order_code": event.order_code, "payment_id": event.payment_id}
    counts: CloseCounts = {"closed": number}
    human: list[Block] = [line(good("✔"), f"this dead event is already closed; see its order: {look}")]
    if number:
        human = [line(good("✔"), bold("1 dead event"), "would be closed" if dry_run else "closed"), *plan]
        human.append(line(warn("dry run:"), "nothing was recorded") if run is None else Fields((("run", dim(run.id)),)))
    run_id = run.id if run else None
    session.finish(
        Result(SCHEMA, counts=counts, result=facts, items=items, human=human, dry_run=dry_run, run_id=run_id)
    )


def _approve(session: Session, noun: str, name: str, plan: Sequence[Block], approval: Approval) -> None:
    """Ask for approval, and show what will be closed and why. With --yes, only the result shows it.

    `payctl close` always needs a reason, even if no guard requires one.
    """
    if session.guard.protected is None and not (approval.reason or "").strip():
        message = "missing option '--reason': say what was done, because the next shift reads it"
        raise typer.TyperException(message)
    asked = [*plan, Fields(((noun, name), ("reason", approval.reason)))]
    approve(session, Act("close", 1, noun, () if approval.yes else asked), approval)
