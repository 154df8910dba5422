"""Provide sample callbacks, so that users can try payctl without a gateway account.

Every key in ``samples.json`` is public. The gateways publish these keys for their sandbox or in their documentation.
VNPay does not publish a key, so the key of its sample is made up. Each gateway has one record whose ``name`` equals its
``gateway``. ``genuine`` means that the gateway itself created the signature.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.errors import InputError, NotFoundError
from ticketbottle_payctl.providers import momo, vnpay
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.secret import Secret

Content = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample callback, with the keys that verify it."""

    name: str
    gateway: str
    about: str
    genuine: bool
    request: Request
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class Tampered:
    """A sample whose signed content was changed after signing, with a sentence that describes the change."""

    request: Request
    sentence: str


class SignedContent(NamedTuple):
    """The signed fields of a gateway's request.

    ``read`` returns the fields, and ``write`` replaces them and keeps the old signature. A user can leave out the
    ``prefix`` of a field's name. ``steps`` says by how much :func:`tamper` changes a field's number. The default is 1.
    A field in smaller units than VND needs a larger step.
    """

    read: Callable[[Request], Content]
    write: Callable[[Request, Content], Request]
    prefix: str = ""
    steps: Mapping[str, int] = {}


def samples() -> Mapping[str, Sample]:
    """Return all built-in samples, by name."""
    return {record["name"]: _sample(record) for record in _records()}


def sample(name: str) -> Sample:
    """Return the sample with this name.

    Raises:
        NotFoundError: no sample has this name.
    """
    known = samples()
    if name not in known:
        message = "no example has that name"
        raise NotFoundError(message, hint=f"one of: {', '.join(known)}")
    return known[name]


def tamper(original: Sample, field: str) -> Tampered:
    """Return the sample with one field changed and the old signature. Verification must reject the result.

    ``field`` is the gateway's name for the field, in upper or lower case. The gateway's prefix can be left out.

    Raises:
        InputError: the content has no such field, or its value is neither a string nor a number.
    """
    signed = _SIGNED[original.gateway]
    content = signed.read(original.request)
    name = _name(content, field, signed.prefix)
    before = content[name]
    after = _changed(before, step=signed.steps.get(name, 1))
    request = signed.write(original.request, {**content, name: after})
    return Tampered(request, f"{name} was changed from {before} to {after} after signing")


def _in_query(prefix: str, unsigned: frozenset[str]) -> Callable[[Request], Content]:
    """Return a function that reads the parameters with this prefix, except the unsigned ones."""
    return lambda request: {
        name: value for name, value in parse_qsl(request.query) if name.startswith(prefix) and name not in unsigned
    }


def _into_query(request: Request, content: Content) -> Request:
    unsigned = [pair for pair in parse_qsl(request.query) if pair[0] not in content]
    return replace(request, query=urlencode([*content.items(), *unsigned]))


def _into_body(request: Request, content: Content) -> Request:
    """Replace these fields in the request's JSON body."""
    return replace(request, body=_compact({**json.loads(request.body), **content}).encode())


def _in_text(request: Request) -> Content:
    return dict(json.loads(json.loads(request.body)["data"]))


def _in_data(request: Request) -> Content:
    return dict(json.loads(request.body)["data"])


def _in_body(request: Request) -> Content:
    envelope = json.loads(request.body)
    return {name: envelope[name] for name in momo.SIGNED}


_SIGNED: Mapping[str, SignedContent] = {
    "zalopay": SignedContent(_in_text, lambda request, content: _into_body(request, {"data": _compact(content)})),
    "payos": SignedContent(_in_data, lambda request, content: _into_body(request, {"data": content})),
    "vnpay": SignedContent(_in_query("vnp_", vnpay.UNSIGNED), _into_query, prefix="vnp_", steps={"vnp_Amount": 100}),
    "momo": SignedContent(_in_body, _into_body),
}
"""For each gateway, the description of a callback's signed fields."""


def _name(content: dict[str, Any], field: str, prefix: str) -> str:
    wanted = {field.casefold(), f"{prefix}{field}".casefold()}
    for name in content:
        if name.casefold() in wanted:
            return name
    message = "the example's content has no such field"
    raise InputError(message, hint=f"one of: {', '.join(content)}")


def _changed(value: object, step: int) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return value + step
    if isinstance(value, str):
        return str(int(value) + step) if value.isdecimal() else f"{value}X"
    message = "the field is neither a string nor a number"
    raise InputError(message)


def _sample(record: dict[str, Any]) -> Sample:
    request = record["request"]
    return Sample(
        name=record["name"],
        gateway=record["gateway"],
        about=record["about"],
        genuine=record["genuine"],
        request=Request(
            method=request["method"],
            path=request["path"],
            query=request.get("query", ""),
            body=request.get("body", "").encode(),
        ),
        credentials={name: (Secret(value, f"{name} of the example"),) for name, value in record["keys"].items()},
    )


@cache
def _records() -> list[dict[str, Any]]:
    text = files("ticketbottle_payctl.providers").joinpath("samples.json").read_text(encoding="utf-8")
    return list(json.loads(text))


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
