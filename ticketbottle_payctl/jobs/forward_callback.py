"""Forward a genuine callback unchanged to another service, and return that service's reply.

payctl does not settle the payment, and forwards only genuine callbacks.
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
"""Headers that apply only to the connection between the gateway and payctl. payctl does not forward them."""


class ForwardOutcome(StrEnum):
    """The outcome of forwarding a callback.

    FORWARDED: the service replied. REFUSED: the callback is not genuine. FAILED: no complete reply arrived in time.
    """

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
    """The result of forwarding one callback. ``reply`` is the reply to the gateway.

    If the outcome is FORWARDED, ``reply`` is the service's own reply. ``url`` and ``took`` are None if nothing was
    sent.
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
    """Verify a callback, and send it to the service with the same bytes, query and headers.

    If no complete reply arrives in time, the returned reply asks the gateway to send the callback again.

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
    """Return the headers to forward.

    HTTP servers decode header bytes as ISO 8859-1, so this encoding restores the received bytes.
    """
    return {
        name: value.encode("iso-8859-1") for name, value in headers.items() if name.lower() not in _OF_THE_CONNECTION
    }


def _reply(response: HttpResponse) -> Reply:
    """Convert the service's response to a reply. Keep bytes that are not valid UTF-8."""
    kind = response.content_type
    headers = {"content-type": kind} if kind and kind.isascii() and kind.isprintable() else {}
    return Reply(response.status, response.body.decode("utf-8", "surrogateescape"), headers)
