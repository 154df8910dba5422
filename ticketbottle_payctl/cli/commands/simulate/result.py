"""A simulated callback, and what became of it, in both forms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ticketbottle_payctl.cli.output.exit_codes import ExitCode, of_answer
from ticketbottle_payctl.cli.output.result import Block, Fields, Result, bad, bold, dim, good, line
from ticketbottle_payctl.cli.output.sanitize import escape_json
from ticketbottle_payctl.domain.callback import Reply, Request
from ticketbottle_payctl.providers.gateway import Gateway
from ticketbottle_payctl.providers.queries.exchange import HttpResponse

if TYPE_CHECKING:
    from ticketbottle_payctl.jobs.process_webhook import WebhookReport

SCHEMA = "payctl.simulate/1"
_SHOWN = 4096
_ENDING: dict[str, tuple[str, frozenset[object]]] = {
    "zalopay": ("return_code", frozenset({1, 2})),
    "vnpay": ("RspCode", frozenset({"00", "02"})),
}
"""The word in the body that ends it; at the other gateways the status says it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One delivery. ``outcome`` and what follows is known where payctl itself took it."""

    reply: Reply
    acknowledged: bool
    outcome: str | None = None
    reason: str | None = None
    order_code: str | None = None
    status_before: str | None = None
    status_after: str | None = None
    event_id: str | None = None


def of_reply(gateway: Gateway, response: HttpResponse) -> Sent:
    """What another process answered."""
    text = response.body.decode("utf-8", "backslashreplace")
    return Sent(Reply(response.status, text[:_SHOWN]), _acknowledged(gateway.name, response.status, text))


def of_report(gateway: Gateway, report: WebhookReport) -> Sent:
    """What payctl's own job decided."""
    return replace(
        Sent(report.reply, _acknowledged(gateway.name, report.reply.status, report.reply.body)),
        outcome=report.outcome.value,
        reason=report.reason,
        order_code=report.order_code,
        status_before=report.status_before,
        status_after=report.status_after,
        event_id=report.event.id if report.event else None,
    )


def facts_of(gateway: Gateway, scenario: str, request: Request) -> dict[str, object]:
    """The callback itself."""
    return {
        "provider": gateway.name,
        "scenario": scenario,
        "method": request.method,
        "path": request.path,
        "query": request.query or None,
        "body": request.body.decode() or None,
    }


def text_of(request: Request) -> str:
    """What goes into a pipe: the body, or VNPay's query. Suspicious characters are JSON escapes, which sign alike."""
    return escape_json(request.body.decode()) if request.body else request.query


def result_of(gateway: Gateway, scenario: str, request: Request, sent: Sequence[Sent]) -> Result:
    """What became of it. The last delivery decides whether it was accepted."""
    blocks: list[Block] = []
    for each in sent:
        blocks += _human(gateway, scenario, each)
    refused = not sent[-1].acknowledged or sent[-1].outcome == "refused"
    return Result(
        SCHEMA,
        ExitCode.DONE if not refused else of_answer(yes=False),
        result=facts_of(gateway, scenario, request),
        items=[_item(each) for each in sent],
        human=blocks,
    )


def _item(sent: Sent) -> dict[str, object]:
    return {
        "acknowledged": sent.acknowledged,
        "reply_status": sent.reply.status,
        "reply_body": sent.reply.body,
        "outcome": sent.outcome,
        "reason": sent.reason,
        "order_code": sent.order_code,
        "status_before": sent.status_before,
        "status_after": sent.status_after,
        "event_id": sent.event_id,
    }


def _human(gateway: Gateway, scenario: str, sent: Sent) -> list[Block]:
    word = good("✔ acknowledged") if sent.acknowledged else bad("✘ not acknowledged")
    change = f"{sent.status_before} → {sent.status_after}" if sent.status_before else None
    return [
        line(
            word,
            gateway.name,
            scenario,
            bold(sent.outcome) if sent.outcome else None,
            dim(sent.reason) if sent.reason else None,
        ),
        Fields((("reply", f"{sent.reply.status} {sent.reply.body}".rstrip()), ("status", change))),
    ]


def _acknowledged(gateway: str, status: int, body: str) -> bool:
    """Whether the gateway would not call again and would take it as received."""
    if not 200 <= status <= 299:  # noqa: PLR2004 - HTTP's own range of success
        return False
    if gateway not in _ENDING:
        return True
    name, words = _ENDING[gateway]
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return False
    found = answer.get(name) if isinstance(answer, dict) else None
    return isinstance(found, int | str) and found in words
