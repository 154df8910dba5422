"""Read PayOS's response to a request to register a webhook URL. The response is not signed.

Source: payos.vn/docs, "Kiểm tra và thêm hoặc cập nhật Webhook url", and the official payos-lib-python. PayOS calls the
URL with a signed test callback. PayOS registers the URL if it gets a 2xx reply within ten seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.providers import payload
from ticketbottle_payctl.providers.payload import MalformedError
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.providers.queries.payos import DONE
from ticketbottle_payctl.redaction import redact_echo

_LONGEST = 200
_BUSY = frozenset({408, 425, 429})
_REFUSED = range(400, 500)
_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class Registration:
    """PayOS's decision about a webhook URL.

    ``entered`` is True if PayOS has registered the URL. ``code`` is PayOS's code, or a string such as ``HTTP 401``.
    ``said`` is PayOS's message, redacted and shortened.
    """

    entered: bool
    code: str
    said: str = ""


def read(response: HttpResponse, url: str) -> Registration:
    """Read the response to the request to register ``url``.

    Raises:
        UnavailableError: PayOS is busy, or payctl cannot read the response. PayOS may have registered the URL.
    """
    if response.status in _BUSY or response.status >= _REFUSED.stop:
        message = f"PayOS is busy: it answered HTTP {response.status}"
        raise UnavailableError(message, hint="try again in a minute")
    try:
        envelope = payload.read_body(response.body)
    except MalformedError:
        envelope = {}
    code, data = envelope.get("code"), envelope.get("data")
    if isinstance(code, str) and code != DONE:
        return Registration(entered=False, code=_words(code), said=_words(envelope.get("desc"), data))
    if response.status in _REFUSED:
        return Registration(entered=False, code=f"HTTP {response.status}", said=_words(envelope.get("desc")))
    if response.status not in _SUCCESS or code != DONE:
        message = f"payctl cannot read PayOS's response: HTTP {response.status} without a code"
        raise UnavailableError(message, hint="check PAYCTL_PAYOS_URL if it is set, and look in PayOS's portal")
    entered = data.get("webhookUrl") if isinstance(data, dict) else None
    if entered not in (None, url):
        return Registration(entered=False, code=DONE, said="PayOS returned a different URL from the one that was sent")
    return Registration(entered=True, code=DONE)


def _words(*parts: object) -> str:
    """Return PayOS's message, shortened and redacted. The message may contain the URL, the key, or part of the key."""
    said = ": ".join(part for part in parts if isinstance(part, str) and part)
    return redact_echo(said[: 2 * _LONGEST])[:_LONGEST]
