"""Answer requests to the webhook's routes. Every callback gets a reply in the gateway's format."""

from __future__ import annotations

import time
from http import HTTPStatus

from lambda_entrypoints import http_api, init, runtime, webhook_measures
from lambda_entrypoints.http_api import Call
from lambda_entrypoints.warm import Warm
from ticketbottle_payctl.aws.api_gateway import to_response
from ticketbottle_payctl.aws.xray import request_span
from ticketbottle_payctl.domain.callback import Answer, RejectReason, Reply
from ticketbottle_payctl.jobs.process_webhook import Trace, WebhookReport, process_webhook
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.metrics import Amount, Function, emit


def handler(event: object, context: object) -> dict[str, object]:
    """Answer one HTTP request, and never raise an error. After an error, log it, count it, and reply "try again"."""
    began = time.monotonic()
    found, correlation_id = http_api.read(event), http_api.correlation_id(event)
    try:
        with runtime.invocation(Function.WEBHOOK, context, correlation_id=correlation_id) as warm:
            return to_response(_reply(warm, found, correlation_id, began))
    except Exception:  # noqa: BLE001 - the error is logged; Lambda's own reply would not be in the gateway's format
        busy = http_api.refusal(HTTPStatus.SERVICE_UNAVAILABLE)
        return to_response(busy if isinstance(found, Reply) else found.gateway.reply(Answer.TRY_AGAIN))


def _reply(warm: Warm, found: Call | Reply, correlation_id: str | None, began: float) -> Reply:
    if isinstance(found, Reply):
        log_event("webhook_not_a_callback", level="warning", status=found.status, correlation_id=correlation_id)
        emit(Function.WEBHOOK, {"WebhookReceived": 1, "WebhookMalformed": 1}, env=warm.env)
        return found
    amounts: dict[str, Amount] = {"WebhookReceived": 1, "WebhookTransientError": 1}
    try:
        with request_span(warm.tracer, f"webhook {found.gateway.name}", http_api.traceparent()) as traceparent:
            report = _processed(warm, found, Trace(correlation_id, traceparent))
        if found.is_probe and report.receipt_id is None:  # without a receipt, the callback was not genuine
            webhook_measures.note_probe(report, time.monotonic() - began)
            amounts = {"WebhookProbed": 1}
            return report.reply
        amounts = webhook_measures.tell(warm, report, time.monotonic() - began, correlation_id)
        return report.reply
    finally:
        if "WebhookReceived" in amounts:
            amounts["WebhookLatency"] = round((time.monotonic() - began) * 1000, 3)
        version = warm.given.get("AWS_LAMBDA_FUNCTION_VERSION")
        emit(Function.WEBHOOK, amounts, env=warm.env, provider=found.gateway.name, version=version)


def _processed(warm: Warm, call: Call, trace: Trace) -> WebhookReport:
    def process() -> WebhookReport:
        return warm.attempt(
            lambda it: process_webhook(
                it.engine, call.request, call.gateway, it.credentials(call.gateway), trace=trace
            ),
            "DATABASE_URL",
        )

    report = process()
    if report.reason == RejectReason.SIGNATURE and warm.environ.renew(field.env for field in call.gateway.fields):
        return process()  # the gateway may already sign with a newer key
    return report


init.prepare_webhook()
