"""Check the URL of a service that a callback is sent to."""

from __future__ import annotations

from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.http_address import checked_url, is_loopback
from ticketbottle_payctl.providers.gateway import Gateway


def callback_url(url: str, gateway: Gateway, *, option: str, allow_remote: bool) -> str:
    """Return the URL to send a gateway's callback to. A URL without a path gets the webhook's usual one.

    Raises:
        InputError: the value is not a URL, has a query, or is on another machine without --allow-remote.
    """
    parts = checked_url(url)
    if parts.query or parts.fragment:
        message = f"{option} must not have a query: the callback adds its own"
        raise InputError(message)
    if not (allow_remote or is_loopback(parts.hostname or "")):
        message = f"{parts.hostname} is another machine"
        raise InputError(message, hint="add --allow-remote to send it a signed callback")
    return url.rstrip("/") + ("" if parts.path.strip("/") else f"/webhook/{gateway.name}")
