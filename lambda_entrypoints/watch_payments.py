"""Check for missing callbacks every five minutes. This function only reads the database."""

from __future__ import annotations

from lambda_entrypoints import runtime
from ticketbottle_payctl.jobs.watch_payments import watch_payments
from ticketbottle_payctl.metrics import Function, emit


def handler(event: object, context: object) -> dict[str, object]:  # noqa: ARG001 - a schedule's event has no data
    """Measure overdue payments and missing callbacks for each gateway that had payments during the last day.

    Raises:
        UnavailableError: the database cannot be reached.
        ConfigError: a setting is invalid, or payctl's schema or a privilege is missing.
    """
    with runtime.invocation(Function.WATCH_PAYMENTS, context) as warm:
        found = warm.attempt(lambda services: watch_payments(services.engine), "DATABASE_URL")
        for one in found:
            amounts = {
                "PaymentsOverdue": one.overdue,
                "PaymentsUnsettled": one.unsettled_percent,
                "CallbackSilence": one.silent_s,
            }
            emit(Function.WATCH_PAYMENTS, amounts, env=warm.env, provider=one.gateway)
        return {"gateways": len(found), "overdue": sum(one.overdue for one in found)}
