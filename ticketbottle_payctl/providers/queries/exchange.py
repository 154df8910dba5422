"""An HTTP request and its response as values, so that a protocol can be read without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta


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


Send = Callable[[HttpRequest, timedelta], HttpResponse]
"""Sends a request and waits at most that long for the whole response; raises UnavailableError if none comes."""
