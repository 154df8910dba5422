"""Compute a fingerprint of a key. Two people can compare fingerprints without showing each other their keys."""

from __future__ import annotations

from hashlib import sha256

from ticketbottle_payctl.secret import Secret

DIGITS = 8
"""The number of hex digits in a fingerprint. A gateway's key cannot be computed from these 32 bits."""


def fingerprint(key: Secret | bytes) -> str:
    """Return the first eight hex digits of the key's SHA-256 hash. The digits do not reveal the key.

    On any machine, the output of ``printf %s "$KEY" | sha256sum`` begins with the same digits.
    """
    # If a key in the environment is not UTF-8, Python represents its bytes as surrogates.
    value = key.reveal().encode("utf-8", "surrogatepass") if isinstance(key, Secret) else key
    return sha256(value).hexdigest()[:DIGITS]
