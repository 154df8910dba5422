"""Count the gateways' responses and the settled payments, for the command line and for the scheduled function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypedDict

from ticketbottle_payctl.domain.payment import Refusal
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.jobs.reconcile.settle_payments import Settled
from ticketbottle_payctl.jobs.reconcile.status_poller import StatusFinding

NO_ANSWER = frozenset({"off", "unreachable", "busy", "query_refused", "signature", "malformed", "other_payment"})
"""Answers without a payment state. The operator must fix something, or ask again later."""

FOR_A_PERSON = frozenset({"held", "refunded", "partly_paid", "unknown_state", "too_old"})
"""Answers that a person must handle."""


class PaymentsCounts(TypedDict):
    """The number of payments by result."""

    matched: Count
    """Payments that were selected."""
    to_settle: Count
    """Payments with a final state at the gateway."""
    settled: Count
    """Payments settled now."""
    skipped: Count
    """Payments that another session changed in the meantime or has locked."""
    pending: Count
    """Payments that are also pending at the gateway, or that are unknown to the gateway."""
    refused: Count
    """Answers with a wrong amount, or that contradict the payment."""
    for_a_person: Count
    """Payments that a person must check: blocked by the gateway, refunded, partly paid, in an undocumented state, or
    too old to query."""
    no_answer: Count
    """Payments without a response, or with a response that could not be verified."""
    not_asked: Count
    """Payments that were not asked about, because of the time limit or because the run was stopped."""
    too_old: Count
    """Payments that were not selected: they are too old for the gateway to know them."""


def count_payments(
    findings: Sequence[StatusFinding], done: Mapping[str, Settled], *, too_old: int = 0
) -> PaymentsCounts:
    """Return the number of payments by result. ``done`` has the settled and skipped payments by id."""
    says = Counter(finding.says for finding in findings)
    return {
        "matched": len(findings),
        "to_settle": sum(finding.settles for finding in findings),
        "settled": sum(each.outcome == "settled" for each in done.values()),
        "skipped": sum(each.outcome == "skipped" for each in done.values()),
        "pending": says["pending"] + says["not_found"],
        "refused": sum(isinstance(finding.verdict, Refusal) for finding in findings),
        "for_a_person": sum(says[word] for word in FOR_A_PERSON),
        "no_answer": sum(says[word] for word in NO_ANSWER),
        "not_asked": says["not_asked"],
        "too_old": too_old,
    }
