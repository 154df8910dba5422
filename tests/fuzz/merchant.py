"""A merchant whose keys are canaries, and the merchant's genuine callbacks.

The callbacks are signed without the verifiers' code.
"""

from __future__ import annotations

import hmac
import json
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
SIGNING = {"zalopay": "ZALOPAY_KEY2", "payos": "PAYOS_CHECKSUM_KEY", "momo": "MOMO_SECRET_KEY"}
SIGNATURES = {"zalopay": "mac", "payos": "signature", "momo": "signature"}
_REFERENCES = {"zalopay": f"261205_{CODE}", "payos": "9f2c4e6a8b0d1f3a"}


def genuine(name: str) -> list[Request]:
    """Return a gateway's callbacks for every scenario, signed with the merchant's keys."""
    payment = SandboxPayment("p-1", CODE, 450_000, name, _REFERENCES.get(name, CODE))
    wanted = [each for each in scenarios(name) if each is not Scenario.BAD_SIGNATURE]
    return [callback(payment, scenario, KEYS) for scenario in wanted]


def signature(name: str, text: str) -> str:
    """Return the gateway's hex HMAC of a string, computed with the merchant's key."""
    return hmac.digest(KEYS[SIGNING[name]].encode(), text.encode("utf-8", "replace"), "sha256").hex()


def signed_fields(name: str, request: Request) -> object:
    """Return the content that a request's signature covers. Use only the standard library to read it.

    Values with the same signed string are equal. The request must be one that payctl accepted, so its body is valid
    JSON.
    """
    if name == "vnpay":
        pairs = parse_qsl(request.query, keep_blank_values=False)
        return {
            key: value
            for key, value in pairs
            if key.startswith("vnp_") and key not in {"vnp_SecureHash", "vnp_SecureHashType"}
        }
    body = json.loads(request.body)
    if name == "zalopay":
        return body["data"]
    if name == "payos":
        return {key: _printed(value) for key, value in body["data"].items()}
    return {key: _printed(body.get(key)) for key in signing.MOMO_SIGNED if key != "accessKey"}


def _printed(value: object) -> str:
    if value in (None, "null", "undefined"):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value)


def vnpay_signature(text: str) -> str:
    """Return VNPay's hex HMAC of a string, computed with the merchant's key."""
    return hmac.digest(KEYS["VNPAY_HASH_SECRET"].encode(), text.encode(), "sha512").hex()
