"""Implement ``payctl listen``, a webhook on this machine for developing the payment service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.app.signals import stop_on_signals
from ticketbottle_payctl.cli.commands.listen.log import SUCCESS, Log
from ticketbottle_payctl.cli.input.callback_url import callback_url
from ticketbottle_payctl.cli.input.durations import duration
from ticketbottle_payctl.cli.input.missing_keys import missing_keys
from ticketbottle_payctl.cli.input.stored_ids import receipt_ids
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import bold, dim
from ticketbottle_payctl.cli.safety.confirm import permit
from ticketbottle_payctl.cli.safety.not_in_production import refuse_in_production
from ticketbottle_payctl.domain.callback import Answer, Reply, Request
from ticketbottle_payctl.errors import InputError, PayctlError
from ticketbottle_payctl.http_address import is_loopback
from ticketbottle_payctl.jobs.find_receipt import find_receipt, require_receipts
from ticketbottle_payctl.jobs.forward_callback import Destination, ForwardReport, forward_callback
from ticketbottle_payctl.jobs.process_webhook import process_webhook
from ticketbottle_payctl.providers.gateway import Gateway
from ticketbottle_payctl.sandbox.webhook_server import Handle, webhook_server

_PATIENCE = timedelta(seconds=10)

Port = Annotated[int, typer.Option(metavar="N", min=0, max=65_535, help="The port; 0 chooses a free one.")]
ForwardTo = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Pass genuine callbacks on to the service at this URL, and settle nothing."),
]
Replay = Annotated[
    str | None,
    typer.Option(
        "--replay",
        metavar="RECEIPT",
        autocompletion=receipt_ids,
        help="With --forward-to: send this stored callback again, then exit.",
    ),
]
AllowRemote = Annotated[bool, typer.Option("--allow-remote", help="Allow --forward-to to name another machine.")]
Timeout = Annotated[
    timedelta | None,
    typer.Option(parser=duration, metavar="10s", help="Time limit for the service's reply [default: 10s]."),
]


def listen_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    *,
    port: Port = 8080,
    forward_to: ForwardTo = None,
    replay: Replay = None,
    allow_remote: AllowRemote = False,
    timeout: Timeout = None,
) -> None:
    """Receive callbacks on this machine, as the webhook would.

    The command serves http://127.0.0.1:PORT/webhook/GATEWAY for each gateway until Ctrl-C, settles payments in the
    configured database, and prints one line per request. With --forward-to, another service settles the payments:
    payctl checks each callback, passes genuine ones on unchanged, and returns the service's reply to the gateway. The
    command is refused in protected and read-only profiles, and if ENVIRONMENT is production.
    """
    session = Session.of(ctx)
    if forward_to is None and (given := _needs_forward_to(replay, timeout, allow_remote=allow_remote)):
        message = "needs --forward-to"
        raise typer.BadParameter(message, param_hint=given)
    refuse_in_production(session, "listen")
    permit(session, "listen")
    if forward_to is None:
        session.note_target()
        require_receipts(session.services.engine)
        log = Log(session)
        _serve(session, log, _Settler(session, log).handle, port)
    service = _Service(session, forward_to, timeout or _PATIENCE, allow_remote=allow_remote)
    for gateway in providers.GATEWAYS.values():
        service.url(gateway)  # report an error in the URL before anything starts
    if replay is not None:
        session.note_target()
        _replay(session, service, replay)
    log = Log(session)
    _serve(session, log, _Forwarder(log, service).handle, port, forward_to)


def _needs_forward_to(replay: str | None, timeout: timedelta | None, *, allow_remote: bool) -> str | None:
    given = {"--replay": replay is not None, "--timeout": timeout is not None, "--allow-remote": allow_remote}
    return next((name for name, there in given.items() if there), None)


def _serve(session: Session, log: Log, handle: Handle, port: int, forward_to: str | None = None) -> NoReturn:
    """Answer requests until payctl receives a signal."""
    with stop_on_signals() as stop, webhook_server(handle, log.refused, port=port) as base:
        if forward_to is not None and _is_itself(forward_to, base):
            message = "--forward-to is the address of this payctl listen: it would pass each callback on to itself"
            raise InputError(message, hint="give the address of your service, or another --port")
        session.note(bold("listening"), f"{base}/webhook/{', '.join(providers.GATEWAYS)}")
        session.tell_target()
        if forward_to is not None:
            session.note(bold("forwarding to"), forward_to)
            session.note(dim("only genuine callbacks; payctl settles nothing"))
        session.note(dim("stop with Ctrl-C"))
        while not stop.event.wait(1.0):
            pass
    log.close(stop.exit_code or ExitCode.DONE)
    raise typer.Exit(int(stop.exit_code or ExitCode.DONE))


def _is_itself(url: str, base: str) -> bool:
    given, own = urlsplit(url), urlsplit(base)
    return given.scheme == "http" and given.port == own.port and is_loopback(given.hostname or "")


def _replay(session: Session, service: _Service, receipt_id: str) -> NoReturn:
    """Send a stored callback to the service. The exit code is 0 only if the service accepted the callback.

    Receipts do not contain headers, so payctl sets the content type that the gateways use.
    """
    stored = find_receipt(session.services.engine, receipt_id)
    gateway = providers.by_name(stored.provider)
    headers = {"Content-Type": gateway.content_type} if stored.request.body else {}
    report = service.forward(stored.request, gateway, headers)
    if report.reason == "not_configured":
        raise missing_keys(gateway, session.services.credentials(gateway))
    log = Log(session)
    log.forwarded(stored.request, gateway, report)
    session.tell_target()
    code = exit_codes.of_outcome(report.outcome)
    if code is ExitCode.DONE and report.reply.status // 100 != SUCCESS:
        code = ExitCode.NO
    log.close(code)
    raise typer.Exit(int(code))


@dataclass(frozen=True, slots=True)
class _Service:
    """The service that receives the callbacks."""

    session: Session
    forward_to: str
    timeout: timedelta
    allow_remote: bool = False

    def url(self, gateway: Gateway) -> str:
        return callback_url(self.forward_to, gateway, option="--forward-to", allow_remote=self.allow_remote)

    def forward(self, request: Request, gateway: Gateway, headers: Mapping[str, str]) -> ForwardReport:
        from ticketbottle_payctl.http_client import send  # noqa: PLC0415 - httpx, only if something is sent

        to = Destination(self.url(gateway), self.timeout, send)
        return forward_callback(request, headers, gateway, self.session.services.credentials(gateway), to)


@dataclass(frozen=True, slots=True)
class _Forwarder:
    log: Log
    service: _Service

    def handle(self, request: Request, gateway: Gateway, headers: Mapping[str, str]) -> Reply:
        """Pass one callback on. After an error, the reply asks the gateway to send the callback again."""
        try:
            report = self.service.forward(request, gateway, headers)
        except Exception as error:  # noqa: BLE001 - every callback gets a reply
            return _failed(self.log, request, gateway, error)
        self.log.forwarded(request, gateway, report)
        return report.reply


@dataclass(frozen=True, slots=True)
class _Settler:
    session: Session
    log: Log

    def handle(self, request: Request, gateway: Gateway, _: Mapping[str, str]) -> Reply:
        """Process one callback. After an error, the reply asks the gateway to send the callback again."""
        services = self.session.services
        try:
            report = process_webhook(services.engine, request, gateway, services.credentials(gateway))
        except Exception as error:  # noqa: BLE001 - every callback gets a reply
            return _failed(self.log, request, gateway, error)
        self.log.processed(request, report)
        return report.reply


def _failed(log: Log, request: Request, gateway: Gateway, error: Exception) -> Reply:
    reply = gateway.reply(Answer.TRY_AGAIN)
    reason = error.message if isinstance(error, PayctlError) else f"unexpected {type(error).__name__}"
    log.failed(request, gateway, reply, reason)
    return reply
