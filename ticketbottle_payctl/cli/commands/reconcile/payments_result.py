"""Build the result of ``reconcile payments``: the gateways' responses, the plan and the outcome."""

from __future__ import annotations

from ticketbottle_payctl.cli.commands.reconcile.payments_facts import PaymentItem, Reconciled
from ticketbottle_payctl.cli.commands.reconcile.payments_view import blocks_of
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import Failure, Result
from ticketbottle_payctl.domain.settlement import Refusal
from ticketbottle_payctl.jobs.reconcile.payments_report import (
    FOR_A_PERSON,
    ONLY_IN_PORTAL,
    PaymentsCounts,
    count_payments,
)
from ticketbottle_payctl.jobs.reconcile.status_poller import StatusFinding

SCHEMA = "payctl.reconcile-payments/1"


def result_of(it: Reconciled) -> Result:
    """Return the result of the command."""
    counts = count_payments(it.findings, it.done, too_old=it.too_old, closed=it.closed)
    code = _code(it, counts)
    return Result(
        SCHEMA,
        code,
        counts=counts,
        items=[_item(finding, it) for finding in it.findings],
        human=blocks_of(it, counts, code),
        warnings=_warnings(it),
        truncated=it.more,
        dry_run=it.dry_run,
        run_id=it.run_id,
        error=_failure(it) if code is ExitCode.UNAVAILABLE else None,
    )


def _item(finding: StatusFinding, it: Reconciled) -> PaymentItem:
    settled = it.done.get(finding.payment.id)
    refusal = finding.verdict.reason.value if isinstance(finding.verdict, Refusal) else None
    return {
        "payment_id": finding.payment.id,
        "order_code": finding.payment.order_code,
        "provider": finding.payment.gateway,
        "amount": finding.payment.amount,
        "created_at": finding.payment.created_at,
        "status": finding.payment.status,
        "says": finding.says,
        "detail": finding.detail or None,
        "gateway_amount": finding.callback.amount if finding.callback else None,
        "gateway_transaction_id": finding.callback.gateway_transaction_id if finding.callback else None,
        "would_settle": finding.settles,
        "closed": it.is_closed(finding),
        "outcome": settled.outcome if settled else None,
        "reason": settled.reason if settled else refusal,
        "status_after": settled.status_after if settled else None,
        "event_id": settled.event_id if settled else None,
    }


def _warnings(it: Reconciled) -> list[str]:
    warnings = []
    if it.more:
        warnings.append("more payments are overdue than --limit allows; the oldest were not queried: raise --limit")
    for finding in it.findings:
        order = finding.payment.order_code
        if isinstance(finding.verdict, Refusal):
            warnings.append(f"{order}: {finding.verdict.reason.value}; nothing was changed; it needs manual review")
        elif finding.says in FOR_A_PERSON - ONLY_IN_PORTAL and not it.is_closed(finding):
            warnings.append(f"{order}: {finding.says}; it needs manual review")
    late = [finding.payment.order_code for finding in it.findings if _is_late(it, finding)]
    warnings += [
        f"{order}: money arrived after the payment failed or was cancelled; it needs manual review" for order in late
    ]
    return warnings


def _is_late(it: Reconciled, finding: StatusFinding) -> bool:
    settled = it.done.get(finding.payment.id)
    return settled is not None and settled.late


def _code(it: Reconciled, counts: PaymentsCounts) -> ExitCode:
    if it.stopped is not None:
        return it.stopped
    if it.findings and all(finding.says in {"unreachable", "busy"} for finding in it.findings):
        return ExitCode.UNAVAILABLE
    if counts["not_asked"]:
        return ExitCode.DEADLINE
    by_hand = counts["refused"] + counts["for_a_person"] + len(it.only_in_portal) + counts["too_old"]
    return ExitCode.PARTIAL if by_hand + counts["no_answer"] + counts["skipped"] + it.more else ExitCode.DONE


def _failure(it: Reconciled) -> Failure:
    return Failure(
        "UNAVAILABLE",
        f"no gateway answered: {it.findings[0].detail}",
        ExitCode.UNAVAILABLE,
        hint="try again later, or check the gateway's address (PAYCTL_ZALOPAY_URL and similar settings)",
        retryable=True,
    )
