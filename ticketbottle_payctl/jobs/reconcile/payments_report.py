"""Count the gateways' responses and the settled payments, for the command line and for the scheduled function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TypedDict

from ticketbottle_payctl.domain.settlement import Refusal
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.jobs.reconcile.settle_payments import Settled
from ticketbottle_payctl.jobs.reconcile.status_poller import StatusFinding
from ticketbottle_payctl.store.payments.overdue import NONE_FORGOTTEN, Forgotten

NO_ANSWER = frozenset({"off", "unreachable", "busy", "query_refused", "signature", "malformed", "other_payment"})
"""The query results that do not contain a payment state. The operator must fix a problem or query again later."""

FOR_A_PERSON = frozenset({"held", "refunded", "partly_paid", "unknown_state", "too_old"})
"""The query results that an operator must handle."""

ONLY_IN_PORTAL = frozenset({"not_found", "too_old"})
"""The query results for which an operator must look in the gateway's portal to see whether the payment is paid.

The operator can then close the payment.
"""


class PaymentsCounts(TypedDict):
    """The number of payments by result."""

    matched: Count
    """Payments that were selected."""
    to_settle: Count
    """Payments with a final state at the gateway."""
    settled: Count
    """Payments settled by this run."""
    skipped: Count
    """Payments that another session had already changed or locked."""
    pending: Count
    """Payments that are also pending at the gateway."""
    not_found: Count
    """Payments that the gateway does not know, without closed payments."""
    closed: Count
    """Payments that an operator has closed, and that the gateway does not know or that are too old for a query."""
    refused: Count
    """Payments whose gateway reported a wrong amount, or a result that contradicts the payment's state."""
    for_a_person: Count
    """Payments that an operator must check.

    The payment is blocked by the gateway, refunded, partly paid, in an undocumented state, or too old for a query.
    """
    no_answer: Count
    """Payments without a response, or with a response that payctl cannot verify."""
    not_asked: Count
    """Payments that payctl did not query, because the time limit was reached or the run was stopped."""
    too_old: Count
    """Payments that were not selected, because they are too old for the gateway's status query.

    Closed payments are left out. payctl counts at most 10,000, so the number may be higher.
    """


def is_closed(finding: StatusFinding, closed: Collection[str]) -> bool:
    """Return whether the finding needs no attention, because an operator has looked in the gateway's portal.

    ``closed`` contains the ids of the payments that an operator has closed. If the gateway now gives another answer,
    the finding needs attention again.
    """
    return finding.says in ONLY_IN_PORTAL and finding.payment.id in closed


def count_payments(
    findings: Sequence[StatusFinding],
    done: Mapping[str, Settled],
    *,
    too_old: Forgotten = NONE_FORGOTTEN,
    closed: Collection[str] = (),
) -> PaymentsCounts:
    """Return the number of payments by result.

    ``done`` maps payment ids to settled and skipped payments. ``closed`` contains the ids of the closed payments.
    """
    says = Counter(finding.says for finding in findings if not is_closed(finding, closed))
    return {
        "matched": len(findings),
        "to_settle": sum(finding.settles for finding in findings),
        "settled": sum(each.outcome == "settled" for each in done.values()),
        "skipped": sum(each.outcome == "skipped" for each in done.values()),
        "pending": says["pending"],
        "not_found": says["not_found"],
        "closed": sum(is_closed(finding, closed) for finding in findings) + too_old.closed,
        "refused": sum(isinstance(finding.verdict, Refusal) for finding in findings),
        "for_a_person": sum(says[word] for word in FOR_A_PERSON),
        "no_answer": sum(says[word] for word in NO_ANSWER),
        "not_asked": says["not_asked"],
        "too_old": too_old.open,
    }
