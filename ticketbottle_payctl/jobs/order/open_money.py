"""Find a time window's orders with money that needs manual review. Each order is judged as ``show`` judges it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from ticketbottle_payctl.domain.payment import PaymentStatus
from ticketbottle_payctl.jobs.order.closed_findings import closed
from ticketbottle_payctl.jobs.order.judge_money import MAY_NEED_A_PERSON
from ticketbottle_payctl.jobs.order.model import Verdict
from ticketbottle_payctl.jobs.order.verdict import judge_money
from ticketbottle_payctl.store.payments import history
from ticketbottle_payctl.store.payments.history import PaymentRow
from ticketbottle_payctl.store.payments.open_money import perhaps_open
from ticketbottle_payctl.store.payments.without_ticket import OpenOrder, OpenOrders, WithoutTicket

MOST_JUDGED: Final = 100
"""The maximum number of orders that are judged. Each one needs a few short queries."""


def open_money(
    connection: Connection, since: datetime, until: datetime, now: datetime, *, most: int = MOST_JUDGED
) -> OpenOrders:
    """Return the orders with an open finding about money that a callback in the window reports.

    An order that only has a refused callback and is not COMPLETED is left out: it counts as an order without a ticket.
    At most ``most`` orders are judged, the oldest first.
    """
    found = []
    candidates = perhaps_open(connection, since, until, MAY_NEED_A_PERSON, most + 1)
    for payment_id in candidates[:most]:
        money = history.money_of(connection, payment_id)
        if money is None or money.payment is None:
            continue
        payment = money.payment
        judged = closed(list(judge_money(payment, money.receipts, now)), money)
        open_ones = [each for each in judged if each.can_be_closed and not _is_counted(each, payment)]
        if open_ones:
            found.append(_order(open_ones[0], payment))
    return OpenOrders(len(found), sum(each.amount or 0 for each in found), tuple(found), len(candidates) > most)


def _is_counted(finding: Verdict, payment: PaymentRow) -> bool:
    """Return whether :func:`~ticketbottle_payctl.store.payments.without_ticket.refused` counts the order."""
    receipt = finding.receipt
    refused = receipt is not None and receipt.result == "refused" and receipt.reason != "refund"
    return refused and payment.status != PaymentStatus.COMPLETED


def _order(finding: Verdict, payment: PaymentRow) -> OpenOrder:
    amount = payment.amount if finding.paid is None else finding.paid
    at = finding.at or payment.created_at
    return OpenOrder(WithoutTicket.MONEY, payment.id, payment.order_code, amount, at, finding.kind.value)
