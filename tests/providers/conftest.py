"""The test vectors, and a merchant with keys.

The standard library, not the code under test, computes the signatures.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from ticketbottle_payctl.domain.callback import Callback, Rejected, Request
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.secret import Secret

DATA = Path(__file__).parent.parent / "data" / "gateway-vectors"


@dataclass(frozen=True)
class Vector:
    """A recorded or documented callback, and payctl's expected verdict."""

    name: str
    gateway: str
    keys: dict[str, Any]
    request: Request
    expect: dict[str, Any]

    @property
    def credentials(self):
        """The keys in the format that a gateway takes."""
        return {name: (Secret(str(value)),) for name, value in self.keys.items()}

    def verify(self, **changes: object) -> Callback | Rejected:
        """Return the gateway's verdict on the request with these changes."""
        return GATEWAYS[self.gateway].verify(replace(self.request, **changes), self.credentials)


def vectors() -> list[Vector]:
    """Return every vector from every file."""
    return [_vector(record) for path in sorted(DATA.glob("*.json")) for record in json.loads(path.read_text("utf-8"))]


def _vector(record: dict[str, Any]) -> Vector:
    sent = record["request"]
    request = Request(sent["method"], sent["path"], sent.get("query", ""), sent.get("body", "").encode())
    expect = {name: value for name, value in record["expect"].items() if name != "note"}
    return Vector(record["name"], record["gateway"], record["keys"], request, expect)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise tests that have a ``vector`` or ``payos_vector`` argument with the vectors."""
    for name, gateways in (("vector", GATEWAYS), ("payos_vector", {"payos"})):
        if name in metafunc.fixturenames:
            chosen = [one for one in vectors() if one.gateway in gateways]
            metafunc.parametrize(name, chosen, ids=[one.name for one in chosen])


KEYS = {
    "zalopay": {"app_id": "2900", "key1": "canary-zalopay-key-1", "key2": "canary-zalopay-key-2"},
    "payos": {"client_id": "canary-client", "api_key": "canary-api", "checksum_key": "canary-payos-checksum"},
    "vnpay": {"tmn_code": "TBTEST01", "hash_secret": "canary-vnpay-hash-secret"},
    "momo": {"partner_code": "TBMOMO", "access_key": "canary-momo-access", "secret_key": "canary-momo-secret"},
}
SIGNING = {"zalopay": "key2", "payos": "checksum_key", "vnpay": "hash_secret", "momo": "secret_key"}
"""For each gateway, the name of the key that signs callbacks."""

SIGNING_VARIABLES = {
    name: field.env for name, gateway in GATEWAYS.items() for field in gateway.fields if field.name == SIGNING.get(name)
}
"""For each gateway, the environment variable with the key that signs callbacks."""

SIGNATURES = {"zalopay": "mac", "payos": "signature", "vnpay": "vnp_SecureHash", "momo": "signature"}
"""For each gateway, the name of the field that contains the signature."""

AMBIGUOUS = {
    "zalopay": None,
    "payos": ("data.description", "x&orderCode=5"),
    "vnpay": None,
    "momo": ("orderInfo", "x&orderId=TB-2&orderInfo=y"),
}
"""For each gateway, a change that gives the signed string a second meaning.

None means that each signed string has only one meaning, because the gateway escapes the values or signs JSON.
"""


ZALOPAY_DATA = {
    "app_id": 2900,
    "app_trans_id": "261205_TB-ROCK-20261205-7K2M9QXA",
    "app_user": "Nguyễn Văn Á",
    "amount": 450000,
    "zp_trans_id": 261205000012345,
}
PAYOS_DATA = {
    "orderCode": 2026120512345678,
    "amount": 450000,
    "description": "TB7K2M9QXA",
    "accountNumber": "0123456789",
    "currency": "VND",
    "paymentLinkId": "9f2c4e6a8b0d1f3a",
    "code": "00",
    "desc": "success",
    "counterAccountName": None,
}
VNPAY_PARAMS = {
    "vnp_Amount": "45000000",
    "vnp_BankCode": "NCB",
    "vnp_OrderInfo": "Thanh toan ve * 2",
    "vnp_ResponseCode": "00",
    "vnp_TmnCode": "TBTEST01",
    "vnp_TransactionNo": "14226112",
    "vnp_TransactionStatus": "00",
    "vnp_TxnRef": "TB-ROCK-20261205-7K2M9QXA",
}
MOMO_BODY = {
    "partnerCode": "TBMOMO",
    "orderId": "TB-ROCK-20261205-7K2M9QXA",
    "requestId": "r-1",
    "amount": 450000,
    "orderInfo": "Vé Đà Lạt",
    "orderType": "momo_wallet",
    "transId": 4088878653,
    "resultCode": 0,
    "message": "Successful.",
    "payType": "qr",
    "responseTime": 1796446863942,
    "extraData": "",
}


class Merchant:
    """A merchant with keys for every gateway. The merchant can also sign callbacks as the gateways do."""

    def __init__(self):
        self.zalopay_data = ZALOPAY_DATA
        self.payos_data = PAYOS_DATA
        self.vnpay_params = VNPAY_PARAMS
        self.momo_body = MOMO_BODY

    def credentials(self, gateway: str, **changes: tuple[str, ...]):
        """Return a gateway's keys, with these changes."""
        values = {name: (value,) for name, value in KEYS[gateway].items()} | changes
        return {name: tuple(map(Secret, each)) for name, each in values.items()}

    def verify(self, gateway: str, request: Request, **changes: tuple[str, ...]) -> Callback | Rejected:
        """Return a gateway's verdict on a request with this merchant's keys."""
        return GATEWAYS[gateway].verify(request, self.credentials(gateway, **changes))

    def mac(self, gateway: str, text: str | bytes, algorithm: str = "sha256", *, key: str | None = None) -> str:
        """Return the hex HMAC of a string, computed with the key that signs a gateway's callbacks."""
        data = text.encode() if isinstance(text, str) else text
        return hmac.new((key or KEYS[gateway][SIGNING[gateway]]).encode(), data, algorithm).hexdigest()

    def zalopay(
        self,
        signed: str | None = None,
        *,
        data: str | None = None,
        type: object = 1,  # noqa: A002
        mac: object = None,
        **changes: object,
    ) -> Request:
        """Return a signed callback with these changes in its data, or with the string ``data`` as its data.

        The signature is computed over ``signed``, if given. ``mac`` replaces the signature.
        """
        text = self.dumps({**self.zalopay_data, **changes}) if data is None else data
        made = self.mac("zalopay", text if signed is None else signed)
        envelope = {"data": text, "mac": made if mac is None else mac, "type": type}
        return Request(body=self.dumps(envelope).encode())

    def payos(self, signed: str | None = None, *, key: str | None = None, **changes: object) -> Request:
        """Return a webhook with these changes in its data. The signature is computed over ``signed``, if given.

        The value ``...`` removes a field.
        """
        data = {name: value for name, value in {**self.payos_data, **changes}.items() if value is not ...}
        text = self.payos_text(data) if signed is None else signed
        envelope = {"code": "00", "data": data, "signature": self.mac("payos", text, key=key)}
        return Request(body=self.dumps(envelope).encode())

    def payos_text(self, data: dict[str, Any]) -> str:
        """Return the signed string for data without arrays or objects."""
        words = {None: "", True: "true", False: "false"}
        values = {name: words[v] if v is None or isinstance(v, bool) else v for name, v in data.items()}
        return "&".join(f"{name}={values[name]}" for name in sorted(values))

    def vnpay(self, signed: str | None = None, *, algorithm: str = "sha512", **changes: str | None) -> Request:
        """Return a signed query with these changes. None removes a parameter."""
        params = {name: value for name, value in {**self.vnpay_params, **changes}.items() if value is not None}
        query = self.form(params)
        text = self.form({name: value for name, value in params.items() if value}) if signed is None else signed
        return Request("GET", query=f"{query}&vnp_SecureHash={self.mac('vnpay', text, algorithm)}")

    def momo(self, signed: str | None = None, **changes: object) -> Request:
        """Return a signed notification with these changes. The value ``...`` removes a field."""
        body = {name: value for name, value in {**self.momo_body, **changes}.items() if value is not ...}
        text = self.momo_text(body) if signed is None else signed
        return Request(body=self.dumps({**body, "signature": self.mac("momo", text)}).encode())

    def momo_text(self, body: dict[str, Any]) -> str:
        """Return the signed string for a body."""
        names = sorted(self.momo_body)
        return f"accessKey={KEYS['momo']['access_key']}&" + "&".join(
            f"{name}={self.printed(body.get(name))}" for name in names
        )

    def printed(self, value: object) -> str:
        """Return a value as JavaScript prints it in a signed string."""
        if isinstance(value, str | float):
            return str(value)
        return "" if value is None else self.dumps(value)

    def form(self, params: dict[str, str]) -> str:
        """Return the parameters sorted by name and form-encoded."""
        return "&".join(f"{name}={quote_plus(params[name], safe='*')}" for name in sorted(params))

    def dumps(self, value: object) -> str:
        """Return compact JSON with unescaped non-ASCII characters."""
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


SIGNED_TEXTS: dict[str, Callable[[Merchant], str]] = {
    "zalopay": lambda merchant: merchant.dumps(merchant.zalopay_data),
    "payos": lambda merchant: merchant.payos_text(merchant.payos_data),
    "vnpay": lambda merchant: merchant.form(merchant.vnpay_params),
    "momo": lambda merchant: merchant.momo_text(merchant.momo_body),
}
"""For each gateway, the signed string of the merchant's callback."""

JSON_GATEWAYS = [
    name
    for name, gateway in GATEWAYS.items()
    if gateway.content_type == "application/json" and name in SIGNED_TEXTS and getattr(Merchant(), name)().body
]
"""The gateways that send JSON in the body of a callback."""


@pytest.fixture(scope="session")
def merchant() -> Merchant:
    """Return a merchant with keys for every gateway."""
    return Merchant()
