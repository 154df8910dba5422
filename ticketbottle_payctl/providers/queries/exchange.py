"""Define types for an HTTP request and its response. They let a test check a protocol without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to send. Headers and body can contain a key or a signature and are never shown.

    The text of a header has ASCII characters only. Bytes are sent as they are.
    """

    method: str
    url: str
    headers: Mapping[str, str | bytes] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response of any status. ``body`` has at most ``MAX_BODY_BYTES`` + 1 bytes and is not decoded."""

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = ""
