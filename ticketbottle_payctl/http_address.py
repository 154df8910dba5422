"""Check a URL before payctl sends a request to it. This module does not load an HTTP library."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from ticketbottle_payctl.errors import InputError


def checked_url(url: str) -> SplitResult:
    """Return the parts of an https URL, or of an http URL with a loopback host.

    Raises:
        InputError: the URL is not allowed, or contains a user or a password. The message does not contain the URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc and port != 0
    if not (plain and parts.hostname and parts.scheme in {"https", "http"}):
        message = "the value is not a URL like https://host/path"
        raise InputError(message, hint="remove the user and password from the URL, if it has any")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        message = f"a request to {parts.hostname} would not be encrypted"
        raise InputError(message, hint="use https; http is for 127.0.0.1, ::1 and localhost")
    return parts


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is this machine: ``localhost``, or an address in the loopback network."""
    if host.casefold() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
