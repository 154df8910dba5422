"""Sample callbacks, so that payctl can be tried without an account at a gateway.

Every key in ``samples.json`` is public: sandbox and documentation keys that the gateways publish. VNPay publishes none,
so its key is invented. ``genuine`` means that the gateway made the signature, not payctl.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.errors import InputError, NotFoundError
from ticketbottle_payctl.providers import momo
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.secret import Secret


@dataclass(frozen=True, slots=True)
class Sample:
    """A callback and the keys that verify it."""

    name: str
    gateway: str
    about: str
    genuine: bool
    request: Request
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class Tampered:
    """A sample with one field changed after signing, and a sentence that describes the change."""

    request: Request
    sentence: str


def samples() -> Mapping[str, Sample]:
    """Return every built-in sample by its name."""
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
    """Return the sample with ``field`` changed and the old signature. Verification must reject it.

    ``field`` is the gateway's name for it, in any case. The prefix ``vnp_`` of VNPay may be left out.

    Raises:
        InputError: the content has no such field, or its value is not a text or a number.
    """
    content = _content(original)
    name = _name(content, field)
    before = content[name]
    after = _changed(before, step=100 if name == "vnp_Amount" else 1)
    request = _with_content(original, {**content, name: after})
    return Tampered(request, f"{name} was changed from {before} to {after} after signing")


def _content(original: Sample) -> dict[str, Any]:
    """Return the signed fields."""
    if original.gateway == "vnpay":
        pairs = parse_qsl(original.request.query)
        return {name: value for name, value in pairs if not name.startswith("vnp_SecureHash")}
    envelope = json.loads(original.request.body)
    if original.gateway == "zalopay":
        return dict(json.loads(envelope["data"]))
    if original.gateway == "payos":
        return dict(envelope["data"])
    return {name: envelope[name] for name in momo.SIGNED}


def _with_content(original: Sample, content: dict[str, Any]) -> Request:
    request = original.request
    if original.gateway == "vnpay":
        unsigned = [pair for pair in parse_qsl(request.query) if pair[0] not in content]
        return replace(request, query=urlencode([*content.items(), *unsigned]))
    envelope = json.loads(request.body)
    if original.gateway == "zalopay":
        envelope["data"] = _compact(content)
    elif original.gateway == "payos":
        envelope["data"] = content
    else:
        envelope.update(content)
    return replace(request, body=_compact(envelope).encode())


def _name(content: dict[str, Any], field: str) -> str:
    wanted = {field.casefold(), f"vnp_{field.casefold()}"}
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
    message = "that field is neither a text nor a number"
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
