"""Try the neighbours of a signature that does not match: another key, another text, another spelling of the MAC."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping

from ticketbottle_payctl.providers import mac
from ticketbottle_payctl.providers.explain.model import Hint, Reading
from ticketbottle_payctl.providers.explain.transport import texts_before
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.secret import Secret


def search(reading: Reading, credentials: Credentials, others: Mapping[str, tuple[Secret, ...]]) -> Iterator[Hint]:
    """Every neighbour that matches."""
    keys = mac.keys(credentials, reading.key_name)
    yield from _other_texts(reading, keys)
    yield from _other_keys(reading, credentials, others)
    yield from _other_spellings(reading, keys)


def holds(reading: Reading, credentials: Credentials) -> bool:
    """Whether the signature itself is right."""
    return _matches(reading, mac.keys(credentials, reading.key_name))


def _other_texts(reading: Reading, keys: tuple[bytes, ...]) -> Iterator[Hint]:
    for variant in reading.variants:
        if variant.text != reading.text and _matches(reading, keys, text=variant.text):
            yield variant.hint
    for hint, text in texts_before(reading.text.decode("utf-8", "surrogatepass")):
        if _matches(reading, keys, text=text.encode("utf-8", "surrogatepass")):
            yield hint
    if reading.algorithm == "sha512":
        yield from _older_algorithms(reading, keys)


def _older_algorithms(reading: Reading, keys: tuple[bytes, ...]) -> Iterator[Hint]:
    if mac.matches("sha256", keys, reading.presented, reading.text):
        yield Hint("algorithm", "would match under HMAC-SHA256: version 2.1.0 is signed with HMAC-SHA512")
    if any([mac.matches_unkeyed("sha256", key + reading.text, reading.presented) for key in keys]):  # noqa: C419
        yield Hint("algorithm", "would match as SHA-256 of secret and text: that is version 2.0, before 2.1.0")


def _other_keys(reading: Reading, credentials: Credentials, others: Mapping[str, tuple[Secret, ...]]) -> Iterator[Hint]:
    own = reading.key_name
    for key in mac.keys(credentials, own):
        trimmed = key.strip().strip(b"\"'")
        if trimmed != key and trimmed and _matches(reading, (trimmed,)):
            yield Hint("key_spaces", f"would match if the configured {own} had no white space or quotes around it")
    for name in credentials:
        if name != own and _matches(reading, mac.keys(credentials, name)):
            text = f"would match under {name}; callbacks are signed with {own}. Are the two swapped?"
            yield Hint("other_key", text)
    for label in others:
        if _matches(reading, mac.keys(others, label)):
            yield Hint("other_key", f"would match under {label}: the key or the profile is another one's")


def _other_spellings(reading: Reading, keys: tuple[bytes, ...]) -> Iterator[Hint]:
    given = reading.presented
    if not given:
        yield Hint("no_signature", "there is no signature in the request, or it is not a text")
    if given.lower() != given and _matches(reading, keys, presented=given.lower()):
        yield Hint("upper_case", "would match if the hex digits were in lower case, as the gateway sends them")
    if given.strip() != given and _matches(reading, keys, presented=given.strip()):
        yield Hint("signature_spaces", "would match if the signature had no white space around it")
    try:
        digest = base64.b64decode(given, validate=True).hex().encode()
    except binascii.Error:
        return
    if _matches(reading, keys, presented=digest):
        yield Hint("signature_base64", "would match if the signature were in hex; it arrived in base64")


def _matches(
    reading: Reading, keys: tuple[bytes, ...], *, text: bytes | None = None, presented: bytes | None = None
) -> bool:
    given = reading.presented if presented is None else presented
    return mac.matches(reading.algorithm, keys, given, reading.text if text is None else text)
