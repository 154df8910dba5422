"""An HTTP request that payctl makes, and what came back: values, so that a protocol is read without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Question:
    """A request to be sent. Headers and body may hold a key or a signature and are never shown."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back, whatever it is; at most ``MAX_BODY_BYTES`` and one byte of it were read."""

    status: int
    body: bytes = field(default=b"", repr=False)


Send = Callable[[Question, timedelta], Response]
"""Sends a question and waits for the whole answer that long; raises UnavailableError where there is none."""
