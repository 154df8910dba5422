"""A merchant whose keys are canaries, and the merchant's genuine callbacks.

The callbacks are signed without the verifiers' code.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from tests.fuzz.oracle import KEYS
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.sandbox import signing
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, scenarios
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment
from ticketbottle_payctl.secret import Secret

NAMES = tuple(GATEWAYS)
CODE = "TB-ROCK-20261205-7K2M9QXA"
CREDENTIALS: dict[str, Credentials] = {
    name: {field.name: (Secret(KEYS[field.env]),) for field in gateway.fields} for name, gateway in GATEWAYS.items()
}
SIGNING = {
    "zalopay": ("ZALOPAY_KEY2", "sha256"),
    "payos": ("PAYOS_CHECKSUM_KEY", "sha256"),
    "vnpay": ("VNPAY_HASH_SECRET", "sha512"),
    "momo": ("MOMO_SECRET_KEY", "sha256"),
}
"""The variable with the signing key and the name of the hash function, keyed by gateway."""

SIGNATURES = {"zalopay": "mac", "payos": "signature", "vnpay": "vnp_SecureHash", "momo": "signature"}
"""The name of the field that contains the signature, keyed by gateway."""

_REFERENCES = {"zalopay": f"261205_{CODE}", "payos": "9f2c4e6a8b0d1f3a"}


def genuine(name: str) -> list[Request]:
    """Return a gateway's callbacks for every scenario, signed with the merchant's keys."""
    payment = SandboxPayment("p-1", CODE, 450_000, name, _REFERENCES.get(name, CODE))
    wanted = [each for each in scenarios(name) if each is not Scenario.BAD_SIGNATURE]
    return [callback(payment, scenario, KEYS) for scenario in wanted]


def signature(name: str, text: str) -> str:
    """Return the gateway's hex HMAC of a string, computed with the merchant's key."""
    variable, algorithm = SIGNING[name]
    return hmac.digest(KEYS[variable].encode(), text.encode("utf-8", "replace"), algorithm).hex()


def in_query(name: str) -> bool:
    """Return whether the gateway sends its callbacks as a query string."""
    return genuine(name)[0].method == "GET"


def signed_fields(name: str, request: Request) -> object:
    """Return the content that a request's signature covers. Use only the standard library to read it.

    Requests with the same signed string have equal contents. The request must be one that payctl accepted, so its body
    is valid JSON.
    """
    return SIGNED_FIELDS[name](request)


def _zalopay(request: Request) -> object:
    return _body(request)["data"]


def _payos(request: Request) -> object:
    return {key: _printed(value) for key, value in _body(request)["data"].items()}


def _vnpay(request: Request) -> object:
    pairs = parse_qsl(request.query, keep_blank_values=False)
    unsigned = {"vnp_SecureHash", "vnp_SecureHashType"}
    return {key: value for key, value in pairs if key.startswith("vnp_") and key not in unsigned}


def _momo(request: Request) -> object:
    body = _body(request)
    return {key: _printed(body.get(key)) for key in signing.MOMO_SIGNED if key != "accessKey"}


SIGNED_FIELDS: dict[str, Callable[[Request], object]] = {
    "zalopay": _zalopay,
    "payos": _payos,
    "vnpay": _vnpay,
    "momo": _momo,
}
"""Functions that read the signed content, keyed by gateway."""


def _body(request: Request) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.body)
    return body


def _printed(value: object) -> str:
    if value in (None, "null", "undefined"):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value)
