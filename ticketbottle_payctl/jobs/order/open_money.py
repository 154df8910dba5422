"""Find the orders in a time window whose payments need manual review.

The rules are the same as in ``payctl show``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from ticketbottle_payctl.domain.payment import PaymentStatus
from ticketbottle_payctl.jobs.order.closed_findings import closed
from ticketbottle_payctl.jobs.order.judge_money import MAY_NEED_A_PERSON, judge_money, judge_stray, reports_money
from ticketbottle_payctl.jobs.order.may_be_closed import can_be_closed
from ticketbottle_payctl.jobs.order.model import Verdict
from ticketbottle_payctl.store.payments.history import History
from ticketbottle_payctl.store.payments.money import money_of, stray
from ticketbottle_payctl.store.payments.open_money import PerhapsOpen, perhaps_open
from ticketbottle_payctl.store.payments.open_orders import OpenOrder, OpenOrders, WithoutTicket
from ticketbottle_payctl.store.payments.sent_failures import sent_failures

MOST_LISTED: Final = 100
"""The maximum number of open orders to return."""

MOST_JUDGED: Final = 2000
"""The maximum number of orders to check. Most of them are harmless."""

_AT_ONCE = 100


def open_money(  # noqa: PLR0913 - the window, and one argument per limit
    connection: Connection,
    since: datetime,
    until: datetime,
    now: datetime,
    *,
    most: int = MOST_LISTED,
    most_judged: int = MOST_JUDGED,
) -> OpenOrders:
    """Return the orders with an open finding about money that was reported by a callback in the window.

    An order is left out if its only finding is a refused callback and its payment is not COMPLETED, because the order
    already counts as an order without a ticket. At most ``most`` orders are returned. The orders whose failure event
    was sent in the window and after their success come first, and the others follow, oldest first. The result says
    whether there may be more.
    """
    found = sent_failures(connection, since, until)
    named = {each.id for each in found}
    candidates = perhaps_open(connection, since, until, MAY_NEED_A_PERSON, most_judged + 1)
    for start in range(0, min(len(candidates), most_judged), _AT_ONCE):
        some = candidates[start : min(start + _AT_ONCE, most_judged)]
        found += _judged(connection, [each for each in some if each.payment_id not in named], now)
        if len(found) > most:
            break
    more = len(found) > most or len(candidates) > most_judged
    listed = tuple(found[:most])
    return OpenOrders(len(listed), sum(each.amount or 0 for each in listed), listed, more)


def _judged(connection: Connection, candidates: Sequence[PerhapsOpen], now: datetime) -> Iterator[OpenOrder]:
    asked = {each.payment_id: each.receipt_ids for each in candidates if each.payment_id is not None}
    paid = money_of(connection, asked) if asked else {}
    for candidate in candidates:
        of = candidate.payment_id
        found = stray(connection, candidate.receipt_ids[0]) if of is None else paid.get(of)
        if found is None:
            continue
        findings = list(
            judge_money(found.payment, found.receipts, now) if found.payment else judge_stray(found.receipts)
        )
        open_ones = [each for each in closed(findings, found) if can_be_closed(each) and not _is_counted(each, found)]
        if open_ones:
            yield _order(open_ones[0], found, candidate)


def _is_counted(finding: Verdict, found: History) -> bool:
    """Return whether the report counts the order elsewhere: as an overdue payment, or because a callback was refused.

    :func:`~ticketbottle_payctl.store.payments.open_orders.refused` counts the orders of the second kind.
    """
    if finding.is_overdue_payment:
        return True
    receipt = finding.receipt
    if receipt is None or receipt.result != "refused" or receipt.reason == "refund":
        return False
    return reports_money(receipt) and (found.payment is None or found.payment.status != PaymentStatus.COMPLETED)


def _order(finding: Verdict, found: History, candidate: PerhapsOpen) -> OpenOrder:
    payment, receipt = found.payment, finding.receipt
    if payment is None:
        code, amount = (receipt and receipt.order_ref) or None, finding.paid
    else:
        code, amount = payment.order_code, payment.amount if finding.paid is None else finding.paid
    at = finding.at or (payment.created_at if payment else found.receipts[-1].received_at)
    row_id = candidate.payment_id or candidate.receipt_ids[0]
    return OpenOrder(WithoutTicket.MONEY, row_id, code, amount, at, finding.kind.value)
