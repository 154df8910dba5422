"""Build the steps of a payment's history from the payment, its callbacks, its events and the operators' replays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from ticketbottle_payctl.domain.late_commits import LATE_COMMITS
from ticketbottle_payctl.jobs.order.judge_delivery import dead_before, tries_of
from ticketbottle_payctl.jobs.order.model import SettledBy, Step
from ticketbottle_payctl.store.payctl.receipts import STATUS_QUERY
from ticketbottle_payctl.store.payctl.runs import Run
from ticketbottle_payctl.store.payments.history import History
from ticketbottle_payctl.store.payments.receipt_rows import ReceiptRow


def source_of(receipt: ReceiptRow) -> SettledBy:
    """Return the source of a receipt's content: a callback, or the response to a status query."""
    return SettledBy.RECONCILE if receipt.method == STATUS_QUERY else SettledBy.CALLBACK


CLOSE = "close"
"""The command's name in the record of a run that closes findings or a harmless dead event."""

_RANKS = {
    "payment_created": 0, "callback": 1, "payment_settled": 2, "event_written": 3, "event_replayed": 5,
    "event_published": 6, "record": 7, "closed": 8,
}  # fmt: skip
_SETTLED_NOTHING = 4
"""The rank of a callback that did not settle the payment.

The callback comes after a settlement at the same instant, because it waited for the payment's lock.
"""
_CLOCK_GAP = timedelta(minutes=1)


def in_order(found: History, steps: Iterable[Step]) -> list[Step]:
    """Return the steps in chronological order. Among steps at the same instant, a cause comes before its effect.

    A callback is listed before the settlement that it caused, even though the receipt's timestamp is slightly later. A
    record is listed after its publication, even if the producer's clock is behind the database's.
    """
    steps = list(steps)
    settled = [step.at for step in steps if step.kind == "payment_settled"]
    caused = {
        receipt.id: end
        for receipt in found.receipts
        for end in settled
        if receipt.event_id and timedelta(0) <= receipt.received_at - end <= LATE_COMMITS
    }
    published = {step.id: step.at for step in steps if step.kind == "event_published"}
    latest = {step.id: step for step in sorted(steps, key=lambda step: step.at) if step.kind == "record"}

    def place(step: Step) -> tuple[datetime, int]:
        at, rank = step.at, _RANKS[step.kind]
        if step.kind == "callback":
            return (caused[step.id], rank) if step.id in caused else (at, _SETTLED_NOTHING)
        sent = published.get(step.id)
        if step is latest.get(step.id) and sent is not None and at >= sent - _CLOCK_GAP:
            return max(at, sent), rank
        return at, rank

    return sorted(steps, key=place)


def steps_of(found: History) -> Iterator[Step]:
    """Yield the steps of a history, in no particular order."""
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
            "gateway_transaction_id": receipt.gateway_transaction_id, "payment_number": receipt.payment_number,
            "bytes": receipt.body_bytes, "source": source_of(receipt),
        })  # fmt: skip
    for event in found.events:
        yield Step(event.created_at, "event_written", event.id, {
            "event_type": event.event_type, "state": event.state, "superseded": event.superseded,
            "repeats": event.repeats,
            "blocked": dead_before(event, found.events) is not None,
            "retry_count": event.retry_count, "tries": tries_of(event), "last_error": event.last_error,
            "payload": event.payload,
        })  # fmt: skip
        if event.published_at:
            yield Step(event.published_at, "event_published", event.id, {"event_type": event.event_type})
    types = {event.id: event.event_type for event in found.events}
    for event_id, run, _ in found.replays:
        kind = "closed" if run.command == CLOSE else "event_replayed"
        yield Step(run.started_at, kind, event_id, {**_of_run(run), "event_type": types.get(event_id)})
    for _, run, of_overdue in found.closings:
        facts = {**_of_run(run), "overdue_payment": True} if of_overdue else _of_run(run)
        yield Step(run.started_at, "closed", found.subject, facts)


def _of_run(run: Run) -> dict[str, object]:
    who = run.who.actor or f"{run.who.os_user}@{run.who.host}"
    return {"run_id": run.id, "command": run.command, "who": who, "reason": run.reason}
