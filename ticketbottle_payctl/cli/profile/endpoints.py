"""Where settings lead, so that two spellings of one place compare equal."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

_POSTGRES, _KAFKA = "5432", "9092"


class Database(NamedTuple):
    """A database as one reaches it; who opens it and with what is left out."""

    host: str
    port: str
    name: str

    def __str__(self) -> str:
        """``host:port/name``."""
        return f"{self.host}:{self.port}/{self.name}"


def database(url: str) -> Database | None:
    """Where ``url`` leads; None where it is no URL. Its parameters come before its parts, as in libpq."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return None
    said = dict(parse_qsl(parts.query))
    host = said.get("host") or parts.hostname or ""
    name = said.get("dbname") or unquote(parts.path.lstrip("/"))
    return Database(host.casefold(), said.get("port") or str(port or _POSTGRES), name) if host and name else None


def brokers(text: str) -> frozenset[str]:
    """Each ``host:port``, in no order."""
    names = (each.strip().casefold() for each in text.split(","))
    return frozenset(name if ":" in name else f"{name}:{_KAFKA}" for name in names if name)
