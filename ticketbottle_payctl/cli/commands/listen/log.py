"""Write the log of ``payctl listen``, with one line for each request in the requested format."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Literal, TypedDict

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output import writer
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.instants import zone_shown
from ticketbottle_payctl.cli.output.machine import csv_header, csv_row, item_line, summary_line
from ticketbottle_payctl.cli.output.output_format import OutputFormat
from ticketbottle_payctl.cli.output.result import Line, Result, bad, bold, dim, good, line, warn
from ticketbottle_payctl.cli.output.streams import ReaderGoneError
from ticketbottle_payctl.cli.output.surface import surface_of
from ticketbottle_payctl.cli.output.text import as_text
from ticketbottle_payctl.domain.callback import Reply, Request
from ticketbottle_payctl.domain.decision_fields import NO_DECISION, Decision, ProviderName, WebhookOutcome
from ticketbottle_payctl.errors import OutputError
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.formats import duration, time_of_day
from ticketbottle_payctl.jobs.forward_callback import ForwardOutcome, ForwardReport
from ticketbottle_payctl.jobs.process_webhook import WebhookReport
from ticketbottle_payctl.providers.gateway import Gateway

SCHEMA = "payctl.listen/1"
COLUMNS = (
    "at", "method", "path", "provider", "outcome", "reason", "order_code", "status_before", "status_after",
    "event_id", "receipt_id", "alert", "reply_status", "payment_id", "forwarded_to", "took_ms",
)  # fmt: skip
_KEPT = 1000
SUCCESS = 2
"""The first digit of every HTTP status that means success."""

_WORDS = {"settled": good, "already_settled": good, "forwarded": good, "refused": bad, "failed": bad}

AnyOutcome = WebhookOutcome | Literal["forwarded", "failed", "no_callback"]
_OUTCOMES: dict[ForwardOutcome, AnyOutcome] = {
    ForwardOutcome.FORWARDED: "forwarded",
    ForwardOutcome.REFUSED: WebhookOutcome.REFUSED,
    ForwardOutcome.FAILED: "failed",
}


class Answered(Decision):
    """One request and its reply."""

    at: datetime
    """When the request was answered (UTC)."""
    method: str
    """The HTTP method of the request."""
    path: str
    """The path without its query, at most 200 characters."""
    provider: ProviderName | None
    """The gateway; null if the request is not a callback."""
    outcome: AnyOutcome
    order_code: str | None
    """The order code. payctl does not interpret it."""
    reply_status: int
    """The HTTP status of the reply."""
    payment_id: str | None
    """The payment's id in the payment service."""
    forwarded_to: str | None
    """With --forward-to: the URL of the service without a query; null if the callback was not sent."""
    took_ms: Count | None
    """With --forward-to: how long the service took to reply, in milliseconds."""


class ListenCounts(TypedDict):
    """The number of requests."""

    requests: Count
    """The number of requests that were answered."""


@dataclass(slots=True)
class Log:
    """A log with one line for each request, in the requested format. JSON output has only the last 1,000 requests."""

    session: Session
    items: list[Answered] = field(default_factory=list)
    total: int = 0
    lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        if self.session.shared.output is OutputFormat.CSV:
            self._put(csv_header(COLUMNS), json=False)

    def processed(self, request: Request, report: WebhookReport) -> None:
        """Write a callback that payctl settled or refused."""
        self._write({**self._request(request.method, request.path, report.reply.status), **report.facts})

    def forwarded(self, request: Request, gateway: Gateway, report: ForwardReport) -> None:
        """Write a callback that was passed on or refused."""
        self._write(
            {
                **self._request(request.method, request.path, report.reply.status),
                "provider": gateway.name,
                "outcome": _OUTCOMES[report.outcome],
                "reason": report.reason,
                "order_code": report.order_code,
                "forwarded_to": report.url,
                "took_ms": None if report.took is None else round(report.took.total_seconds() * 1000),
            }
        )

    def failed(self, request: Request, gateway: Gateway, reply: Reply, reason: str) -> None:
        """Write a callback that payctl could not process."""
        answered = self._request(request.method, request.path, reply.status)
        self._write({**answered, "provider": gateway.name, "outcome": "failed", "reason": reason})

    def refused(self, method: str, path: str, status: int) -> None:
        """Write a request that is not a callback."""
        self._write(self._request(method, path, status))

    def close(self, code: ExitCode) -> None:
        """Write the summary line or the JSON document, if the format has one."""
        counts: ListenCounts = {"requests": self.total}
        result = Result(SCHEMA, code, counts=counts)
        if self.session.shared.output is OutputFormat.NDJSON:
            self._put(summary_line(result, self.session.invocation()), json=True)
        elif self.session.shared.output is OutputFormat.JSON:
            whole = Result(SCHEMA, code, counts=result.counts, items=self.items, truncated=self.total > _KEPT)
            self.session.answer(whole)

    def _request(self, method: str, path: str, status: int) -> Answered:
        """Return the record of a request and the reply's status, without any decision."""
        return {
            "at": self.session.services.now(),
            "method": method,
            "path": path[:200],
            "provider": None,
            "outcome": "no_callback",
            "order_code": None,
            **NO_DECISION,
            "reply_status": status,
            "payment_id": None,
            "forwarded_to": None,
            "took_ms": None,
        }

    def _write(self, item: Answered) -> None:
        with self.lock:
            self.total += 1
            match self.session.shared.output:
                case OutputFormat.NDJSON:
                    self._put(item_line(item), json=True)
                case OutputFormat.CSV:
                    self._put(csv_row(COLUMNS, item), json=False)
                case OutputFormat.JSON:
                    self.items = [*self.items[-_KEPT + 1 :], item]
                case OutputFormat.TABLE:
                    surface = surface_of(sys.stdout, self.session.shared.color)
                    self._put(as_text(Result("", human=[_line(item)]), surface), json=False)
                case OutputFormat.NONE:
                    return

    def _put(self, text: str, *, json: bool) -> None:
        """Write to stdout. If payctl cannot write to stdout, it still replies to callbacks."""
        try:
            writer.write_part(text, json=json)
        except ReaderGoneError:
            return
        except OutputError as error:
            self.session.note(warn("warning:"), error.message, dim("· callbacks still get replies"))


def _line(item: Answered) -> Line:
    outcome = item["outcome"]
    served = outcome == "forwarded" and item["reply_status"] // 100 != SUCCESS
    word = warn if served else _WORDS.get(outcome, dim)
    change = f"{item['status_before']} → {item['status_after']}" if outcome == "settled" else None
    took = None if item["took_ms"] is None else duration(item["took_ms"] / 1000)
    return line(
        dim(time_of_day(item["at"], zone_shown())),
        f"{item['method']} {item['path']}",
        word(outcome),
        item["reason"],
        item["order_code"],
        bold(change) if change else None,
        dim(f"→ {item['reply_status']}"),
        dim(took) if took else None,
        warn(f"alert {item['alert']}") if item["alert"] else None,
    )
