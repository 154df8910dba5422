"""MACs in hex, compared as bytes, in constant time, against every candidate key.

The only file that touches ``hmac``: whoever wants to know how a signature is compared reads this and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from itertools import product
from typing import Literal

from ticketbottle_payctl.providers.gateway import Credentials

Algorithm = Literal["sha256", "sha512"]


def keys(credentials: Credentials, name: str) -> tuple[bytes, ...]:
    """The usable values of a credential as key bytes. An empty one is left out: anybody can sign with an empty key."""
    return tuple([value.encode("utf-8", "surrogatepass") for value in texts(credentials, name)])


def texts(credentials: Credentials, name: str) -> tuple[str, ...]:
    """The usable values of a credential as text, the current one first."""
    return tuple(filter(None, [secret.reveal() for secret in credentials.get(name, ())]))


def matches(algorithm: Algorithm, candidates: Iterable[bytes], presented: bytes, *texts: bytes) -> bool:
    """Whether ``presented`` is the lower-case hex HMAC of one of the texts under one of the keys.

    Every pair is tried, found or not, so the time taken says nothing about which one it was.
    """
    found = False
    for key, text in product(candidates, texts):
        found |= hmac.compare_digest(_hex(algorithm, key, text), presented)
    return found


def sign(algorithm: Algorithm, credentials: Credentials, name: str, text: str) -> str:
    """The lower-case hex HMAC of a request of ours, under the current value of a credential that is there."""
    return _hex(algorithm, keys(credentials, name)[0], text.encode()).decode()


def matches_unkeyed(algorithm: Algorithm, text: bytes, presented: bytes) -> bool:
    """Whether ``presented`` is the bare hash of ``text``; only to recognise VNPay's signatures of before 2.1.0."""
    return hmac.compare_digest(hashlib.new(algorithm, text).hexdigest().encode(), presented)


def presented(value: object) -> bytes:
    """What the sender gave as its MAC, as bytes: ``compare_digest`` raises on text beyond ASCII. No text, no MAC."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""


def _hex(algorithm: Algorithm, key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, algorithm).hex().encode()
