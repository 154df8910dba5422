"""Pass a genuine callback on to another service, unchanged, and return that service's reply.

payctl settles nothing here. A callback that is not genuine is not passed on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES, Answer, Rejected, RejectReason, Reply, Request
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.providers.gateway import Credentials, Gateway
from ticketbottle_payctl.providers.queries.exchange import HttpRequest, HttpResponse

Send = Callable[[HttpRequest, timedelta], HttpResponse]

_OF_THE_CONNECTION = frozenset({
    "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
"""Headers about the connection to payctl. The connection to the service has its own."""


class ForwardOutcome(StrEnum):
    """The outcome for a callback: the service replied, the callback was not genuine, or no complete reply arrived."""

    FORWARDED = "forwarded"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Destination:
    """The service's URL, its time limit, and the function that sends a request."""

    url: str
    timeout: timedelta
    send: Send


@dataclass(frozen=True, slots=True)
class ForwardReport:
    """The result for one callback. ``reply`` is what the gateway gets.

    It is the service's own reply if the outcome is FORWARDED. ``url`` and ``took`` are None if nothing was sent.
    """

    outcome: ForwardOutcome
    reply: Reply
    reason: str | None = None
    order_code: str | None = None
    url: str | None = None
    took: timedelta | None = None


def forward_callback(
    request: Request, headers: Mapping[str, str], gateway: Gateway, credentials: Credentials, to: Destination
) -> ForwardReport:
    """Verify a callback and send it to the service: the same bytes, query and headers.

    If no complete reply arrives in time, the gateway is asked to send the callback again.

    Raises:
        InputError: the URL is not allowed.
    """
    verified = gateway.verify(request, credentials)
    if isinstance(verified, Rejected):
        configured = verified.reason is not RejectReason.NOT_CONFIGURED
        reply = gateway.reply(Answer.BAD_SIGNATURE if configured else Answer.NOT_CONFIGURED)
        return ForwardReport(ForwardOutcome.REFUSED, reply, verified.reason.value)
    order, began = verified.order_ref or None, time.monotonic()
    query = f"?{request.query}" if request.query else ""
    outgoing = HttpRequest(request.method, f"{to.url}{query}", _passed_on(headers), request.body)
    try:
        response = to.send(outgoing, to.timeout)
        reason = "the reply is larger than 64 KiB" if len(response.body) > MAX_BODY_BYTES else None
    except UnavailableError as error:
        response, reason = None, error.message
    took = timedelta(seconds=time.monotonic() - began)
    if response is None or reason:
        return ForwardReport(ForwardOutcome.FAILED, gateway.reply(Answer.TRY_AGAIN), reason, order, to.url, took)
    return ForwardReport(ForwardOutcome.FORWARDED, _reply(response), None, order, to.url, took)


def _passed_on(headers: Mapping[str, str]) -> dict[str, bytes]:
    """Return the headers to send, as the received bytes. HTTP servers decode header bytes as ISO 8859-1."""
    return {
        name: value.encode("iso-8859-1") for name, value in headers.items() if name.lower() not in _OF_THE_CONNECTION
    }


def _reply(response: HttpResponse) -> Reply:
    """Return a response as a reply. The text keeps bytes that are not UTF-8."""
    kind = response.content_type
    headers = {"content-type": kind} if kind and kind.isascii() and kind.isprintable() else {}
    return Reply(response.status, response.body.decode("utf-8", "surrogateescape"), headers)
