"""Compute and compare hex MACs. Comparisons take constant time and try every key. Only this file uses ``hmac``."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from itertools import product
from typing import Literal

from ticketbottle_payctl.providers.gateway import Credentials

Algorithm = Literal["sha256", "sha512"]
OldHash = Literal["sha256", "md5"]
"""The plain hashes that VNPay used before version 2.1.0. payctl never accepts a callback with such a hash."""


def keys(credentials: Credentials, name: str) -> tuple[bytes, ...]:
    """Return a credential's values as key bytes. Leave out empty values, because anyone can sign with an empty key."""
    return tuple([value.encode("utf-8", "surrogatepass") for value in texts(credentials, name)])


def texts(credentials: Credentials, name: str) -> tuple[str, ...]:
    """Return a credential's values as strings, current value first. Leave out empty values."""
    return tuple(filter(None, [secret.reveal() for secret in credentials.get(name, ())]))


def matches(algorithm: Algorithm, candidates: Iterable[bytes], presented: bytes, *texts: bytes) -> bool:
    """Return whether ``presented`` is the lower-case hex HMAC of one of ``texts``.

    The keys to try are in ``candidates``.

    Every pair is compared, even after a match, so that the time does not reveal which pair matched.
    """
    found = False
    for key, text in product(candidates, texts):
        found |= hmac.compare_digest(_hex(algorithm, key, text), presented)
    return found


def sign(algorithm: Algorithm, credentials: Credentials, name: str, text: str) -> str:
    """Return the lower-case hex HMAC for a request that payctl sends. The credential must have a value."""
    return _hex(algorithm, keys(credentials, name)[0], text.encode()).decode()


def matches_unkeyed(algorithm: OldHash, candidates: Iterable[bytes], presented: bytes, text: bytes) -> bool:
    """Return whether ``presented`` is the plain hash of one of the ``candidates`` followed by ``text``.

    VNPay signed in this way before version 2.1.0. Use this function only to explain a rejection. A plain hash is not
    secure, because anyone who knows one hash can compute the hash of a longer string.
    """
    found = False
    for key in candidates:
        digest = hashlib.new(algorithm, key + text, usedforsecurity=False).hexdigest()
        found |= hmac.compare_digest(digest.encode(), presented)
    return found


def presented(value: object) -> bytes:
    """Convert the received MAC to bytes, because ``compare_digest`` raises an error for text that is not ASCII."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""


def _hex(algorithm: Algorithm, key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, algorithm).hex().encode()
