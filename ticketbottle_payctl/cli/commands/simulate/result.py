"""Build the output for a simulated callback and its outcome, as JSON and as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NotRequired, TypedDict

from ticketbottle_payctl.cli.output.exit_codes import ExitCode, of_answer
from ticketbottle_payctl.cli.output.result import Block, Fields, Result, bad, bold, dim, good, line
from ticketbottle_payctl.cli.output.sanitize import escape_json
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.domain.decision_fields import NO_DECISION, Decision, ProviderName, WebhookOutcome
from ticketbottle_payctl.facts import Keywords
from ticketbottle_payctl.formats import gateway_name
from ticketbottle_payctl.jobs.process_webhook import WebhookReport
from ticketbottle_payctl.providers.gateway import Gateway
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.providers.reply_code import judge_reply

SCHEMA = "payctl.simulate/1"
_SHOWN = 4096
_UNKNOWN = "with --order-code, give an order code from `payctl list payments --status PENDING`"


class SimulatedCallback(TypedDict, total=False):
    """The created callback."""

    provider: ProviderName
    """The gateway that the callback imitates."""
    scenario: str
    """The scenario, which says what happened at the gateway."""
    method: Annotated[str, Keywords(enum=["GET", "POST"])]
    path: str
    """The webhook's path."""
    query: str | None
    """The query string, exactly as the gateway would send it; null if the gateway sends a body."""
    body: str | None
    """The callback's body, exactly as the gateway would send it; null if the gateway sends a query string."""


class Judged(TypedDict):
    """A reply, and whether the gateway would accept it."""

    acknowledged: bool
    """Whether the gateway would accept the reply."""
    why_not: NotRequired[str | None]
    """The reason why the gateway would not accept the reply; null if the gateway would accept the reply."""
    reply_status: int
    """The HTTP status of the reply."""
    reply_code: NotRequired[str | None]
    """The code in the reply's body; null if the body has no code, or if the gateway reads only the HTTP status."""


class Delivery(Judged, Decision):
    """One delivery of the callback. The decision is known only if payctl itself processed the callback."""

    reply_body: str
    """The reply's body, at most 4,096 characters."""
    provider: ProviderName
    """The gateway that the callback imitates."""
    outcome: WebhookOutcome | None
    """The outcome, as in process-webhook; null if another process answered."""
    payment_id: str | None
    """The payment's id in the payment service."""
    order_code: str | None
    """The order code. payctl does not interpret it."""


def of_reply(gateway: Gateway, response: HttpResponse) -> Delivery:
    """Return the record of a delivery to another process."""
    text = response.body.decode("utf-8", "backslashreplace")
    return {
        **NO_DECISION,
        **_judged(gateway, response.status, text),
        "reply_body": text[:_SHOWN],
        "provider": gateway.name,
        "outcome": None,
        "payment_id": None,
        "order_code": None,
    }


def of_report(gateway: Gateway, report: WebhookReport) -> Delivery:
    """Return the record of a delivery to payctl's own job."""
    return {
        **_judged(gateway, report.reply.status, report.reply.body),
        "reply_body": report.reply.body,
        **report.facts,
    }


def _judged(gateway: Gateway, status: int, body: str) -> Judged:
    found = judge_reply(gateway.reply_code, status, body)
    return {
        "acknowledged": found.acknowledged,
        "why_not": found.why,
        "reply_status": status,
        "reply_code": found.code,
    }


def facts_of(gateway: Gateway, scenario: str, request: Request) -> SimulatedCallback:
    """Return the callback's fields."""
    return {
        "provider": gateway.name,
        "scenario": scenario,
        "method": request.method,
        "path": request.path,
        "query": request.query or None,
        "body": request.body.decode() or None,
    }


def text_of(request: Request) -> str:
    """Return the body or the query string for a pipe. Write unsafe characters as JSON escapes."""
    return escape_json(request.body.decode()) if request.body else request.query


def result_of(gateway: Gateway, scenario: str, request: Request, sent: Sequence[Delivery]) -> Result:
    """Return the result. The last delivery determines whether the callback was accepted."""
    blocks: list[Block] = []
    for each in sent:
        blocks += _human(gateway, scenario, each)
    return Result(
        SCHEMA,
        ExitCode.DONE if _accepted(sent[-1]) else of_answer(yes=False),
        result=facts_of(gateway, scenario, request),
        items=sent,
        human=blocks,
    )


def _accepted(sent: Delivery) -> bool:
    """Return True if the gateway would accept the reply and payctl did not refuse the callback."""
    return sent["acknowledged"] and sent["outcome"] is not WebhookOutcome.REFUSED


def _human(gateway: Gateway, scenario: str, sent: Delivery) -> list[Block]:
    word = "acknowledged" if sent["acknowledged"] else "not acknowledged"
    change = f"{sent['status_before']} → {sent['status_after']}" if sent["status_before"] else None
    return [
        line(
            good(f"✔ {word}") if _accepted(sent) else bad(f"✘ {word}"),
            gateway_name(gateway.name),
            scenario,
            bold(sent["outcome"]) if sent["outcome"] else None,
            dim(sent["reason"]) if sent["reason"] else None,
        ),
        Fields(
            (
                ("why", sent.get("why_not")),
                ("reply", f"{sent['reply_status']} {sent['reply_body']}".rstrip()),
                ("status", change),
                ("try", _UNKNOWN if sent["reason"] == "unknown_order" else None),
            )
        ),
    ]
