"""Names of places, for people: where a database is, without what opens it."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from ticketbottle_payctl.settings import DatabaseSettings


def database(settings: DatabaseSettings) -> str:
    """``host:port/name``; no user, no password, no parameters."""
    parts = urlsplit(settings.url.reveal())
    place = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
    return f"{place}/{unquote(parts.path.lstrip('/'))}"
