"""Create test callbacks, signed according to the gateways' documentation.

This module shares no code with the verifiers in :mod:`ticketbottle_payctl.providers`. Therefore a mistake in the
verifiers is not repeated in the test callbacks. The callbacks are for an order that cannot exist in any shop.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from ticketbottle_payctl.domain.callback import Request

_AMOUNT = 10_000


def signed_callback(gateway: str, keys: Mapping[str, str]) -> Request:
    """Return a success callback of 10,000 VND for the order ``payctl-doctor``, signed with the merchant's keys."""
    return _SIGNERS[gateway](keys)


def _zalopay(keys: Mapping[str, str]) -> Request:
    data = _json(
        {
            "app_id": int(keys["app_id"]) if keys["app_id"].isdecimal() else 0,
            "app_trans_id": "261122_payctl-doctor",
            "app_time": 1_795_300_000_000,
            "app_user": "payctl",
            "amount": _AMOUNT,
            "embed_data": "{}",
            "item": "[]",
            "zp_trans_id": 261_122_000_000_001,
            "server_time": 1_795_300_000_000,
            "channel": 38,
            "merchant_user_id": "",
            "user_fee_amount": 0,
            "discount_amount": 0,
        }
    )
    return _post({"data": data, "mac": _mac("sha256", keys["key2"], data), "type": 1})


def _payos(keys: Mapping[str, str]) -> Request:
    data = {
        "orderCode": 262_002,
        "amount": _AMOUNT,
        "description": "payctl doctor",
        "currency": "VND",
        "paymentLinkId": "payctl-doctor",
        "code": "00",
        "desc": "success",
        "counterAccountBankId": None,
    }
    text = "&".join(f"{name}={'' if data[name] is None else data[name]}" for name in sorted(data))
    signature = _mac("sha256", keys["checksum_key"], text)
    return _post({"code": "00", "desc": "success", "success": True, "data": data, "signature": signature})


def _vnpay(keys: Mapping[str, str]) -> Request:
    fields = {
        "vnp_TmnCode": keys["tmn_code"],
        "vnp_TxnRef": "payctl-doctor",
        "vnp_Amount": str(_AMOUNT * 100),
        "vnp_OrderInfo": "payctl doctor",
        "vnp_ResponseCode": "00",
        "vnp_TransactionStatus": "00",
        "vnp_TransactionNo": "14000001",
        "vnp_BankCode": "NCB",
        "vnp_PayDate": "20261122100000",
    }
    query = urlencode(sorted(fields.items()))
    return Request("GET", query=f"{query}&vnp_SecureHash={_mac('sha512', keys['hash_secret'], query)}")


def _momo(keys: Mapping[str, str]) -> Request:
    fields = {
        "amount": _AMOUNT,
        "extraData": "",
        "message": "Successful.",
        "orderId": "payctl-doctor",
        "orderInfo": "payctl doctor",
        "orderType": "momo_wallet",
        "partnerCode": keys["partner_code"],
        "payType": "qr",
        "requestId": "payctl-doctor",
        "responseTime": 1_795_300_000_000,
        "resultCode": 0,
        "transId": 4_000_000_001,
    }
    text = f"accessKey={keys['access_key']}&" + "&".join(f"{name}={value}" for name, value in fields.items())
    return _post({**fields, "signature": _mac("sha256", keys["secret_key"], text)})


_SIGNERS: dict[str, Callable[[Mapping[str, str]], Request]] = {
    "zalopay": _zalopay,
    "payos": _payos,
    "vnpay": _vnpay,
    "momo": _momo,
}


def _post(body: Mapping[str, object]) -> Request:
    return Request("POST", body=_json(body).encode())


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _mac(algorithm: str, key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), algorithm).hexdigest()
