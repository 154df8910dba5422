"""Search for a change that makes a signature valid: a different key, signed text or spelling of the MAC."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Final

from ticketbottle_payctl.providers import mac
from ticketbottle_payctl.providers.explain.model import Hint, Reading
from ticketbottle_payctl.providers.explain.transport import texts_before
from ticketbottle_payctl.providers.gateway import Credentials, Gateway
from ticketbottle_payctl.secret import Secret

_OLD_HASHES: Final[tuple[tuple[mac.OldHash, str], ...]] = (("sha256", "SHA256"), ("md5", "MD5"))


def search(
    reading: Reading, gateway: Gateway, credentials: Credentials, others: Mapping[str, tuple[Secret, ...]]
) -> Iterator[Hint]:
    """Yield a hint for each change that makes the signature valid."""
    keys = mac.keys(credentials, reading.key_name)
    yield from _other_texts(reading, keys)
    yield from _other_keys(reading, gateway, credentials, others)
    yield from _other_spellings(reading, keys)


def _other_texts(reading: Reading, keys: tuple[bytes, ...]) -> Iterator[Hint]:
    for variant in reading.variants:
        if variant.text != reading.text and _matches(reading, keys, text=variant.text):
            yield variant.hint
    for hint, text in texts_before(reading.text.decode("utf-8", "surrogatepass")):
        if _matches(reading, keys, text=text.encode("utf-8", "surrogatepass")):
            yield hint
    yield from _older_algorithms(reading, keys)


def _older_algorithms(reading: Reading, keys: tuple[bytes, ...]) -> Iterator[Hint]:
    """Yield a hint if VNPay signed with the rules of a version before 2.1.0. payctl never accepts such a signature."""
    advice = "payctl accepts only version 2.1.0 (HMAC-SHA512): ask VNPAY to change the terminal"
    texts = reading.older_texts
    if any([mac.matches("sha256", keys, reading.presented, text) for text in texts]):  # noqa: C419 - tries every text
        yield Hint("algorithm", f"would match under HMAC-SHA256; {advice}")
    for algorithm, name in _OLD_HASHES:
        if any([mac.matches_unkeyed(algorithm, keys, reading.presented, text) for text in texts]):  # noqa: C419
            yield Hint(
                "algorithm", f"would match as {name} of the hash secret and the text, as in version 2.0; {advice}"
            )


def _other_keys(
    reading: Reading, gateway: Gateway, credentials: Credentials, others: Mapping[str, tuple[Secret, ...]]
) -> Iterator[Hint]:
    variables = {field.name: field.env for field in gateway.fields}
    own = variables[reading.key_name]
    for key in mac.keys(credentials, reading.key_name):
        trimmed = key.strip().strip(b"\"'")
        if trimmed != key and trimmed and _matches(reading, (trimmed,)):
            yield Hint("key_spaces", f"would match if {own} had no white space or quotes around it")
    for signer in reading.signers:
        if _matches(reading, (signer.key,), text=signer.text):
            yield signer.hint
    swapped = [
        variables[name]
        for name in credentials
        if name != reading.key_name and _matches(reading, mac.keys(credentials, name))
    ]
    foreign = [label for label in others if _matches(reading, mac.keys(others, label))]
    if swapped:
        yield Hint("other_key", f"would match under {' or '.join(swapped)} instead of {own}: are the two swapped?")
    elif foreign:
        question = "does the key belong to another gateway or profile?"
        yield Hint("other_key", f"would match under {' or '.join(foreign)} instead of {own}: {question}")


def _other_spellings(reading: Reading, keys: tuple[bytes, ...]) -> Iterator[Hint]:
    given = reading.presented
    if not given:
        yield Hint("no_signature", "the request has no signature, or the signature is not a string")
    if given.lower() != given and _matches(reading, keys, presented=given.lower()):
        yield Hint("upper_case", "would match if the hex digits were in lower case, as the gateway sends them")
    if given.strip() != given and _matches(reading, keys, presented=given.strip()):
        yield Hint("signature_spaces", "would match if the signature had no white space around it")
    try:
        digest = base64.b64decode(given, validate=True).hex().encode()
    except binascii.Error:
        return
    if _matches(reading, keys, presented=digest):
        yield Hint("signature_base64", "would match if the signature was in hex; it arrived in base64")


def _matches(
    reading: Reading, keys: tuple[bytes, ...], *, text: bytes | None = None, presented: bytes | None = None
) -> bool:
    given = reading.presented if presented is None else presented
    return mac.matches(reading.algorithm, keys, given, reading.text if text is None else text)
