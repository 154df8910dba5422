"""Ask the gateway before ``payctl close`` closes an overdue payment.

The payment can be closed only if the gateway does not know it or no longer answers queries about it, or if payctl does
not know the gateway. In every other case, the gateway's status query shows the payment's result, now or later.
"""

from __future__ import annotations

from dataclasses import replace
from threading import Event

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output.result import Block, line
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.domain.payment import gateway_of
from ticketbottle_payctl.errors import GuardError, UnavailableError
from ticketbottle_payctl.formats import gateway_name
from ticketbottle_payctl.jobs.order import OpenFindings
from ticketbottle_payctl.jobs.reconcile.database_clock import database_clock
from ticketbottle_payctl.jobs.reconcile.endpoints import status_endpoints
from ticketbottle_payctl.jobs.reconcile.payments_report import NO_ANSWER, ONLY_IN_PORTAL
from ticketbottle_payctl.jobs.reconcile.settle_payments import find_named
from ticketbottle_payctl.jobs.reconcile.status_poller import AskOptions, StatusFinding, ask_gateways
from ticketbottle_payctl.providers.queries import QUERIES

NO_QUERY = "no_query"
"""The answer that is recorded for a payment whose gateway payctl does not know."""

_SAID = {
    "not_found": "{gateway} does not know the payment",
    "too_old": "the payment is too old for {gateway}'s status query",
    NO_QUERY: "payctl does not know the gateway {gateway}, so it cannot ask about the payment",
}


def with_answer(session: Session, found: OpenFindings) -> tuple[OpenFindings, list[str]]:
    """Return the findings that can be closed after the gateway's answer, and the warnings about the others.

    Raises:
        GuardError: the overdue payment cannot be closed, and no other finding can be closed.
        UnavailableError: the gateway gave no usable answer, and no other finding can be closed.
        ConfigError: the gateway's address is invalid.
    """
    payment = found.timeline.payment
    if payment is None or not found.has_overdue_payment:
        return found, []
    if gateway_of(payment.provider) not in QUERIES:
        return replace(found, answer=NO_QUERY), []
    answer = _ask(session, payment.id)
    if answer is None or answer.says in ONLY_IN_PORTAL:
        return replace(found, answer=answer.says if answer else None), []
    message, hint = _refusal(session, answer)
    kept = found.without_overdue_payment()
    if not kept.findings:
        refusal = UnavailableError if answer.says in NO_ANSWER - {"off"} else GuardError
        raise refusal(message, hint=hint)
    return kept, [f"{message}: {hint}"]


def answer_blocks(found: OpenFindings) -> list[Block]:
    """Return the line of the plan with the gateway's answer. The list is empty if payctl did not ask the gateway."""
    payment = found.timeline.payment
    if payment is None or found.answer is None:
        return []
    return [line(_SAID[found.answer].format(gateway=gateway_name(payment.provider)))]


def _ask(session: Session, payment_id: str) -> StatusFinding | None:
    services = session.services
    endpoints = status_endpoints(services.environ, services.credentials, production=session.settings.is_production)
    payments, now = find_named(services.engine, [payment_id]).payments, database_clock(services.engine)
    return next(ask_gateways(payments, endpoints, AskOptions(), now=now, stop=Event()), None)


def _refusal(session: Session, answer: StatusFinding) -> tuple[str, str]:
    """Return why the overdue payment cannot be closed, and what to do instead."""
    adviser, code = Adviser(session, "close"), answer.payment.order_code
    gateway, detail = gateway_name(answer.payment.gateway), f" ({answer.detail})" if answer.detail else ""
    says = f"{answer.says.replace('_', ' ')}{detail}"
    if answer.settles:
        message = f"the payment was not closed: {gateway} reports that it is {answer.says}"
        return message, f"settle it: `{adviser.changing(['reconcile', 'payments'], [code])}`"
    ask = adviser.reading(["reconcile", "payments"], [code], ["-n"])
    if answer.says == "off":
        message = f"the payment was not closed: payctl cannot ask {gateway} about it{detail}"
        return message, f"run payctl close where the gateway's keys are set, so that `{ask}` works"
    if answer.says in NO_ANSWER | {"not_asked"}:
        return f"the payment was not closed: no usable answer from {gateway}: {says}", f"ask again later: `{ask}`"
    if answer.says == "pending":
        return f"the payment was not closed: it is also pending at {gateway}", f"ask again later: `{ask}`"
    message = f"the payment was not closed: {gateway} knows the payment and reports {says}"
    return message, f"decide in the gateway's portal, and ask again: `{ask}`"
