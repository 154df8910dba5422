"""Ask the gateways about overdue payments every 15 minutes, and settle these payments. This function is off by default.

Since no operator confirms the plan, the number of payments in it is capped. Only this function loads an HTTP library.
"""

from __future__ import annotations

from datetime import timedelta

from lambda_entrypoints import runtime
from lambda_entrypoints.warm import Warm
from ticketbottle_payctl.domain.settlement import Refusal
from ticketbottle_payctl.jobs.reconcile.endpoints import status_endpoints
from ticketbottle_payctl.jobs.reconcile.settle_overdue import (
    UnattendedOptions,
    UnattendedReport,
    settle_overdue,
)
from ticketbottle_payctl.jobs.reconcile.status_poller import StatusFinding
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.metrics import Amount, Function, emit
from ticketbottle_payctl.store.payctl.runs import Actor
from ticketbottle_payctl.wiring import Services

RESERVE_SECONDS = 30.0
"""The seconds reserved to finish the current payment and to record the end of the run."""


def handler(event: object, context: object) -> dict[str, object]:  # noqa: ARG001 - a schedule's event has no data
    """Settle the overdue payments once.

    Unanswered queries and a plan over the cap are reported as metrics, not as errors.

    Raises:
        UnavailableError: the database cannot be reached. Committed payments stay settled.
        ConfigError: a setting is invalid, or payctl's schema or a privilege is missing.
    """
    with runtime.invocation(Function.RECONCILE_PAYMENTS, context) as warm:
        report = warm.attempt(lambda services: _reconcile(warm, services, context), "DATABASE_URL")
        _log(report)
        emit(Function.RECONCILE_PAYMENTS, _amounts(report), env=warm.env)
        counts = report.counts
        return {
            "asked": counts["matched"],
            "settled": counts["settled"],
            "over_cap": report.over_cap,
            "run_id": report.run_id,
        }


def _reconcile(warm: Warm, services: Services, context: object) -> UnattendedReport:
    settings = services.settings
    left = timedelta(seconds=runtime.seconds_left(context, RESERVE_SECONDS))
    endpoints = status_endpoints(services.environ, services.credentials, production=settings.is_production)
    who = Actor(warm.given.get("AWS_LAMBDA_FUNCTION_NAME") or Function.RECONCILE_PAYMENTS.value, "lambda")
    options = UnattendedOptions(settings.reconcile_cap, left)
    return settle_overdue(services.engine, endpoints, options, who)


def _amounts(report: UnattendedReport) -> dict[str, Amount]:
    return {
        "ReconcileSettled": report.counts["settled"],
        "ReconcileFailed": report.failed,
        "ReconcileOpen": report.counts["pending"] + report.counts["not_found"],
        "ReconcileOverCap": report.over_cap,
        "ReconcileUnanswered": report.unanswered,
        "ReconcileForAPerson": len(report.for_a_person),
    }


def _log(report: UnattendedReport) -> None:
    """Log the counts, the settled payments, and the payments that an operator must check. Log only ids and codes."""
    level = "error" if report.over_cap else "info"
    log_event(
        "reconcile_payments",
        level=level,
        counts=report.counts,
        over_cap=report.over_cap,
        more=report.more,
        run_id=report.run_id,
    )
    for one in report.done.values():
        log_event(
            "payment_reconciled",
            level="error" if one.late else "info",
            payment_id=one.payment_id,
            outcome=one.outcome,
            reason=one.reason,
            status_before=one.status_before,
            status_after=one.status_after,
            event_id=one.event_id,
            late=one.late,
        )
    for finding in report.for_a_person:
        _log_finding(finding)
    for name in {finding.payment.gateway for finding in report.without_answer}:
        of_gateway = [finding for finding in report.without_answer if finding.payment.gateway == name]
        log_event(
            "reconcile_unanswered",
            level="warning",
            provider=name,
            payments=len(of_gateway),
            says=of_gateway[0].says,
            detail=of_gateway[0].detail,
        )


def _log_finding(finding: StatusFinding) -> None:
    payment = finding.payment
    refusal = finding.verdict.reason.value if isinstance(finding.verdict, Refusal) else None
    log_event(
        "reconcile_for_a_person",
        level="error",
        provider=payment.gateway,
        payment_id=payment.id,
        order_code=payment.order_code,
        says=finding.says,
        detail=finding.detail or None,
        reason=refusal,
    )
