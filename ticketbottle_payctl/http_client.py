"""Send one HTTP request with httpx. The response size and the total time are limited.

The client does not follow redirects, does not use proxies or cookies, and always verifies TLS certificates. Only
requests to a loopback address are allowed without TLS.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache
from typing import Any

import httpx

from ticketbottle_payctl import __version__
from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES
from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.http_address import checked_url
from ticketbottle_payctl.providers.queries.exchange import HttpRequest, HttpResponse

_HEADERS = {"User-Agent": f"payctl/{__version__}", "Accept-Encoding": "identity", "Connection": "close"}


def send(request: HttpRequest, timeout: timedelta) -> HttpResponse:
    """Send ``request`` and return its response.

    ``timeout`` covers the whole exchange: connection, TLS, request, and the last byte of the response. Only the DNS
    lookup can take longer, because the system's resolver cannot be interrupted. Errors never contain anything that was
    sent or received.

    Raises:
        InputError: the URL is not allowed. :func:`checked_url` defines which URLs are allowed.
        UnavailableError: the connection failed, the certificate is not trusted, or no complete response arrived in
            time.
    """
    host = checked_url(request.url).hostname
    seconds = timeout.total_seconds()
    problem: Exception | None = None
    try:
        return asyncio.run(_exchange(request, seconds))
    except (TimeoutError, httpx.TimeoutException):
        cause = f"no complete response within {seconds:g} s"
    except (ValueError, httpx.InvalidURL, httpx.LocalProtocolError):  # the text of such an error can quote a header
        cause = "the URL or a header has a character that HTTP does not allow"
    except httpx.TransportError as error:
        cause, problem = _cause(error), error
    message = f"no response from {host}: {cause}"
    raise UnavailableError(message, hint="check the address and the network, then try again") from problem


async def _exchange(request: HttpRequest, seconds: float) -> HttpResponse:
    connections = []
    headers = httpx.Headers(_HEADERS)
    headers.update([(name.encode("ascii"), _bytes(value)) for name, value in request.headers.items()])

    async def on_event(name: str, details: Mapping[str, Any]) -> None:
        if name == "connection.connect_tcp.complete":
            connections.append(details["return_value"])

    try:
        # httpx's own timeout applies to each operation. If a server sent one byte now and then, this timeout would
        # never expire.
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(verify=_trust(request.url), trust_env=False, timeout=seconds) as client,
            client.stream(
                request.method,
                request.url,
                headers=headers,
                content=request.body or None,
                follow_redirects=False,
                extensions={"trace": on_event},
            ) as response,
        ):
            body = b""
            async for part in response.aiter_raw():
                body += part
                if len(body) > MAX_BODY_BYTES:
                    break
            content_type = response.headers.get("content-type", "")
            return HttpResponse(response.status_code, body[: MAX_BODY_BYTES + 1], content_type)
    finally:
        for connection in connections:  # httpcore leaves the socket open if the deadline interrupts the TLS handshake
            await connection.aclose()


def _trust(url: str) -> ssl.SSLContext:
    """Return the context that verifies the server's certificate. For plain HTTP, this context trusts no authority."""
    if not url.lower().startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return _system_trust(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _system_trust(_file: str | None, _directory: str | None) -> ssl.SSLContext:
    """Return a context with the system's authorities. Reading them takes 40 ms of processor time.

    The arguments are the environment variables that name other authorities.
    """
    return ssl.create_default_context()


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("ascii")


def _cause(error: httpx.TransportError) -> str:
    """Describe the cause of the failure, without quoting anything that was sent or received."""
    for each in _chain(error):
        match each:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted ({each.verify_message})"
            case ssl.SSLError():
                return "the TLS handshake failed"
            case OSError(errno=int(number), strerror=str(reason)):
                return os.strerror(number) if number > 0 else reason  # asyncio puts the address into the reason
    if isinstance(error, httpx.ProtocolError):
        return "the server did not send a complete HTTP response"
    return "the connection failed"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes, outermost error first. httpx and anyio wrap the operating system's error."""
    while error is not None:
        yield error
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__
