"""An HTTP request and its response as values, so that a protocol can be read without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to send. Headers and body can hold a key or a signature and are never shown."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response of any status. ``body`` holds at most ``MAX_BODY_BYTES`` + 1 bytes of it, undecoded."""

    status: int
    body: bytes = field(default=b"", repr=False)
