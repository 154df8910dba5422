"""The one way out over HTTP: one request, one bounded answer, within one deadline. No redirect is followed.

TLS certificates are always verified. Only a loopback address may be asked without TLS.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from datetime import timedelta
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from threading import Event, Timer
from urllib.parse import SplitResult, urlsplit

from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES
from ticketbottle_payctl.errors import InputError, UnavailableError
from ticketbottle_payctl.providers.queries.exchange import HttpRequest, HttpResponse

_AGENT = "payctl"


def send(request: HttpRequest, patience: timedelta) -> HttpResponse:
    """Send the request and read its answer in ``patience``, connecting apart: a slow answer is cut off like none.

    Raises:
        UnavailableError: no connection, a certificate that does not hold, no whole answer in time.
        InputError: the address is not one that may be asked.
    """
    parts = checked_url(request.url)
    seconds = patience.total_seconds()
    connection = _connection(parts, seconds)
    watchdog: Timer | None = None
    late = Event()
    response, problem = None, None
    try:
        connection.connect()
        # The connection forgets its socket as soon as the answer's head has come.
        watchdog = _watchdog(connection.sock, seconds, late)
        response = _asked(connection, request, parts)
    except (OSError, HTTPException, ValueError) as error:
        problem = error
    finally:
        if watchdog is not None:
            watchdog.cancel()
        connection.close()
    if response is None or late.is_set():
        cause = _cause(problem) if problem and not late.is_set() else f"no whole answer within {seconds:g} s"
        message = f"{parts.hostname} does not answer: {cause}"
        raise UnavailableError(message, hint="check the address and the network, then try again") from problem
    return response


def _asked(connection: HTTPConnection, request: HttpRequest, parts: SplitResult) -> HttpResponse:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"User-Agent": _AGENT, "Connection": "close", **request.headers}
    connection.request(request.method, target, request.body or None, headers)
    answer = connection.getresponse()
    return HttpResponse(answer.status, answer.read(MAX_BODY_BYTES + 1))


def checked_url(url: str) -> SplitResult:
    """The parts of an address that may be asked: https, or http on a loopback address, without user or password.

    Raises:
        InputError: it is none. The message does not quote it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc and port != 0
    if not (plain and parts.hostname and parts.scheme in {"https", "http"}):
        message = "the address is no URL of the form https://host/path"
        raise InputError(message, hint="user and password do not belong into it")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        message = f"{parts.hostname} would be asked without encryption"
        raise InputError(message, hint="use https; http is for 127.0.0.1, ::1 and localhost")
    return parts


def is_loopback(host: str) -> bool:
    """Whether this machine is meant: ``localhost``, or an address of the loopback network."""
    if host.casefold() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _connection(parts: SplitResult, seconds: float) -> HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "https":
        return HTTPSConnection(host, parts.port, timeout=seconds, context=ssl.create_default_context())
    return HTTPConnection(host, parts.port, timeout=seconds)


def _watchdog(open_socket: socket.socket, seconds: float, late: Event) -> Timer:
    """What ends a conversation that takes too long; whoever reads at that moment gets an error or the end."""

    def cut() -> None:
        late.set()  # before the cut: whoever reads is awake as soon as it is made
        with suppress(OSError):
            socket.socket.shutdown(open_socket, socket.SHUT_RDWR)

    timer = Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    return timer


def _cause(error: Exception) -> str:
    """What went wrong, in words that quote nothing that was sent or received."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLCertVerificationError():
            return f"its certificate does not hold ({error.verify_message})"
        case ssl.SSLError():
            return "no TLS connection could be made"
        case OSError():
            return error.strerror or type(error).__name__
        case _:
            return "what came back is not HTTP"
