"""A short name for a key. Two people can compare it without showing the key."""

from __future__ import annotations

from hashlib import sha256

from ticketbottle_payctl.secret import Secret

DIGITS = 8
"""The length of a fingerprint in hex digits. Nobody can compute a gateway's key from these 32 bits."""


def fingerprint(key: Secret | bytes) -> str:
    """Return the first eight hex digits of the key's SHA-256. They reveal nothing about the key.

    ``printf %s "$KEY" | sha256sum`` prints the same digits on any machine.
    """
    # The environment gives a key that is not UTF-8 as surrogates.
    value = key.reveal().encode("utf-8", "surrogatepass") if isinstance(key, Secret) else key
    return sha256(value).hexdigest()[:DIGITS]
