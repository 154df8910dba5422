"""Find out which findings about an order are closed.

`payctl close` writes a closing record, which covers every transfer of money that was reported until then. If a later
transfer is reported, it is a new open finding. If a gateway repeats a callback about a closed transfer, the finding
stays closed, so that nobody refunds the transfer twice. A later closing record does not change why an earlier finding
was closed. A closing record about an overdue payment covers the payment until its gateway calls back again, because
then the gateway knows the payment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from ticketbottle_payctl.domain.payment import gateway_of
from ticketbottle_payctl.jobs.order.judge_money import successes_of
from ticketbottle_payctl.jobs.order.may_be_closed import can_be_closed
from ticketbottle_payctl.jobs.order.model import Mark, Verdict, VerdictKind
from ticketbottle_payctl.store.payctl.runs import Closing
from ticketbottle_payctl.store.payments.history import History


def closed(findings: Sequence[Verdict], found: History) -> Iterator[Verdict]:
    """Yield the findings. A finding that a person has closed gets the mark GOOD and its closing record."""
    for each in findings:
        first = next((closing for closing in found.closings if _covers(closing, each, found)), None)
        if can_be_closed(each) and first is not None:
            yield replace(each, mark=Mark.GOOD, closing=first, remedy=None)
        else:
            yield each


def _covers(closing: Closing, finding: Verdict, found: History) -> bool:
    if finding.is_overdue_payment:
        return closing.asked_at is not None and not _calls_back_after(closing.asked_at, found)
    since = _since(finding, found)
    return since is not None and since <= closing.until


def _calls_back_after(at: datetime, found: History) -> bool:
    """Return whether the payment's own gateway has called back about it after this time."""
    payment = found.payment
    return payment is not None and any(
        each.received_at > at and each.provider == gateway_of(payment.provider)
        for each in found.receipts
        if each.payment_id in {None, payment.id}
    )


def _since(finding: Verdict, found: History) -> datetime | None:
    """Return when the transfer behind the finding was first reported."""
    if finding.kind is VerdictKind.SECOND_PAYMENT:
        first: dict[str, datetime] = {}
        own = {None, found.payment and found.payment.id}
        for each in successes_of(found.receipts):
            if each.payment_number and each.payment_id in own:
                first.setdefault(each.payment_number, each.received_at)
        return max(first.values(), default=finding.at)
    receipt = finding.receipt
    if receipt is None:
        return finding.at
    return min(each.received_at for each in found.receipts if each.transfer == receipt.transfer)


def subject_of(finding: Verdict, found: History) -> str:
    """Return the name under which a finding is closed.

    A callback that arrived before its payment may contain only the gateway's name for the order. In that case, the
    closing record contains that name. The closing record of an overdue payment always contains the payment's id.
    """
    if finding.is_overdue_payment:
        return found.subject
    receipt, payment = finding.receipt, found.payment
    if receipt is None or payment is None or receipt.payment_id or receipt.order_ref in {"", payment.order_code}:
        return found.subject
    return receipt.subject
