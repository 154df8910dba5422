"""Write a sentence with the verdict on an order, and one that says what the operator must do."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from ticketbottle_payctl.broker.delivery_remedy import DeliveryRemedy, error_name
from ticketbottle_payctl.cli.output.delivery_remedy_words import remedy_sentence
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.formats import age, count, duration, gateway_name, money
from ticketbottle_payctl.jobs.order import Mark, Remedy, Timeline, Verdict, VerdictKind
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.store.payctl.runs import Run
from ticketbottle_payctl.store.payments.history import EventRow, PaymentRow
from ticketbottle_payctl.store.payments.receipt_rows import ReceiptRow

_LONGEST_ERROR = 60
_ORIGINS = {"Local", "Broker"}
"""The words with which the Kafka client begins an error's text. The error's name follows after the colon."""

_SENTENCES = {
    VerdictKind.NOT_PAID: "not paid yet: the order was placed {ago}, and no genuine callback has arrived yet",
    VerdictKind.NO_CALLBACK: "no genuine callback arrived; the order was placed {ago} and is still PENDING",
    VerdictKind.IN_PROGRESS: "not paid yet: {gateway} says that the payment is in progress; callback {ago}",
    VerdictKind.WRONG_AMOUNT: "paid {paid}, but the order is for {asked}; callback refused {ago}",
    VerdictKind.OTHER_PROVIDER: (
        "paid {paid} through {gateway}, but the order is for {made_for}; callback refused {ago}"
    ),
    VerdictKind.UNREADABLE: "{gateway} sent a genuine callback that payctl cannot read; stored {ago}",
    VerdictKind.AMBIGUOUS: "{gateway}'s callback can be read in two ways, so it settled nothing; stored {ago}",
    VerdictKind.MONEY_HELD: "{gateway} received {paid} and blocked it as suspicious; callback {ago}",
    VerdictKind.UNDOCUMENTED_CODE: "{gateway} sent an undocumented code; callback {ago}",
    VerdictKind.NOT_APPLIED: "paid {paid}; the callback was refused {ago}, but would be accepted now",
    VerdictKind.UNKNOWN_ORDER: "paid {paid}, but this database has no payment for this order; callback refused {ago}",
    VerdictKind.UNKNOWN_STATUS: "payctl does not recognise the payment's status {status}",
    VerdictKind.TEST_PING: "a test call from {gateway}, for no order; received {ago}",
    VerdictKind.NO_EVENT: "{status} {ago}, but no event tells the order service",
    VerdictKind.UNKNOWN_TYPE: "the event {type} cannot be sent, because payctl does not know this type; written {ago}",
    VerdictKind.CLEANED_UP: "{status} {ago}; its event was published, and the cleanup has deleted it",
    VerdictKind.PAST_RETENTION: "{status} {ago}; no event is left, because the cleanup deletes published events",
    VerdictKind.DEAD: "the event is dead because of {error} {tries}{again}; written {ago}",
    VerdictKind.BLOCKED: "blocked by dead event {first} ({first_type}) of the same payment",
    VerdictKind.BEHIND: "behind event {first} of the same payment; that event failed {times}; {next_try}",
    VerdictKind.RETRYING: "the event failed {times} ({error}); {next_try}",
    VerdictKind.WAITING: "the event has waited {age} for a publisher{because}",
    VerdictKind.OVERDUE: "the event has waited {age}{why}",
    VerdictKind.PUBLISHED: "published {ago}{read}",
    VerdictKind.UNREAD: "published {ago}, but {unread}",
    VerdictKind.NOT_IN_KAFKA: "published {ago}, but not in {topic}: never sent, or later deleted by Kafka",
    VerdictKind.ENDED: "nothing is open: {type} was published {ago}{read}",
    VerdictKind.LATE_FAILURE: "TICKETS AT RISK: the order loses its tickets if a publisher sends the pending {type}",
    VerdictKind.RELEASED_AFTER_SUCCESS: (
        "{type} was published {ago}, after the success, so the tickets may have been released"
    ),
    VerdictKind.FAILED_BEFORE_SUCCESS: (
        "{type} was published before the success, so the order service may have refused the success {ago}"
    ),
    VerdictKind.LATE_MONEY: "PAID TOO LATE: the money arrived {ago}, after the payment had failed or was cancelled",
    VerdictKind.SECOND_PAYMENT: "PAID {often}: {transfers} transfers for one order; the latest callback arrived {ago}",
    VerdictKind.CONTRADICTED: "{gateway} reported a failure {ago}, but the payment is COMPLETED; nothing was changed",
    VerdictKind.REFUNDED: "{gateway} reports a refund; callback {ago}",
}
_WITHOUT_MONEY = {
    VerdictKind.WRONG_AMOUNT: (
        "{gateway} reports a failed payment of {reported}; the order is for {asked}; callback refused {ago}"
    ),
    VerdictKind.OTHER_PROVIDER: "{gateway} reports a failure; the order is for {made_for}; callback refused {ago}",
    VerdictKind.NOT_APPLIED: "{gateway}'s callback was refused {ago}, but would be accepted now",
    VerdictKind.UNKNOWN_ORDER: "{gateway} reports an order that this database does not have; callback {ago}",
}
"""The sentences to use if the callback does not report a payment."""
_REQUEUED = {
    VerdictKind.WAITING: "requeued {ago}, written {written}; waiting for a publisher{because}",
    VerdictKind.OVERDUE: "requeued {ago}, written {written}{why}",
}
"""The sentences to use if an operator requeued the event."""
_SENT_AGAIN = {
    VerdictKind.WAITING: "requeued {ago} after it had been sent; waits to be sent again{because}",
    VerdictKind.OVERDUE: "requeued {ago} after it had been sent, and not sent again yet{because}",
}
"""The sentences to use if an operator requeued an event that had already been sent."""
_OVERDUE_TRY = {
    False: "the event failed {times} ({error}), and its next try is overdue{because}",
    True: "behind event {first} of the same payment; that event failed {times}, and its next try is overdue{because}",
}
"""The sentences for an overdue event that has itself failed, or whose payment has an earlier event that failed."""

_COMPLETE = {
    VerdictKind.NOT_PAID, VerdictKind.IN_PROGRESS, VerdictKind.PUBLISHED, VerdictKind.UNREAD, VerdictKind.ENDED,
    VerdictKind.CLEANED_UP, VerdictKind.TEST_PING, VerdictKind.LATE_MONEY, VerdictKind.SECOND_PAYMENT,
    VerdictKind.CONTRADICTED, VerdictKind.UNKNOWN_STATUS, VerdictKind.PAST_RETENTION, VerdictKind.NOT_IN_KAFKA,
    VerdictKind.LATE_FAILURE,
}  # fmt: skip
"""The kinds of finding whose sentences already say what the finding means for the customer."""

_TODO = {
    Remedy.COMPARE_AMOUNT: "compare with the gateway's portal; collect the rest, or refund the money there",
    Remedy.REFUND: "find out whose order it is, or refund the money in the gateway's portal",
    Remedy.REFUND_SECOND: "keep one transfer, and refund the rest in the gateway's portal",
    Remedy.LOOK_IN_PORTAL: "look in the gateway's portal: payctl cannot find out more",
    Remedy.DECIDE_IN_PORTAL: "decide in the gateway's portal whether the money is accepted",
    Remedy.ASK_GATEWAY: "ask the gateway what the code means",
    Remedy.ASK_ORDER_SERVICE: "ask the team of the order service whether the order has its tickets",
    Remedy.WRITE_EVENT: "ask the payment service's team to write the event, because payctl cannot write it;"
    " the finding ends when a publisher has sent the event",
    Remedy.WATCH_READER: "check that the order service's consumer is running: it has not read the record",
    Remedy.UPGRADE: "install a payctl version that knows this value",
}
_ASK_ABOUT_SEATS = f"{_TODO[Remedy.ASK_ORDER_SERVICE]}: the seats may have been sold since"
_TOO_MUCH = "compare with the gateway's portal, and refund the money there; payctl settles only the exact amount"


def sentence(verdict: Verdict, timeline: Timeline, now: datetime) -> str:
    """Return the sentence about the order's state."""
    template = _SENTENCES[verdict.kind]
    if verdict.paid is None:
        template = _WITHOUT_MONEY.get(verdict.kind, template)
    if verdict.kind is VerdictKind.ENDED and timeline.verdict.mark is not Mark.GOOD:
        template = template.removeprefix("nothing is open: ")
    if verdict.replays:
        template = (_SENT_AGAIN if verdict.sent_before else _REQUEUED).get(verdict.kind, template)
    if verdict.is_overdue_try:
        template = _OVERDUE_TRY[verdict.blocked_by is not None]
    words = {
        **_of_payment(timeline.payment),
        **_of_receipt(verdict),
        **_of_event(verdict),
        "why": f": {verdict.cause.fact}" if verdict.cause else ", and no publisher has sent it",
        "because": f": {verdict.cause.fact}" if verdict.cause else "",
        "often": "TWICE" if verdict.transfers == 2 else f"{verdict.transfers} TIMES",  # noqa: PLR2004
        "transfers": "two" if verdict.transfers == 2 else str(verdict.transfers),  # noqa: PLR2004
        **_of_time(verdict, now),
    }
    return _prefix(verdict, timeline) + template.format_map(words) + _closed(verdict, now)


def _closed(verdict: Verdict, now: datetime) -> str:
    """Return a phrase that says who closed the finding, when and why.

    A callback that arrived after the finding was closed is a repeat of an earlier callback.
    """
    closing, receipt = verdict.closing, verdict.receipt
    if closing is None:
        return ""
    repeats = receipt is not None and receipt.received_at > closing.run.started_at
    word = "a repeat of a callback that was closed" if repeats else "closed"
    return f"; {word} {closed_by(closing.run, now)}"


def closed_by(run: Run, now: datetime) -> str:
    """Return when the run closed something, who started it, and the reason."""
    when, who = ago((now - run.started_at).total_seconds()), run.who.actor or run.who.os_user
    return f"{when} by {who}: {redact(run.reason or 'no reason given')}"


def ago(seconds: float) -> str:
    """Return a phrase that says how long ago something happened."""
    return "just now" if seconds < 1 else age(seconds)


class Todo(NamedTuple):
    """What the operator must do, and the SQL statement to run for it, or None if there is no statement."""

    words: str
    sql: str | None = None


def todo(verdict: Verdict, timeline: Timeline) -> Todo | None:
    """Return what the operator must do, or None if nothing needs to be done or a command can do it."""
    cause = verdict.cause
    if cause is not None and cause.command is None and not isinstance(verdict.remedy, DeliveryRemedy):
        return Todo(cause.advice, cause.sql) if cause.advice else None
    words = _todo_words(verdict, timeline)
    return Todo(words) if words else None


def _todo_words(verdict: Verdict, timeline: Timeline) -> str | None:
    remedy, event = verdict.remedy, verdict.blocked_by or verdict.event
    if isinstance(remedy, DeliveryRemedy) and event is not None:
        return remedy_sentence(remedy, [event.event_type], event.message_bytes)
    if remedy is Remedy.COMPARE_AMOUNT and timeline.payment and (verdict.paid or 0) > timeline.payment.amount:
        return _TOO_MUCH
    if verdict.kind is VerdictKind.LATE_MONEY and remedy is Remedy.ASK_ORDER_SERVICE:
        unsent = timeline.unsent_success
        waits = timeline.success_is_unsent and unsent is not None and unsent.event is not None
        return f"after the event is sent, {_ASK_ABOUT_SEATS}" if waits else _ASK_ABOUT_SEATS
    return _TODO[remedy] if isinstance(remedy, Remedy) else None


def _prefix(verdict: Verdict, timeline: Timeline) -> str:
    """Return what the finding means for the customer, or an empty string if the sentence already says this.

    The order service does not read cancellation events, so such an event does not affect the tickets.
    """
    status = timeline.payment.status if timeline.payment else None
    if verdict.kind in _COMPLETE or verdict.closing is not None or verdict.is_about_another_event:
        return ""
    cancelled = verdict.event is not None and verdict.event.event_type == "PAYMENT_CANCELLED"
    if cancelled or (status == "CANCELLED" and verdict.kind is VerdictKind.NO_EVENT):
        return ""
    if verdict.sent_before is not None:
        return "MAYBE NO TICKET: " if verdict.ticket_is_due else "TICKETS MAYBE STILL RESERVED: "
    about_event = verdict.event is not None or verdict.kind is VerdictKind.NO_EVENT
    if status == "COMPLETED" and not about_event:
        also = "" if verdict is timeline.verdict else "ALSO: "
        return "REFUNDED: " if verdict.kind is VerdictKind.REFUNDED else also
    if not verdict.ticket_is_due:
        return "TICKETS STILL RESERVED: " if about_event else "NO TICKET: "
    return "NO TICKET YET: " if verdict.mark is Mark.OPEN and about_event else "NO TICKET: "


def _of_payment(payment: PaymentRow | None) -> dict[str, str]:
    if payment is None:
        return {"status": "", "asked": "", "made_for": ""}
    return {
        "status": payment.status,
        "asked": money(payment.amount, payment.currency),
        "made_for": gateway_name(payment.provider),
    }


def _of_receipt(verdict: Verdict) -> dict[str, str]:
    receipt: ReceiptRow | None = verdict.receipt
    if receipt is None:
        return {"gateway": "", "paid": "", "reported": ""}
    return {
        "gateway": gateway_name(receipt.provider),
        "paid": "the money" if verdict.paid is None else money(verdict.paid, receipt.currency),
        "reported": "a different amount" if receipt.amount is None else money(receipt.amount, receipt.currency),
    }


def _of_event(verdict: Verdict) -> dict[str, str]:
    event, first = verdict.event, verdict.blocked_by
    tries = verdict.tries
    return {
        "topic": _topic(event),
        "type": event.event_type if event else "",
        "error": _error(first or event),
        "tries": "on the first try" if tries == 1 else f"after {count(tries, 'try', 'tries')}",
        "times": "once" if tries == 1 else count(tries, "time"),
        "again": f", again after {count(verdict.replays, 'replay')}" if verdict.replays else "",
        "first": first.id if first else "",
        "first_type": first.event_type if first else "",
        "unread": f"not read yet by {', '.join(verdict.behind)}"
        if verdict.behind
        else "no consumer group that payctl can see has read it",
        "read": f", read by {', '.join(verdict.readers)}" if verdict.readers else "",
    }


def _of_time(verdict: Verdict, now: datetime) -> dict[str, str]:
    seconds = max(0.0, (now - verdict.at).total_seconds()) if verdict.at else None
    written = max(0.0, (now - verdict.event.created_at).total_seconds()) if verdict.event else 0.0
    left = (verdict.due - now).total_seconds() if verdict.due else 0.0
    return {
        "age": "an unknown time" if seconds is None else duration(seconds),
        "written": age(written),
        "ago": "an unknown time ago" if seconds is None else ago(seconds),
        "next_try": f"next try in {duration(left)}" if left > 0 else "its next try is due",
    }


def _topic(event: EventRow | None) -> str:
    return TOPICS.get(event.event_type, "its topic") if event else "its topic"


def _error(event: EventRow | None) -> str:
    error = (event.last_error if event else None) or ""
    name = error_name(error)
    if name in _ORIGINS:
        name = ":".join(error.split(":")[:2])
    return redact(name)[:_LONGEST_ERROR] or "an unknown error"
