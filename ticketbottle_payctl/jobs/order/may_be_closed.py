"""Decide which findings about an order a person can close, and whether it is too early to close them."""

from __future__ import annotations

from ticketbottle_payctl.jobs.order.model import Timeline, Verdict, VerdictKind

_FOR_A_PERSON = {
    VerdictKind.WRONG_AMOUNT, VerdictKind.OTHER_PROVIDER, VerdictKind.UNREADABLE, VerdictKind.AMBIGUOUS,
    VerdictKind.MONEY_HELD, VerdictKind.UNDOCUMENTED_CODE, VerdictKind.NOT_APPLIED, VerdictKind.UNKNOWN_ORDER,
    VerdictKind.LATE_MONEY, VerdictKind.SECOND_PAYMENT, VerdictKind.CONTRADICTED, VerdictKind.REFUNDED,
    VerdictKind.RELEASED_AFTER_SUCCESS, VerdictKind.FAILED_BEFORE_SUCCESS,
}  # fmt: skip
"""The kinds of findings that stay open until a person closes them, because payctl cannot see a fix such as a refund."""


def can_be_closed(finding: Verdict) -> bool:
    """Return whether a person must deal with the finding outside payctl, and has not yet recorded that it is done.

    An overdue payment can be closed only if its gateway does not know it, or no longer answers queries about it.
    Therefore ``payctl close`` asks the gateway first.
    """
    return (finding.kind in _FOR_A_PERSON or finding.is_overdue_payment) and finding.closing is None


def is_too_early_to_close(timeline: Timeline) -> bool:
    """Return whether the findings include late money while the payment's success event has not been sent yet.

    Until the event is sent, the seats may be sold to another customer. If a person closed the finding before that,
    nobody would check the seats.
    """
    findings = (timeline.verdict, *timeline.also)
    late = any(each.kind is VerdictKind.LATE_MONEY and can_be_closed(each) for each in findings)
    return late and timeline.success_is_unsent
