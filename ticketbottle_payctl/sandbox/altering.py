"""Change fields of a simulated callback by path, such as ``data.amount=5``, and sign the callback again.

If a path points to the signature, the given value replaces the signature. For VNPay, the fields are the parameters in
the query string.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.sandbox import signing

Tree = dict[str, Any]

_LARGEST_EXACT = 2**53 - 1
"""The largest whole number that JavaScript prints exactly. Many merchants verify signatures in JavaScript."""


@dataclass(frozen=True, slots=True)
class _Form:
    """The format of a gateway's callback, with functions that read, write and sign the callback's fields."""

    signature: str
    read: Callable[[Request], Tree]
    write: Callable[[Request, Tree], Request]
    sign: Callable[[Tree, Mapping[str, str]], Request]


def alter(request: Request, gateway: str, changes: Sequence[tuple[str, str]], keys: Mapping[str, str]) -> Request:
    """Apply each ``(path, value)`` pair to the request, and sign the request.

    ``keys`` maps the names of variables to the gateways' keys.

    A value that replaces a string is used unchanged. Any other value is parsed as JSON or, if it is not valid JSON,
    used as a string.

    Raises:
        InputError: a path does not match any field, or a value cannot be sent or signed.
    """
    try:
        return _altered(request, gateway, changes, keys)
    except (UnicodeEncodeError, RecursionError):
        message = "a value cannot be sent: it has half of a surrogate pair or is nested too deeply"
        raise InputError(message) from None


def _altered(request: Request, gateway: str, changes: Sequence[tuple[str, str]], keys: Mapping[str, str]) -> Request:
    form = _FORMS[gateway]
    tree = form.read(request)
    for path, value in changes:
        _put(tree, path, value)
    if form.signature not in {path for path, _ in changes}:
        tree[form.signature] = form.read(form.sign(tree, keys))[form.signature]
    return form.write(request, tree)


def _body(request: Request) -> Tree:
    tree: Tree = json.loads(request.body)
    return tree


def _with_body(request: Request, tree: Tree) -> Request:
    return replace(request, body=signing.compact(tree).encode())


def _zalopay_body(request: Request) -> Tree:
    tree = _body(request)
    return {**tree, "data": json.loads(tree["data"])}


def _sign_payos(tree: Tree, keys: Mapping[str, str]) -> Request:
    _require_signable(tree["data"], "data.", (str, int, type(None)), "a string, a whole number up to 2^53-1 or null")
    return signing.payos(tree["data"], keys["PAYOS_CHECKSUM_KEY"])


def _sign_momo(tree: Tree, keys: Mapping[str, str]) -> Request:
    fields = {name: value for name, value in tree.items() if name != "signature"}
    _require_signable(
        {name: fields[name] for name in fields if name in signing.MOMO_SIGNED},
        "",
        (str, int),
        "a string or a whole number up to 2^53-1",
    )
    return signing.momo(fields, keys["MOMO_ACCESS_KEY"], keys["MOMO_SECRET_KEY"])


def _sign_vnpay(tree: Tree, keys: Mapping[str, str]) -> Request:
    fields = {name: value for name, value in tree.items() if name != "vnp_SecureHash"}
    return signing.vnpay(fields, keys["VNPAY_HASH_SECRET"])


_FORMS: Mapping[str, _Form] = {
    "zalopay": _Form(
        "mac",
        _zalopay_body,
        lambda request, tree: _with_body(request, {**tree, "data": signing.compact(tree["data"])}),
        lambda tree, keys: signing.zalopay(tree["data"], keys["ZALOPAY_KEY2"]),
    ),
    "payos": _Form("signature", _body, _with_body, _sign_payos),
    "vnpay": _Form(
        "vnp_SecureHash",
        lambda request: dict(parse_qsl(request.query)),
        lambda request, tree: replace(request, query=signing.form_encoded(tree)),
        _sign_vnpay,
    ),
    "momo": _Form("signature", _body, _with_body, _sign_momo),
}


def _require_signable(fields: Tree, prefix: str, kinds: tuple[type, ...], wanted: str) -> None:
    """Reject values that programming languages print in different forms, because signatures cover the printed form."""
    for name, value in fields.items():
        exact = not isinstance(value, int) or abs(value) <= _LARGEST_EXACT
        if isinstance(value, bool) or not isinstance(value, kinds) or not exact:
            message = f"{prefix}{name} is signed, so its value must be {wanted}"
            raise InputError(message, hint=f"give a value such as --set {prefix}{name}=1")


def _put(tree: Tree, path: str, value: str) -> None:
    *above, name = path.split(".")
    place: Any = tree
    for step in above:
        place = place.get(step) if isinstance(place, dict) else None
    if not isinstance(place, dict) or name not in place:
        message = f"this callback has no field {path}"
        raise InputError(message, hint=f"one of: {', '.join(_paths(tree))}")
    if isinstance(place[name], dict):
        message = f"{path} is an object: set one of its fields"
        raise InputError(message, hint=f"one of: {', '.join(_paths(tree))}")
    place[name] = value if isinstance(place[name], str) else _json(value)


def _paths(tree: Tree, prefix: str = "") -> list[str]:
    found = []
    for name, value in tree.items():
        found += _paths(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return found


def _json(text: str) -> object:
    try:
        value: object = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return text
    return value


def _finite(text: str) -> float:
    value = float(text)
    return value if isfinite(value) else _refuse(text)


def _refuse(text: str) -> NoReturn:
    message = f"{text} is not a JSON number"
    raise ValueError(message)
