"""Change fields of a simulated callback by path, such as ``data.amount=5``, and sign the callback again.

A path to the signature replaces the signature itself. VNPay's fields are the parameters of the query.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.sandbox import signing

Tree = dict[str, Any]

_SIGNATURES = {"zalopay": "mac", "payos": "signature", "vnpay": "vnp_SecureHash", "momo": "signature"}


def alter(request: Request, gateway: str, changes: Sequence[tuple[str, str]], keys: Mapping[str, str]) -> Request:
    """Return the request with each ``(path, value)`` applied, signed with ``keys`` (by the names of their variables).

    A value that replaces a text is used as it is. Any other value is read as JSON if it is valid JSON.

    Raises:
        InputError: a path matches no field, or the gateway cannot sign such a value.
    """
    tree = _decoded(request, gateway)
    for path, value in changes:
        _put(tree, path, value)
    signature = _SIGNATURES[gateway]
    if signature not in {path for path, _ in changes}:
        tree[signature] = _decoded(_signed(tree, gateway, keys), gateway, whole=False)[signature]
    return _encoded(request, tree, gateway)


def _decoded(request: Request, gateway: str, *, whole: bool = True) -> Tree:
    if gateway == "vnpay":
        return dict(parse_qsl(request.query))
    tree: Tree = json.loads(request.body)
    if gateway == "zalopay" and whole:
        tree["data"] = json.loads(tree["data"])
    return tree


def _encoded(request: Request, tree: Tree, gateway: str) -> Request:
    if gateway == "vnpay":
        return replace(request, query=urlencode({name: value for name, value in tree.items() if value}))
    if gateway == "zalopay":
        tree = {**tree, "data": signing.compact(tree["data"])}
    return replace(request, body=signing.compact(tree).encode())


def _signed(tree: Tree, gateway: str, keys: Mapping[str, str]) -> Request:
    if gateway == "zalopay":
        return signing.zalopay(tree["data"], keys["ZALOPAY_KEY2"])
    if gateway == "payos":
        if any(isinstance(value, bool | float | list | dict) for value in tree["data"].values()):
            message = "a signed field of PayOS is a text, a whole number or null here"
            raise InputError(message, hint="examples are --set data.amount=1 and --set data.code=01")
        return signing.payos(tree["data"], keys["PAYOS_CHECKSUM_KEY"])
    fields = {name: value for name, value in tree.items() if name != _SIGNATURES[gateway]}
    if gateway == "vnpay":
        return signing.vnpay(fields, keys["VNPAY_HASH_SECRET"])
    return signing.momo(fields, keys["MOMO_ACCESS_KEY"], keys["MOMO_SECRET_KEY"])


def _put(tree: Tree, path: str, value: str) -> None:
    *above, name = path.split(".")
    place: Any = tree
    for step in above:
        place = place.get(step) if isinstance(place, dict) else None
    if not isinstance(place, dict) or name not in place:
        message = f"{path} is no field of this callback"
        raise InputError(message, hint=f"one of: {', '.join(_paths(tree))}")
    if isinstance(place[name], dict):
        message = f"{path} is not one value"
        raise InputError(message, hint=f"one of: {', '.join(_paths(tree))}")
    place[name] = value if isinstance(place[name], str) else _json(value)


def _paths(tree: Tree, prefix: str = "") -> list[str]:
    found = []
    for name, value in tree.items():
        found += _paths(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return found


def _json(text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value
