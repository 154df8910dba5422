"""Send requests to PayOS, with PayOS's own library (``payos`` on PyPI) and payctl's HTTP client.

The library builds the request. :func:`ticketbottle_payctl.http_client.send` sends the request and sets the limits: one
deadline, a maximum response size, no redirects, and verified TLS. payctl ignores the library's own result, because the
library refuses genuine responses that contain an unknown field. This module's functions return the response's bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import quote

import httpx
from payos import PayOS

from ticketbottle_payctl.errors import PayctlError, UnavailableError
from ticketbottle_payctl.http_client import send
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.providers import mac
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.providers.queries.exchange import HttpRequest, HttpResponse

_ITS_HEADERS = ("x-client-id", "x-api-key", "x-partner-code", "content-type")


@dataclass(frozen=True, slots=True)
class PayosAccount:
    """The base URL and the credentials for requests to PayOS. ``base`` must be an allowed URL, and may have a path."""

    base: str
    credentials: Credentials = field(repr=False)


def payment_link(account: PayosAccount, link: str, timeout: timedelta) -> HttpResponse:
    """Query PayOS for a payment link, and return PayOS's response as bytes. ``timeout`` covers the whole exchange.

    Raises:
        UnavailableError: the connection failed, or no complete response arrived in time.
    """
    return _answer(account, timeout, lambda payos: payos.payment_requests.get(quote(link, safe="")))


def confirm_webhook(account: PayosAccount, url: str, timeout: timedelta) -> HttpResponse:
    """Register the webhook's URL with PayOS. Return PayOS's response as bytes. ``timeout`` covers the whole exchange.

    PayOS sends a test callback to the URL before it answers.

    Raises:
        UnavailableError: the connection failed, or no complete response arrived in time. PayOS may have registered the
            URL.
    """
    return _answer(account, timeout, lambda payos: payos.webhooks.confirm(url))


def _answer(account: PayosAccount, timeout: timedelta, ask: Callable[[PayOS], object]) -> HttpResponse:
    client_id, api_key, checksum_key = (
        mac.texts(account.credentials, name)[0] for name in ("client_id", "api_key", "checksum_key")
    )
    transport = _Transport(timeout)
    with httpx.Client(transport=transport, trust_env=False, follow_redirects=False) as http_client:
        payos = PayOS(
            client_id,
            api_key,
            checksum_key,
            base_url=f"{account.base.rstrip('/')}/",  # without the slash the library drops the last part of a path
            max_retries=0,
            http_client=http_client,
        )
        try:
            ask(payos)
        except PayctlError:
            raise
        except Exception as error:  # noqa: BLE001 - payctl reads the response itself, whatever the library says about it
            log_event(
                "payos_sdk_raised", level="debug", kind=type(error).__name__
            )  # the text of such an error can quote keys and names
    if transport.response is None:  # such an error can quote a header
        message = "no request was sent to PayOS: a key or the address has a character that HTTP does not allow"
        raise UnavailableError(message, hint="check PAYOS_CLIENT_ID and PAYOS_API_KEY")
    return transport.response


class _Transport(httpx.BaseTransport):
    """A transport that sends the library's request with payctl's HTTP client, and stores the unchanged response."""

    def __init__(self, timeout: timedelta) -> None:
        self.timeout = timeout
        self.response: HttpResponse | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers = {name: request.headers[name] for name in _ITS_HEADERS if name in request.headers}
        asked = HttpRequest(request.method, str(request.url), {**headers, "Accept": "application/json"}, request.read())
        self.response = send(asked, self.timeout)
        return httpx.Response(self.response.status, content=self.response.body, request=request)
