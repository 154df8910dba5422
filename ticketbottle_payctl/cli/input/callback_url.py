"""Check the URL of the service to send a callback to."""

from __future__ import annotations

from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.formats import cut
from ticketbottle_payctl.http_address import checked_url, is_loopback
from ticketbottle_payctl.providers.gateway import Gateway

_SCHEMES = ("http://", "https://")
_LONGEST = 60


def callback_url(url: str, gateway: Gateway, *, option: str, allow_remote: bool) -> str:
    """Return the URL to send a gateway's callback to. Add the webhook's usual path if the URL has no path.

    Raises:
        InputError: the value is not an http or https URL, has a query, or names another machine without --allow-remote.
    """
    if not url.casefold().startswith(_SCHEMES):
        shown = "" if "@" in url else f", not {cut(url, _LONGEST)}"  # the text before @ may be a password
        message = f"{option} must be a URL that begins with http:// or https://{shown}"
        raise InputError(message, hint=f"give a URL such as {option} http://127.0.0.1:3000")
    parts = checked_url(url)
    if parts.query or parts.fragment:
        message = f"{option} must not have a query: the callback adds its own"
        raise InputError(message)
    if not (allow_remote or is_loopback(parts.hostname or "")):
        message = f"{parts.hostname} is another machine"
        raise InputError(message, hint="add --allow-remote to send it a signed callback")
    return url.rstrip("/") + ("" if parts.path.strip("/") else f"/webhook/{gateway.name}")
