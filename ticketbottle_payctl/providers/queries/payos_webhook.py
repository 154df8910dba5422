"""What PayOS answers when a webhook's address is entered. The answer is not signed.

Source: payos.vn/docs, "Kiểm tra và thêm hoặc cập nhật Webhook url", and the official payos-lib-python. PayOS calls the
address with a signed test callback, and enters it if that is answered with a 2xx within ten seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from ticketbottle_payctl.errors import UnavailableError
from ticketbottle_payctl.providers import payload
from ticketbottle_payctl.providers.payload import MalformedError
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.providers.queries.payos import DONE
from ticketbottle_payctl.telemetry import redact

_LONGEST = 200
_BUSY = frozenset({408, 425, 429})
_REFUSED = range(400, 500)
_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class Registration:
    """What PayOS decided. ``code`` is its own, or ``HTTP 401``. ``said`` is its words, redacted and cut."""

    entered: bool
    code: str
    said: str = ""


def read(response: HttpResponse, url: str) -> Registration:
    """Read the answer to a request to enter ``url``.

    Raises:
        UnavailableError: PayOS is busy, or its answer is not understood. It may have entered the address.
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
        message = f"PayOS's answer is not understood: HTTP {response.status} without a code"
        raise UnavailableError(message, hint="check PAYCTL_PAYOS_URL if it is set, and look into PayOS's portal")
    entered = data.get("webhookUrl") if isinstance(data, dict) else None
    if entered not in (None, url):
        return Registration(entered=False, code=DONE, said="PayOS names another address than the one that was sent")
    return Registration(entered=True, code=DONE)


def _words(*parts: object) -> str:
    """Return what PayOS says. It is text from outside: it can quote the address, so it is redacted, and it is cut."""
    return redact(": ".join(part for part in parts if isinstance(part, str) and part))[:_LONGEST]
