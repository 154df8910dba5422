"""Find out whether the customer has paid, and whether payctl has settled the payment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from ticketbottle_payctl.domain.payment import PaymentStatus, gateway_of, is_overdue, status_of
from ticketbottle_payctl.domain.settlement import reason_now
from ticketbottle_payctl.jobs.order.model import Amounts, Mark, Remedy, Verdict, VerdictKind
from ticketbottle_payctl.jobs.order.steps import source_of
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.store.payments.history import PaymentRow
from ticketbottle_payctl.store.payments.receipt_rows import ReceiptRow

_SETTLED = {"settled", "already_settled"}
_REFUSED = {
    "wrong_amount": VerdictKind.WRONG_AMOUNT,
    "other_provider": VerdictKind.OTHER_PROVIDER,
    "unknown_order": VerdictKind.NOT_APPLIED,
    "unknown_status": VerdictKind.NOT_APPLIED,
    "contradicts_completed": VerdictKind.NOT_APPLIED,
    "unreadable": VerdictKind.UNREADABLE,
    "ambiguous": VerdictKind.AMBIGUOUS,
    "held": VerdictKind.MONEY_HELD,
    "undocumented_code": VerdictKind.UNDOCUMENTED_CODE,
    "refund": VerdictKind.REFUNDED,
    "pending": VerdictKind.IN_PROGRESS,
}
MAY_NEED_A_PERSON = tuple(reason for reason in _REFUSED if reason != "pending")
"""The reasons in receipts that may lead to a finding that a person must deal with."""

_REMEDIES = {
    VerdictKind.WRONG_AMOUNT: Remedy.COMPARE_AMOUNT,
    VerdictKind.OTHER_PROVIDER: Remedy.LOOK_IN_PORTAL,
    VerdictKind.MONEY_HELD: Remedy.DECIDE_IN_PORTAL,
    VerdictKind.UNDOCUMENTED_CODE: Remedy.ASK_GATEWAY,
    VerdictKind.REFUNDED: Remedy.LOOK_IN_PORTAL,
    VerdictKind.UNKNOWN_ORDER: Remedy.REFUND,
    VerdictKind.CONTRADICTED: Remedy.LOOK_IN_PORTAL,
    VerdictKind.SECOND_PAYMENT: Remedy.REFUND_SECOND,
    VerdictKind.LATE_MONEY: Remedy.ASK_ORDER_SERVICE,
}


def judge_money(payment: PaymentRow, receipts: Sequence[ReceiptRow], now: datetime) -> Iterator[Verdict]:
    """Return the findings about a payment's money. They do not depend on the payment's events."""
    own = tuple(each for each in receipts if each.payment_id in {None, payment.id})
    match status_of(payment.status):
        case PaymentStatus.PENDING:
            yield from judge_unsettled(payment, own, now)
        case PaymentStatus.COMPLETED:
            yield from judge_completed(payment, own)
        case PaymentStatus.FAILED | PaymentStatus.CANCELLED:
            yield from judge_given_up(payment, own)
        case _:
            return


def judge_unsettled(payment: PaymentRow, receipts: Sequence[ReceiptRow], now: datetime) -> Iterator[Verdict]:
    """Return why a PENDING payment is not settled: because of its callbacks, or because no callback arrived.

    Each transfer of money has its own finding. Among callbacks that do not report money, only the last one has a
    finding. Callbacks from another gateway do not say whether the customer has paid at the payment's own gateway.
    """
    overdue = is_overdue(payment.created_at, now)
    portal = Remedy.LOOK_IN_PORTAL if overdue and not can_be_asked(payment, now) else None
    told = [
        replace(each, remedy=portal, is_overdue_payment=overdue) if each.kind is VerdictKind.IN_PROGRESS else each
        for each in _told(payment, in_order_of_news(receipts))
    ]
    final = [each for each in told if each.kind is not VerdictKind.IN_PROGRESS]
    if told:
        latest = (final or told)[-1]
        money = _each_transfer(each for each in final if each.ticket_is_due)
        yield from money if latest.ticket_is_due and money else [*money, latest]
    if told and (not overdue or any(each.receipt and _is_of_gateway(payment, each.receipt) for each in told)):
        return
    yield Verdict(
        kind=VerdictKind.NO_CALLBACK if overdue else VerdictKind.NOT_PAID,
        mark=Mark.BAD if overdue else Mark.OPEN,
        at=payment.created_at,
        ticket_is_due=overdue,
        remedy=portal,
        is_overdue_payment=overdue,
    )


def judge_given_up(payment: PaymentRow, receipts: Sequence[ReceiptRow]) -> Iterator[Verdict]:
    """Return a finding about each transfer of money that did not settle a FAILED or CANCELLED payment."""
    yield from _each_transfer(
        each
        for each in _told(payment, in_order_of_news(receipts))
        if each.ticket_is_due and each.kind is not VerdictKind.REFUNDED
    )


def judge_completed(payment: PaymentRow, receipts: Sequence[ReceiptRow]) -> Iterator[Verdict]:
    """Yield the findings about a COMPLETED payment's money that the operator must know about."""
    completed = payment.completed_at
    successes = successes_of(receipts)
    numbers = {(each.provider, each.payment_number) for each in successes if each.payment_number}
    if len(numbers) > 1:
        yield replace(_of(VerdictKind.SECOND_PAYMENT, Mark.OPEN, successes[-1]), transfers=len(numbers))
    if payment.was_completed_late:
        yield Verdict(VerdictKind.LATE_MONEY, Mark.OPEN, completed, remedy=_REMEDIES[VerdictKind.LATE_MONEY])
    settled = {transfer_of(each) for each in successes} - {None}
    kinds = ((_besides_success(payment, each, settled), each) for each in in_order_of_news(receipts))
    yield from _latest_of_each_transfer(_of(kind, Mark.OPEN, receipt) for kind, receipt in kinds if kind)


def _besides_success(
    payment: PaymentRow, receipt: ReceiptRow, settled: Collection[tuple[str, str] | None]
) -> VerdictKind | None:
    """Return the kind of finding about a callback that did not settle the COMPLETED payment.

    Return None if nothing is open. ``settled`` contains the transfers that settled the payment.
    """
    other_money = transfer_of(receipt) not in settled
    after = payment.completed_at is None or receipt.received_at > payment.completed_at
    unsettled = after or not _is_of_gateway(payment, receipt)
    paid = receipt.outcome == "COMPLETED" and other_money
    match _kind_of(payment, receipt):
        case VerdictKind.NOT_APPLIED if receipt.reason == "contradicts_completed":
            return VerdictKind.CONTRADICTED
        case VerdictKind.NOT_APPLIED | VerdictKind.WRONG_AMOUNT | VerdictKind.OTHER_PROVIDER as kind if paid:
            return kind
        case VerdictKind.REFUNDED as kind:
            return kind
        case VerdictKind.MONEY_HELD | VerdictKind.UNDOCUMENTED_CODE as kind if unsettled or (
            transfer_of(receipt) and other_money
        ):
            return kind
        case VerdictKind.UNREADABLE | VerdictKind.AMBIGUOUS as kind if unsettled:
            return kind
    return None


def _kind_of(payment: PaymentRow, receipt: ReceiptRow) -> VerdictKind | None:
    """Return the kind of finding about a callback that settled nothing.

    Another gateway's callback cannot settle the payment.
    """
    return _REFUSED.get(reason_now(receipt.reason, payment.provider, receipt.provider) or "")


def _is_of_gateway(payment: PaymentRow, receipt: ReceiptRow) -> bool:
    return gateway_of(payment.provider) == receipt.provider


def successes_of(receipts: Sequence[ReceiptRow]) -> list[ReceiptRow]:
    """Return the receipts that report a success and were not refused."""
    return [each for each in receipts if each.outcome == "COMPLETED" and each.result in _SETTLED]


def in_order_of_news(receipts: Sequence[ReceiptRow]) -> list[ReceiptRow]:
    """Return the receipts in the order in which their transfers were first reported.

    A repeated callback does not report anything new, so it must not come after a callback about another transfer.
    """
    first: dict[str, datetime] = {}
    for each in receipts:
        first.setdefault(each.transfer, each.received_at)
    return sorted(receipts, key=lambda each: first[each.transfer])


def judge_stray(receipts: Sequence[ReceiptRow]) -> Iterator[Verdict]:
    """Return a finding about the order's last callback, and a finding about each earlier transfer of money.

    Call this for an order without a payment in the database.
    """
    findings = [_stray(receipt) for receipt in in_order_of_news(receipts)]
    if not findings:
        return
    money = _each_transfer(each for each in findings if each.ticket_is_due)
    yield from money if findings[-1].ticket_is_due else [findings[-1], *money]


def _stray(receipt: ReceiptRow) -> Verdict:
    if receipt.result == "test_ping":
        return _of(VerdictKind.TEST_PING, Mark.GOOD, receipt)
    kind = _REFUSED.get(receipt.reason or "", VerdictKind.UNKNOWN_ORDER)
    unclear = kind in {VerdictKind.UNREADABLE, VerdictKind.AMBIGUOUS}
    money = unclear or receipt.outcome == "COMPLETED"
    verdict = _of(kind if unclear else VerdictKind.UNKNOWN_ORDER, Mark.BAD if money else Mark.OPEN, receipt)
    return replace(verdict, remedy=Remedy.REFUND if money else Remedy.LOOK_IN_PORTAL)


def reports_money(receipt: ReceiptRow) -> bool:
    """Return whether the receipt's callback reports that the customer has paid, or may have paid."""
    return receipt.outcome in {"COMPLETED", "UNCLEAR"} or receipt.reason in {"held", "undocumented_code"}


def amounts_of(receipts: Sequence[ReceiptRow]) -> Amounts:
    """Return the accepted amount, the refused amounts, and what settled the payment.

    A gateway may repeat a callback, so each refused transfer counts only once. A refused transfer that was accepted in
    another callback does not count.
    """
    accepted = successes_of(receipts)
    settled = [each for each in receipts if each.result == "settled"]
    paid = [each.amount for each in accepted if each.amount is not None]
    known = {transfer_of(each) for each in accepted} - {None}
    refused = {
        (transfer_of(each) or each.transfer, each.amount): each.amount  # each.transfer contains the reason too
        for each in receipts
        if each.outcome == "COMPLETED" and each.result == "refused" and transfer_of(each) not in known
    }
    return Amounts(
        paid=paid[-1] if paid else None,
        refused=tuple(amount for amount in refused.values() if amount is not None),
        settled_by=source_of(settled[-1]) if settled else None,
    )


def can_be_asked(payment: PaymentRow, now: datetime) -> bool:
    """Return whether the payment's gateway has a status query and the payment is not too old for it."""
    query = QUERIES.get(gateway_of(payment.provider))
    return query is not None and query.knows(payment.created_at, now)


def _told(payment: PaymentRow, receipts: Sequence[ReceiptRow]) -> Iterator[Verdict]:
    for receipt in receipts:
        kind = _kind_of(payment, receipt)
        if kind is None or (kind is VerdictKind.NOT_APPLIED and receipt.outcome != "COMPLETED" and payment.failed_at):
            continue
        if kind is VerdictKind.WRONG_AMOUNT and receipt.amount == payment.amount:
            kind = VerdictKind.NOT_APPLIED  # the payment's amount was corrected later
        yield _of(kind, Mark.OPEN if kind is VerdictKind.IN_PROGRESS else Mark.BAD, receipt)


def _of(kind: VerdictKind, mark: Mark, receipt: ReceiptRow) -> Verdict:
    money = receipt.outcome == "COMPLETED" or kind is VerdictKind.MONEY_HELD
    return Verdict(
        kind=kind,
        mark=mark,
        at=receipt.received_at,
        ticket_is_due=reports_money(receipt),
        paid=receipt.amount if money else None,
        receipt=receipt,
        remedy=_REMEDIES.get(kind),
    )


def transfer_of(receipt: ReceiptRow) -> tuple[str, str] | None:
    """Return the gateway and its id for the transfer of money, or None if the callback does not contain an id.

    The result contains the gateway because two gateways may use the same id.

    If the receipt has no ``payment_number``, use the gateway's transaction id. For PayOS, this id is the same for every
    transfer of an order. Receipts from older versions of payctl contain only this id.
    """
    number = receipt.payment_number or receipt.gateway_transaction_id
    return (receipt.provider, number) if number else None


def _each_transfer(findings: Iterable[Verdict]) -> list[Verdict]:
    """Return the last finding about each transfer, latest first. A gateway may repeat a callback many times."""
    last: dict[object, Verdict] = {}
    for each in findings:
        key = each.kind, each.receipt and transfer_of(each.receipt), each.paid
        last.pop(key, None)
        last[key] = each
    return list(last.values())[::-1]


def _latest_of_each_transfer(findings: Iterable[Verdict]) -> list[Verdict]:
    """Return the last finding of each kind.

    For findings about transfers of money, return the last one for each combination of kind and transfer.
    """
    last: dict[object, Verdict] = {}
    for each in findings:
        of = each.receipt and transfer_of(each.receipt) if each.ticket_is_due else None
        last[each.kind, of, each.paid] = each
    return list(last.values())
