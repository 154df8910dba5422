"""Compute a short name for a key, so that two people can compare keys without showing them."""

from __future__ import annotations

from hashlib import sha256

from ticketbottle_payctl.secret import Secret

DIGITS = 8
"""The length of a fingerprint in hex digits. Nobody can compute a gateway's key from these 32 bits."""


def fingerprint(key: Secret | bytes) -> str:
    """Return the first eight hex digits of the key's SHA-256 digest. The digits do not reveal the key.

    ``printf %s "$KEY" | sha256sum`` prints the same digits on any machine.
    """
    # If a key in the environment is not UTF-8, Python represents its bytes as surrogates.
    value = key.reveal().encode("utf-8", "surrogatepass") if isinstance(key, Secret) else key
    return sha256(value).hexdigest()[:DIGITS]
