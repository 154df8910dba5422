"""Define the types for an HTTP request and its response.

With these types, tests can check a gateway's protocol without a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to send. Its headers and body may contain a key or a signature, so they are never printed.

    A header's value is an ASCII string, or bytes that are sent unchanged.
    """

    method: str
    url: str
    headers: Mapping[str, str | bytes] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response with any status. ``body`` has at most ``MAX_BODY_BYTES`` + 1 bytes and is not decoded."""

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = ""
