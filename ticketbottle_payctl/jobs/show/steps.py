"""Build the steps of a payment's history from the payment, its callbacks, its events and the operators' replays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from ticketbottle_payctl.domain.ordering import LATE_COMMITS
from ticketbottle_payctl.jobs.show.delivery import tries_of
from ticketbottle_payctl.jobs.show.model import SettledBy, Step
from ticketbottle_payctl.store.payctl.receipts import STATUS_QUERY
from ticketbottle_payctl.store.payctl.runs import Run
from ticketbottle_payctl.store.payments.history import History, ReceiptRow


def source_of(receipt: ReceiptRow) -> SettledBy:
    """Return whether a receipt contains a callback or the response to a status query."""
    return SettledBy.RECONCILE if receipt.method == STATUS_QUERY else SettledBy.CALLBACK


def in_order(found: History, steps: Iterable[Step]) -> Iterator[Step]:
    """Yield the steps in chronological order. A receipt comes before the settlement that it caused.

    One transaction writes the settlement and the receipt. The receipt's timestamp is a little later than the
    settlement's.
    """
    settled = [step for step in steps_of(found) if step.kind == "payment_settled"]
    caused = {
        receipt.id: end.at
        for receipt in found.receipts
        for end in settled
        if receipt.event_id and timedelta(0) <= receipt.received_at - end.at <= LATE_COMMITS
    }
    yield from sorted(steps, key=lambda step: (caused.get(step.id, step.at), step.id not in caused))


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
            "gateway_transaction_id": receipt.gateway_transaction_id, "bytes": receipt.body_bytes,
            "source": source_of(receipt),
        })  # fmt: skip
    for event in found.events:
        yield Step(event.created_at, "event_written", event.id, {
            "event_type": event.event_type, "state": event.state, "superseded": event.superseded,
            "retry_count": event.retry_count, "tries": tries_of(event), "last_error": event.last_error,
            "payload": event.payload,
        })  # fmt: skip
        if event.published_at:
            yield Step(event.published_at, "event_published", event.id, {"event_type": event.event_type})
    for event_id, run, _ in found.replays:
        yield Step(run.started_at, "event_replayed", event_id, _of_run(run))


def _of_run(run: Run) -> dict[str, object]:
    who = run.who.actor or f"{run.who.os_user}@{run.who.host}"
    return {"run_id": run.id, "command": run.command, "who": who, "reason": run.reason}
