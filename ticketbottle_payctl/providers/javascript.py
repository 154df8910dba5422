"""Print values in the same way as JavaScript.

PayOS signs the text that its Node.js server prints. Therefore JavaScript's rules are part of the protocol.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from math import inf, isinf

from ticketbottle_payctl.providers.payload import MalformedError, Real

MAX_SAFE_INTEGER = 2**53 - 1
_MAX_ARRAY_INDEX = 2**32 - 2
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_POSITIONAL_DIGITS = 21
_LEADING_ZEROS = -6
_MAX_DEPTH = 32


def number_text(value: int | Real) -> str:
    """Return the same string as JavaScript's ``String(value)``: the shortest digits that represent the same double.

    Raises:
        MalformedError: the number is outside the range of a double.
    """
    if isinstance(value, int) and abs(value) <= MAX_SAFE_INTEGER:
        return str(value)
    try:
        number = float(value.text if isinstance(value, Real) else value)
    except OverflowError:
        number = inf
    if isinf(number):
        detail = "a number is out of range"
        raise MalformedError(detail)
    if number == 0:
        return "0"
    return ("-" if number < 0 else "") + _positive(abs(number))


def _positive(number: float) -> str:
    # repr gives the same shortest round-trip digits as JavaScript. Only the layout differs.
    _, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    if len(text) <= point <= _POSITIONAL_DIGITS:
        return text + "0" * (point - len(text))
    if 0 < point <= _POSITIONAL_DIGITS:
        return f"{text[:point]}.{text[point:]}"
    if _LEADING_ZEROS < point <= 0:
        return "0." + "0" * -point + text
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{text[0]}{fraction}e{point - 1:+d}"


def sorted_names(names: list[str]) -> list[str]:
    """Return ``names`` in the key order of a JavaScript object: array indexes first, then the other names, sorted."""
    letters = "".join(names)
    if letters.isascii():
        return sorted(names) if letters.isalpha() else _listed(sorted(names))
    return _listed(sorted(names, key=lambda name: name.encode("utf-16-be", "surrogatepass")))


def _listed(names: list[str]) -> list[str]:
    indexes = {name for name in names if name[:1].isdigit() and _is_index(name)}
    return [*sorted(indexes, key=int), *(name for name in names if name not in indexes)] if indexes else names


def _is_index(name: str) -> bool:
    return _INDEX.fullmatch(name) is not None and int(name) <= _MAX_ARRAY_INDEX


def utf16_units(text: str) -> list[str]:
    """Return the UTF-16 code units of a string. A character above U+FFFF has two code units."""
    encoded = text.encode("utf-16-le", "surrogatepass")
    return [chr(int.from_bytes(encoded[place : place + 2], "little")) for place in range(0, len(encoded), 2)]


def stringify(value: object, depth: int = 0) -> str:
    """Return the same string as JavaScript's ``JSON.stringify(value)``.

    Raises:
        MalformedError: the value is nested too deeply.
    """
    if depth > _MAX_DEPTH:
        detail = "nested too deep"
        raise MalformedError(detail)
    if isinstance(value, dict):
        members = (
            f"{json.dumps(n, ensure_ascii=False)}:{stringify(value[n], depth + 1)}" for n in _listed(list(value))
        )
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(stringify(item, depth + 1) for item in value) + "]"
    if isinstance(value, Real) or (isinstance(value, int) and not isinstance(value, bool)):
        return number_text(value)
    # A lone surrogate is escaped, because ECMAScript's well-formed JSON.stringify does this.
    return _HALF_PAIR.sub(lambda half: f"\\u{ord(half[0]):04x}", json.dumps(value, ensure_ascii=False))
