"""Mask everything that looks like a secret, in log lines and in other output.

payctl's code does not log secrets. As a second line of defence, this module masks registered values, passwords in
connection URLs, MACs (64 or 128 hexadecimal digits), card numbers, and fields whose names indicate a secret.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from datetime import datetime
from itertools import groupby
from urllib.parse import quote, unquote

from ticketbottle_payctl.formats import rfc3339
from ticketbottle_payctl.secret import Secret

HIDDEN = "***"
_SHORTEST_REGISTERED = 6

# The time that a pattern takes grows linearly with the text's length. A scheme, a card number and a MAC have a maximum
# length, and the last @ of a word is found without backtracking.
_WORD = re.compile(r"[^\s\"']+")
_USER_IN_URL = re.compile(r"[a-z][a-z0-9+.-]{0,30}://[^:/@]{0,255}:", re.IGNORECASE)
_NAMED = re.compile(
    r"((?:(?:passw(?:or)?d|secret|token|signature|secure_?hash|mac|checksum_?key|account_?number)[\"']?\s*[:=]"
    r"|(?:(?:secret|api|access|private|hash)_?key|key[12])\s*=)\s*[\"']?)"
    r"[^\s\"',;&}]+",
    re.IGNORECASE,
)
_MAC = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{128}|[0-9a-f]{64})(?![0-9a-f])", re.IGNORECASE)
_CARD = re.compile(r"(?<![\w-])(?:\d{13,19}|\d{4}(?:[ -]\d{4}){2,3}[ -]\d{1,7})(?![\w-])", re.ASCII)
_SECRET_FIELD = re.compile(
    r"passw(?:or)?d|secret|token|authorization|signature|secure_?hash|(?:^|_)mac$|(?:^|_)dsn$|database_url"
    r"|(?:api|access|checksum|private|hash)_?key|^key[12]?$|account_?number|card_?number|^(?:body|query|payload)$",
    re.IGNORECASE,
)
_IDENTIFIER_FIELD = re.compile(r"(?:^|_)(?:id|code|ref|reference)$")

_registered: set[str] = set()
_known_values: re.Pattern[str] | None = None


def register(secret: Secret) -> None:
    """Redact this secret in all later output, even if it is URL-encoded there.

    Secrets with fewer than six characters are not redacted, because they also occur in ordinary words.
    """
    global _known_values  # noqa: PLW0603 - one process, one set of secrets
    value = secret.reveal()
    spellings = {value, quote(value, safe="", errors="surrogatepass"), unquote(value)}
    fresh = {text for text in spellings if len(text) >= _SHORTEST_REGISTERED} - _registered
    if fresh:
        _registered.update(fresh)
        longest_first = sorted(_registered, key=len, reverse=True)
        _known_values = re.compile("|".join(re.escape(text) for text in longest_first))


def redact(text: str) -> str:
    """Mask everything in ``text`` that looks like a secret. Valid card numbers count as secrets."""
    return _CARD.sub(_hide_card, _redact_secrets(text))


def redact_echo(text: str) -> str:
    """Redact a short text from a system that knows payctl's secrets. This function is stricter than :func:`redact`.

    This function also redacts parts of registered secrets with six or more characters, because a gateway may quote half
    a key.
    """
    length = _SHORTEST_REGISTERED
    known = {value[at : at + length] for value in _registered for at in range(len(value) - length + 1)}
    starts = [at for at in range(len(text) - length + 1) if text[at : at + length] in known]
    hidden = {at + step for at in starts for step in range(length)}
    pieces = groupby(range(len(text)), key=hidden.__contains__)
    return redact("".join(HIDDEN if blank else "".join(text[at] for at in places) for blank, places in pieces))


def redact_field(name: str, value: object) -> object:
    """Return the field's value with its secrets masked. A field whose name indicates a secret is masked as a whole."""
    if _SECRET_FIELD.search(name):
        return HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): redact_field(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_field(name, inner) for inner in value]
    text = rfc3339(value) if isinstance(value, datetime) else str(value)
    return _redact_secrets(text) if _IDENTIFIER_FIELD.search(name) else redact(text)


def redacted_traceback(error: BaseException) -> str:
    """Return the error's traceback, with secrets redacted."""
    return redact("".join(traceback.format_exception(error)))


def _redact_secrets(text: str) -> str:
    if _known_values is not None:
        text = _known_values.sub(HIDDEN, text)
    if "://" in text:
        text = _WORD.sub(_hide_password, text)
    return _MAC.sub(HIDDEN, _NAMED.sub(rf"\1{HIDDEN}", text))


def _hide_password(found: re.Match[str]) -> str:
    """Mask the password of a URL in a word. The password is everything between the user and the last @."""
    word = found[0]
    end = word.rfind("@")
    user = _USER_IN_URL.search(word, 0, end) if end > 0 else None
    return word if user is None else f"{word[: user.end()]}{HIDDEN}{word[end:]}"


def _hide_card(found: re.Match[str]) -> str:
    return HIDDEN if _passes_luhn([int(digit) for digit in found[0] if digit.isdigit()]) else found[0]


def _passes_luhn(digits: list[int]) -> bool:
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
