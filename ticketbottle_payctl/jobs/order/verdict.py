"""Sort the findings about an order by what they mean for the customer. The first finding is the verdict.

Open findings come before good ones. Among open findings, a finding about the order itself comes before a finding about
another event of its payment, such as an event of an unknown type. Then a bad finding comes before an open one. Closed
findings come last.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from ticketbottle_payctl.domain.payment import PaymentStatus, status_of
from ticketbottle_payctl.jobs.order.closed_findings import closed
from ticketbottle_payctl.jobs.order.judge_delivery import judge_delivery
from ticketbottle_payctl.jobs.order.judge_money import judge_money, judge_stray
from ticketbottle_payctl.jobs.order.model import Mark, Remedy, Verdict, VerdictKind
from ticketbottle_payctl.jobs.order.records import Records
from ticketbottle_payctl.store.payments.history import History

_URGENCY = (Mark.BAD, Mark.OPEN, Mark.GOOD)


def judge(found: History, records: Records, now: datetime, retention: timedelta | None) -> list[Verdict]:
    """Return every finding about an order, sorted by its importance for the customer. The list is never empty."""
    return sorted(closed(list(_findings(found, records, now, retention)), found), key=_place)


def _place(finding: Verdict) -> tuple[bool, bool, int, bool]:
    """Return the sort key of a finding."""
    return (
        finding.mark is Mark.GOOD,
        finding.is_about_another_event,
        _URGENCY.index(finding.mark),
        finding.closing is not None,
    )


def _findings(found: History, records: Records, now: datetime, retention: timedelta | None) -> Iterator[Verdict]:
    payment, receipts = found.payment, found.receipts
    if payment is None:
        if found.events:
            yield from judge_delivery(found, records, now, retention)
        else:
            yield from judge_stray(receipts)
        return
    money = judge_money(payment, receipts, now)
    match status_of(payment.status):
        case PaymentStatus.COMPLETED:
            yield from judge_delivery(found, records, now, retention)
            yield from money
        case PaymentStatus.PENDING if not found.events:
            yield from money
        case PaymentStatus.PENDING | PaymentStatus.FAILED | PaymentStatus.CANCELLED:
            yield from money
            yield from judge_delivery(found, records, now, retention)
        case _:
            yield Verdict(VerdictKind.UNKNOWN_STATUS, Mark.BAD, payment.created_at, remedy=Remedy.UPGRADE)
