"""``payctl listen``: the webhook on local HTTP, for developing the payment service."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Annotated, Literal, TypedDict

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.output import writer
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.format import OutputFormat
from ticketbottle_payctl.cli.output.instants import zone_shown
from ticketbottle_payctl.cli.output.machine import csv_header, csv_row, item_line, summary_line
from ticketbottle_payctl.cli.output.result import Line, Result, bad, bold, dim, good, line, warn
from ticketbottle_payctl.cli.output.streams import ReaderGoneError
from ticketbottle_payctl.cli.output.surface import surface_of
from ticketbottle_payctl.cli.output.text import as_text
from ticketbottle_payctl.cli.safety.confirm import permit
from ticketbottle_payctl.cli.safety.sandbox_only import refuse_in_production
from ticketbottle_payctl.domain.callback import Answer, Reply, Request
from ticketbottle_payctl.domain.decision import NO_DECISION, Decision, WebhookOutcome
from ticketbottle_payctl.errors import OutputError, PayctlError
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.formats import time_of_day
from ticketbottle_payctl.jobs.find_receipt import require_receipts
from ticketbottle_payctl.jobs.process_webhook import WebhookReport, process_webhook
from ticketbottle_payctl.providers.gateway import Gateway
from ticketbottle_payctl.sandbox.webhook_server import webhook_server

SCHEMA = "payctl.listen/1"
COLUMNS = (
    "at", "method", "path", "provider", "outcome", "reason", "order_code", "status_before", "status_after",
    "event_id", "receipt_id", "alert", "reply_status", "payment_id",
)  # fmt: skip
_KEPT = 1000


class Answered(Decision):
    """One request and its reply."""

    at: datetime
    """When the request was answered, UTC."""
    method: str
    """HTTP method."""
    path: str
    """The path without its query, at most 200 characters."""
    provider: str | None
    """zalopay, payos, vnpay or momo."""
    outcome: WebhookOutcome | Literal["failed", "no_callback"]
    order_code: str | None
    """The order, as opaque text."""
    reply_status: int
    """HTTP status."""
    payment_id: str | None
    """The payment's id in the payment service."""


class ListenCounts(TypedDict):
    """The number of requests."""

    requests: Count
    """Requests that were answered."""


Port = Annotated[int, typer.Option(metavar="N", min=0, max=65_535, help="The port; 0 chooses a free one.")]


def listen_command(ctx: typer.Context, *, port: Port = 8080) -> None:
    """Receive callbacks on this machine, as the webhook would.

    Serves http://127.0.0.1:PORT/webhook/zalopay, payos, vnpay and momo until Ctrl-C, settles payments in the
    configured database, and prints one line per request. Refused on protected and read-only profiles, and if
    ENVIRONMENT is production.
    """
    session = Session.of(ctx)
    refuse_in_production(session, "listen")
    permit(session, "listen")
    session.note_target()
    require_receipts(session.services.engine)
    log = _Log(session)
    listener = _Listener(session, log)
    with stop_on_signals() as stop, webhook_server(listener.handle, log.refused, port=port) as base:
        session.note(bold("listening"), f"{base}/webhook/zalopay, payos, vnpay, momo", dim("stop with Ctrl-C"))
        while not stop.event.wait(1.0):
            pass
    log.close(stop.exit_code or ExitCode.DONE)
    raise typer.Exit(int(stop.exit_code or ExitCode.DONE))


@dataclass(frozen=True, slots=True)
class _Listener:
    session: Session
    log: _Log

    def handle(self, request: Request, gateway: Gateway) -> Reply:
        """Process one callback. If payctl fails, the reply asks the gateway to send it again."""
        services = self.session.services
        try:
            report = process_webhook(services.engine, request, gateway, services.credentials(gateway))
        except Exception as error:  # noqa: BLE001 - every callback gets a reply
            reply = gateway.reply(Answer.TRY_AGAIN)
            reason = error.message if isinstance(error, PayctlError) else f"unexpected {type(error).__name__}"
            self.log.failed(request, gateway, reply, reason)
            return reply
        self.log.processed(request, report)
        return report.reply


@dataclass(slots=True)
class _Log:
    """A log of requests, one line each, in the requested format. The JSON document has the last thousand."""

    session: Session
    items: list[Answered] = field(default_factory=list)
    total: int = 0
    lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        if self.session.shared.output is OutputFormat.CSV:
            self._put(csv_header(COLUMNS), json=False)

    def processed(self, request: Request, report: WebhookReport) -> None:
        self._write({**self._request(request.method, request.path, report.reply.status), **report.facts})

    def failed(self, request: Request, gateway: Gateway, reply: Reply, reason: str) -> None:
        answered = self._request(request.method, request.path, reply.status)
        self._write({**answered, "provider": gateway.name, "outcome": "failed", "reason": reason})

    def refused(self, method: str, path: str, status: int) -> None:
        self._write(self._request(method, path, status))

    def close(self, code: ExitCode) -> None:
        """Write the summary or the document, if the format has one."""
        counts: ListenCounts = {"requests": self.total}
        result = Result(SCHEMA, code, counts=counts)
        if self.session.shared.output is OutputFormat.NDJSON:
            self._put(summary_line(result, self.session.invocation()), json=True)
        elif self.session.shared.output is OutputFormat.JSON:
            whole = Result(SCHEMA, code, counts=result.counts, items=self.items, truncated=self.total > _KEPT)
            self.session.answer(whole)

    def _request(self, method: str, path: str, status: int) -> Answered:
        """Return the record of a request; only its reply is known."""
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
        """Write to stdout. Callbacks still get replies if nobody reads it or if it cannot be written."""
        try:
            writer.write_part(text, json=json)
        except ReaderGoneError:
            return
        except OutputError as error:
            self.session.note(warn("warning:"), error.message, dim("· callbacks still get replies"))


def _line(item: Answered) -> Line:
    outcome = item["outcome"]
    word = {"settled": good, "already_settled": good, "refused": bad, "failed": bad}.get(outcome, dim)(outcome)
    change = f"{item['status_before']} → {item['status_after']}" if outcome == "settled" else None
    return line(
        dim(time_of_day(item["at"], zone_shown())),
        f"{item['method']} {item['path']}",
        word,
        item["reason"],
        item["order_code"],
        bold(change) if change else None,
        dim(f"→ {item['reply_status']}"),
        warn(f"alert {item['alert']}") if item["alert"] else None,
    )
