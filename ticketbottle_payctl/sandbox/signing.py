"""Sign callbacks as the gateways do, for the demo and the tests.

This code follows the gateways' documentation. This code does not share code with the verifiers in
:mod:`ticketbottle_payctl.providers`, so it does not repeat their mistakes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from urllib.parse import quote_plus

from ticketbottle_payctl.domain.callback import Request

MOMO_SIGNED = (
    "accessKey", "amount", "extraData", "message", "orderId", "orderInfo", "orderType", "partnerCode", "payType",
    "requestId", "responseTime", "resultCode", "transId",
)  # fmt: skip
VNPAY_ANSWERED = tuple(f"vnp_{name}" for name in (
    "ResponseId", "Command", "ResponseCode", "Message", "TmnCode", "TxnRef", "Amount", "BankCode", "PayDate",
    "TransactionNo", "TransactionType", "TransactionStatus", "OrderInfo", "PromotionCode", "PromotionAmount",
))  # fmt: skip

_SIGNED_AS_EMPTY = (None, "null", "undefined")


def zalopay(data: str | Mapping[str, object], key2: str, *, kind: int = 1) -> Request:
    """Return a signed ZaloPay callback with this ``data``. ``kind`` is 1 for an order, and 2 for an agreement."""
    text = data if isinstance(data, str) else compact(data)
    return _post("zalopay", {"data": text, "mac": _mac(key2, text, "sha256"), "type": kind})


def payos(data: Mapping[str, object], checksum_key: str) -> Request:
    """Return a PayOS webhook with this ``data``, signed as sorted pairs. The values are strings, whole numbers or null.

    PayOS signs null, "null" and "undefined" as an empty value.
    """
    code = data.get("code")
    envelope = {"code": code, "desc": "success", "success": code == "00", "data": dict(data)}
    return _post("payos", envelope | {"signature": payos_signature(data, checksum_key)})


def payos_signature(data: Mapping[str, object], checksum_key: str) -> str:
    """Return PayOS's signature for the ``data`` in a webhook or response."""
    text = "&".join(f"{name}={'' if data[name] in _SIGNED_AS_EMPTY else data[name]}" for name in sorted(data))
    return _mac(checksum_key, text, "sha256")


def vnpay(parameters: Mapping[str, str], hash_secret: str) -> Request:
    """Return a VNPay IPN with these parameters, sorted and signed. Empty parameters are left out."""
    query = form_encoded({name: parameters[name] for name in sorted(parameters)})
    return Request("GET", "/webhook/vnpay", query=f"{query}&vnp_SecureHash={_mac(hash_secret, query, 'sha512')}")


def vnpay_answer(fields: Mapping[str, str], hash_secret: str) -> dict[str, str]:
    """Return VNPay's response to a status query, with these fields and a hash. The fields are hashed in a fixed order.

    A missing field counts as empty.
    """
    text = "|".join(fields.get(name, "") for name in VNPAY_ANSWERED)
    return {**fields, "vnp_SecureHash": _mac(hash_secret, text, "sha512")}


def momo(fields: Mapping[str, object], access_key: str, secret_key: str) -> Request:
    """Return a signed MoMo IPN with these fields. The fields and the access key are signed in a fixed order."""
    signed = {**fields, "accessKey": access_key}
    text = "&".join(f"{name}={signed[name]}" for name in MOMO_SIGNED)
    return _post("momo", {**fields, "signature": _mac(secret_key, text, "sha256")})


def form_encoded(parameters: Mapping[str, str]) -> str:
    """Return the query string that an HTML form would send. Parameters without a value are left out."""
    pairs = [(name, value) for name, value in parameters.items() if value]
    return "&".join(f"{_form_value(name)}={_form_value(value)}" for name, value in pairs)


def _form_value(text: str) -> str:
    # Python's library encodes * but not ~. The standard for HTML forms does the opposite.
    return quote_plus(text, safe="*").replace("~", "%7E")


def compact(value: Mapping[str, object]) -> str:
    """Return JSON without spaces between tokens. Characters outside ASCII are not escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _post(gateway: str, body: dict[str, object]) -> Request:
    return Request("POST", f"/webhook/{gateway}", body=compact(body).encode())


def _mac(key: str, text: str, algorithm: str) -> str:
    return hmac.new(key.encode(), text.encode(), getattr(hashlib, algorithm)).hexdigest()
