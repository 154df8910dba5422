"""Make secrets that a search finds even if the searched text contains only part of a secret.

The letters are consonants that are not hexadecimal digits. No id, MAC, instant or English word contains six of these
letters in a row. A search also finds secrets in hexadecimal and base64.
"""

from __future__ import annotations

import base64
import functools
import random

from ticketbottle_payctl.providers import GATEWAYS

IDENTIFIERS = frozenset(
    field.env for gateway in GATEWAYS.values() for field in gateway.fields if field.signs_callbacks and not field.secret
)
"""The variables that contain the merchant's identifiers.

Every callback contains these identifiers, so they are not canaries.
"""

PART = 6
"""A secret counts as seen if an output contains this many consecutive characters of the secret."""

_DIGITS = 8
"""A numeric secret counts as seen if an output contains this many consecutive digits of the secret.

This number is larger than ``PART``, because every instant contains six digits in a row.
"""

_BASE64 = 8
"""A Base64-encoded secret counts as seen if an output contains this many consecutive characters of its encoding."""

_LETTERS = "GHJKMNPQRSTVWXZ" + "ghjkmnpqrstvwxz"


class Canaries:
    """A set of made-up secrets with names. The same seed gives the same secrets."""

    def __init__(self, seed: int = 14) -> None:
        self._random = random.Random(seed)  # noqa: S311 - not for real secrets
        self._values: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self):
        return iter(self._values)

    def letters(self, name: str, length: int = 24) -> str:
        """Create a secret that consists of letters, and return it."""
        return self.add(name, "".join(self._random.choices(_LETTERS, k=length)))

    def number(self, name: str, length: int = 13) -> str:
        """Create a secret that consists of digits, such as an account number, and return it."""
        return self.add(name, "9" + "".join(self._random.choices("0123456789", k=length - 1)))

    def add(self, name: str, value: str) -> str:
        """Add a secret and return it. The search splits the secret at characters such as @ and /."""
        self._values[name] = value
        return value

    def seen_in(self, text: str | bytes, *, only: str = "") -> set[str]:
        """Return the names of the secrets that occur, at least in part, in the text.

        ``only`` is a prefix of the names to consider.
        """
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        shown = shown.casefold()
        found = set()
        for name, value in self._values.items():
            if name.startswith(only) and any(part.casefold() in shown for part in parts(value)):
                found.add(name)
        return found


@functools.cache
def parts(value: str) -> set[str]:
    """Return every part of a secret that counts as seen, in each encoding."""
    length = _DIGITS if value.isdigit() else PART
    plain = {value[at : at + length] for at in range(len(value) - length + 1)}
    plain = {each for each in plain if each.isalnum()}
    encoded = {each.encode().hex() for each in plain}
    for shift in range(3):
        # The characters at the ends also depend on the bytes before and after the secret.
        whole = base64.b64encode(b"." * shift + value.encode()).decode()
        inner = whole[-(-8 * shift // 6) : 8 * (shift + len(value)) // 6]
        encoded |= {inner[at : at + _BASE64] for at in range(len(inner) - _BASE64 + 1)}
    return plain | encoded
