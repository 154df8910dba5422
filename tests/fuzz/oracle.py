"""Check the guarantees that hold for every input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from unicodedata import category

from tests.security.canaries import Canaries
from ticketbottle_payctl.errors import PayctlError

CANARIES = Canaries(seed=17)
KEYS = {
    "ZALOPAY_APP_ID": "2900",
    "ZALOPAY_KEY1": CANARIES.letters("ZALOPAY_KEY1"),
    "ZALOPAY_KEY2": CANARIES.letters("ZALOPAY_KEY2"),
    "PAYOS_CLIENT_ID": "fuzz-client",
    "PAYOS_API_KEY": CANARIES.letters("PAYOS_API_KEY"),
    "PAYOS_CHECKSUM_KEY": CANARIES.letters("PAYOS_CHECKSUM_KEY"),
    "VNPAY_TMN_CODE": "TBTEST01",
    "VNPAY_HASH_SECRET": CANARIES.letters("VNPAY_HASH_SECRET"),
    "MOMO_PARTNER_CODE": "TBMOMO",
    "MOMO_ACCESS_KEY": CANARIES.letters("MOMO_ACCESS_KEY"),
    "MOMO_SECRET_KEY": CANARIES.letters("MOMO_SECRET_KEY"),
}
"""A merchant's settings for all gateways. Each secret value is a canary."""

PASSWORD = CANARIES.letters("PASSWORD", 18)
"""The password in the webhook function's DATABASE_URL. No input contains it."""

SECRET = CANARIES.letters("SECRET", 18)
"""A secret that inputs can contain. The secret is one of each target's words, so the fuzzer can put it anywhere."""

_LIKE_A_CANARY = re.compile("[GHJKMNPQRSTVWXZghjkmnpqrstvwxz]{6}")
OWN_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""A pattern for the escape sequences with which payctl colours a word."""

_NEVER_SHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@contextmanager
def only(*kinds: type[Exception]) -> Iterator[None]:
    """Run the ``with`` block and suppress these errors.

    Assert that the text of a suppressed error contains no secret.
    """
    try:
        yield
    except kinds as error:
        keeps_secrets(text_of(error))


def text_of(error: Exception) -> str:
    """Return the text that a user sees for an error, including the hint."""
    hint = error.hint if isinstance(error, PayctlError) else ""
    return f"{error} {hint}"


def keeps_secrets(text: str, *, given: str = "") -> None:
    """Assert that the text does not contain even part of a canary. Ignore canaries that ``given`` contains in part."""
    if _LIKE_A_CANARY.search(text):
        assert not CANARIES.seen_in(text) - CANARIES.seen_in(given), text


def is_harmless(text: str, *, colour: bool = False, tabs: bool = False) -> None:
    """Assert that the text contains no control characters except line ends, and colours or tabs where allowed."""
    shown = OWN_COLOUR.sub("", text) if colour else text
    if shown.isascii() and shown.replace("\n", "").replace("\t" if tabs else "", "").isprintable():
        return
    allowed = "\n\t" if tabs else "\n"
    found = {character for character in shown if category(character) in _NEVER_SHOWN and character not in allowed}
    assert not found, ascii(sorted(found))


def is_text(text: str) -> None:
    """Assert that PostgreSQL can store this string."""
    assert "\0" not in text
    text.encode()
