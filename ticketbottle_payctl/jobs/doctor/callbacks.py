"""Check that payctl has settled the payment for every genuine callback from the last seven days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, timedelta

from sqlalchemy import Connection

from ticketbottle_payctl.domain.callback import IgnoredBecause, UnclearReason
from ticketbottle_payctl.domain.causes import Command
from ticketbottle_payctl.domain.payment import PaymentStatus
from ticketbottle_payctl.domain.settlement import RefusalReason, reason_now
from ticketbottle_payctl.formats import count, duration
from ticketbottle_payctl.jobs.doctor.model import Finding, Subject, fail, ok, warn
from ticketbottle_payctl.store.inspect import tables
from ticketbottle_payctl.store.inspect.tables import Privilege
from ticketbottle_payctl.store.outbox import claim
from ticketbottle_payctl.store.payments.open_orders import OpenOrder, OpenOrders
from ticketbottle_payctl.store.payments.unsettled_callbacks import UnsettledCallback, unsettled_callbacks

_NAME = "callbacks"
WITHIN = timedelta(days=7)
"""The maximum age of a reported callback. Callbacks whose orders a person has closed are not reported."""

_TABLES = ("payctl.webhook_receipts", "payctl.run_items", "payctl.runs", "payments")
_NEEDED = tuple(Privilege(table, "SELECT") for table in _TABLES)
_MONEY = (IgnoredBecause.HELD.value, IgnoredBecause.UNDOCUMENTED.value)


def check(connection: Connection, subject: Subject) -> list[Finding]:
    """Report the genuine callbacks that did not settle a payment, and the orders whose payments need manual review.

    If a command can settle the payment now, the finding is a failure. Otherwise the operator must decide, and the
    finding is a warning.
    """
    if not may_read(connection):
        why = "a table is missing, or the role is not allowed to read it"
        fact = f"payctl cannot read the stored callbacks, or the findings that were closed: {why}"
        return [
            warn(
                _NAME,
                fact,
                "customers may have paid without getting tickets, and payctl cannot see it",
                "see the results of the schema and grants checks",
            )
        ]
    found = unsettled_callbacks(connection, WITHIN, _MONEY)
    ready = [(each, command) for each in found if (command := _settling(each))]
    others = [each for each in found if _settling(each) is None]
    findings: list[Finding] = []
    if ready:
        meaning = "their payments are PENDING: some customers may have paid but have no ticket"
        fact = _fact([each for each, _ in ready])
        findings.append(fail(_NAME, fact, meaning, "settle the payment of the oldest callback", ready[0][1]))
    if others:
        meaning = "a customer may have paid money that must be settled or refunded by hand"
        look = Command(("show",), (_name(others[0]),))
        findings.append(warn(_NAME, _fact(others), meaning, "look at the oldest callback", look))
    told = {each.order_code or each.receipt_id for each in found}
    looked = _money(connection, subject)
    money = [each for each in looked.oldest if (each.order_code or each.id) not in told]
    if money:
        least = "at least " if looked.more else ""
        fact = f"{least}{count(len(money), 'order')} with a payment that needs manual review, {_kinds(money)}"
        meaning = "a customer may need a refund, or may have no seat"
        look = Command(("show",), (money[0].order_code or money[0].id,))
        findings.append(warn(_NAME, fact, meaning, "look at the oldest order, then record it with payctl close", look))
    elif looked.more:
        fact = "only the oldest orders with a refused or unclear callback were checked, and none of them is open"
        look = Command(("report",))
        findings.append(warn(_NAME, fact, "newer orders may be open", "check a shorter window", look))
    return findings or [ok(_NAME, f"no genuine callback from the last {WITHIN.days} days needs attention")]


def may_read(connection: Connection) -> bool:
    """Return whether the role can read the payments, the stored callbacks and the records of closed findings."""
    held = tables.privileges(connection, _NEEDED)
    return all(held.get(one, False) for one in _NEEDED)


def _money(connection: Connection, subject: Subject) -> OpenOrders:
    if subject.open_money is None:
        return OpenOrders(0, 0, ())
    now = claim.now(connection).replace(tzinfo=UTC)
    return subject.open_money(connection, now - WITHIN, now, now)


def _kinds(orders: Sequence[OpenOrder]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in Counter(each.why for each in orders).most_common())


def _settling(callback: UnsettledCallback) -> Command | None:
    """Return the command that can settle the callback's payment now, or None."""
    if callback.status != PaymentStatus.PENDING or callback.order_code is None:
        return None
    match _reason(callback):
        case UnclearReason.UNREADABLE | UnclearReason.AMBIGUOUS:
            return Command(("reconcile", "payments"), (callback.order_code,), changes=True)
        case RefusalReason.UNKNOWN_ORDER:
            return Command(("process-webhook",), options=("--receipt", callback.receipt_id), changes=True)
        case _:
            return None


def _name(callback: UnsettledCallback) -> str:
    """Return the order code of the callback's payment, or the callback's id if the database has no payment for it."""
    return callback.order_code if callback.status and callback.order_code else callback.receipt_id


def _reason(callback: UnsettledCallback) -> str:
    """Return why the callback settled nothing, as ``show`` explains it now."""
    if callback.made_for is None:
        return callback.reason
    return reason_now(callback.reason, callback.made_for, callback.gateway) or ""


def _fact(callbacks: Sequence[UnsettledCallback]) -> str:
    reasons = Counter(map(_reason, callbacks)).most_common()
    named = ", ".join(f"{number} {reason}" for reason, number in reasons)
    oldest = duration(callbacks[0].age_s)
    return f"{count(len(callbacks), 'genuine callback')} settled nothing; the oldest arrived {oldest} ago: {named}"
