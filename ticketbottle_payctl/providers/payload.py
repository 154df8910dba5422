"""Read untrusted input strictly, within size limits, and without losing digits.

Every problem raises :class:`MalformedError` with a constant message. An integer becomes an ``int`` of any length. Any
other number becomes a :class:`Real`, which keeps the received characters. Amounts and ids are never converted to
floats.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from math import isinf
from typing import NoReturn
from urllib.parse import unquote_plus

from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES

MAX_AMOUNT = 10**15
"""The largest accepted amount in VND, far above any real payment.

Every programming language can represent this number exactly.
"""

_DIGITS = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class MalformedError(Exception):
    """The content does not match the gateway's documentation. ``detail`` never contains received content."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Real:
    """A JSON number with a fraction or an exponent. ``text`` contains the received characters."""

    text: str


def read_body(body: bytes) -> dict[str, object]:
    """Return the JSON object in a request body.

    Raises:
        MalformedError: the body is larger than ``MAX_BODY_BYTES``, is not UTF-8, or is refused by :func:`read_object`.
    """
    if len(body) > MAX_BODY_BYTES:
        _malformed("the body is too large")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        _malformed("the body is not UTF-8")
    return read_object(text)


def read_object(text: str) -> dict[str, object]:
    """Return the JSON object in ``text``.

    Refuse NaN, Infinity, numbers outside the range of a double, numbers with thousands of digits, and lone surrogates.

    Raises:
        MalformedError: the text is not a JSON object, is nested too deeply, repeats a name within one object, or
            contains a refused value.
    """
    try:
        value: object = _DECODER.decode(text)
    except (ValueError, RecursionError):
        _malformed("not a JSON document that payctl can read")
    if not isinstance(value, dict):
        _malformed("not a JSON object")
    # Text decoded from UTF-8 has no surrogates. Only an escape sequence can contain one.
    if "\\u" in text and _has_lone_surrogate(value):
        _malformed("a string contains half of a surrogate pair")
    return value


def read_whatever(body: bytes) -> tuple[dict[str, object], MalformedError | None]:
    """Return the JSON object in a body, and the error if :func:`read_body` refuses the body.

    A refused body is read by :func:`read_leniently`, so that the caller can still check the signature. payctl never
    settles a payment from such content.
    """
    try:
        return read_body(body), None
    except MalformedError as error:
        return read_leniently(body), error


def read_leniently(body: bytes) -> dict[str, object]:
    """Return the JSON object that JavaScript's ``JSON.parse`` would read from a body, or an empty object.

    If a name occurs twice, the last value counts.
    """
    if len(body) > MAX_BODY_BYTES:
        return {}
    try:
        value: object = _LENIENT.decode(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError, MalformedError):
        return {}
    return value if isinstance(value, dict) else {}


def has_fields(body: bytes, *names: str) -> bool:
    """Return whether a body is a JSON object that has all these names. Return False for malformed input."""
    try:
        return read_body(body).keys() >= set(names)
    except MalformedError:
        return False


def has_parameters(query: str, *names: str) -> bool:
    """Return whether a query string has parameters with all these names. Text in a parameter's value does not count."""
    return {unquote_plus(pair.partition("=")[0]) for pair in query.split("&")} >= set(names)


def text_of(fields: dict[str, object], name: str) -> str:
    """Return the text of a required field.

    Raises:
        MalformedError: the value is not a string, is empty, or contains a control character. PostgreSQL cannot store
            NUL.
    """
    value = fields.get(name)
    if not isinstance(value, str) or not value or _CONTROL.search(value):
        _malformed(f"{name} is missing or not a usable string")
    return value


def printable(value: object) -> str:
    """Return ``value`` if it is a printable string of at most 100 characters. Otherwise return an empty string."""
    usable = isinstance(value, str) and len(value) <= MAX_REFERENCE and value.isprintable()
    return value if usable and isinstance(value, str) else ""


def whole_number(value: object) -> int | None:
    """Return the value of a JSON number as an integer, or None if it is not whole. ``4.5e5`` becomes 450000."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, Real):
        return None
    try:
        exact = Decimal(value.text)
        # The exponent is checked before conversion, because 1e300 would become a number with 301 digits.
        return int(exact) if exact.adjusted() < len(str(MAX_AMOUNT)) and exact == exact.to_integral_value() else None
    except ArithmeticError:
        return None


def digits(value: object) -> int | None:
    """Return the integer that a string of ASCII digits represents.

    Return None if the string has a sign, a space or a leading zero.
    """
    return int(value) if isinstance(value, str) and len(value) <= MAX_DIGITS and _DIGITS.fullmatch(value) else None


MAX_DIGITS = 64
MAX_REFERENCE = 100


def number_of(value: object) -> int | None:
    """Return the integer that a JSON number or a string of digits represents, or None.

    Gateways sign a number and a string with the same digits in the same way.
    """
    return digits(value) if isinstance(value, str) else whole_number(value)


def amount_of(value: int | None) -> int:
    """Return ``value``, or raise MalformedError if it is not a possible amount in whole VND."""
    if value is None or not 0 < value <= MAX_AMOUNT:
        _malformed("the amount is not a positive whole number of VND")
    return value


def transaction_id_of(value: int | None) -> str | None:
    """Return the gateway's transaction id as a string, or None for 0, which means that no transaction exists."""
    if value is None or value < 0:
        _malformed("the gateway's transaction number is missing or not a number")
    return str(value) if value else None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        # Two parsers could choose different values for the repeated name.
        _malformed("a name occurs twice in one object")
    return fields


def _real(text: str) -> Real:
    if isinf(float(text)):
        _malformed("a number is out of range")
    return Real(text)


def _has_lone_surrogate(document: object) -> bool:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                return True
        elif isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return False


def _malformed(detail: str) -> NoReturn:
    raise MalformedError(detail)


def _refuse_constant(_: str) -> NoReturn:
    _malformed("NaN and Infinity are not JSON")


_LENIENT = json.JSONDecoder(parse_float=Real)
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_real, parse_constant=_refuse_constant)
