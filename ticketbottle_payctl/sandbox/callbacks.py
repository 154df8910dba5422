"""Create signed callbacks as the gateways do, for the tests and the demo.

The same payment and scenario always give the same bytes, so a second callback is an exact duplicate of the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from hashlib import sha256

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.providers import GATEWAYS, by_name
from ticketbottle_payctl.providers.samples import sample
from ticketbottle_payctl.sandbox import signing
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment

Environ = Mapping[str, str]


class Scenario(StrEnum):
    """A situation that a gateway reports in a callback. payctl must reject WRONG_AMOUNT and BAD_SIGNATURE."""

    PAID = "paid"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    PENDING = "pending"
    HELD = "held"
    AGREEMENT = "agreement"
    PING = "ping"
    WRONG_AMOUNT = "wrong_amount"
    BAD_SIGNATURE = "bad_signature"


_ALWAYS = (Scenario.PAID, Scenario.WRONG_AMOUNT, Scenario.BAD_SIGNATURE)
_SENT = {
    "zalopay": (*_ALWAYS, Scenario.AGREEMENT),
    "payos": (*_ALWAYS, Scenario.FAILED, Scenario.PING),
    "vnpay": (*_ALWAYS, Scenario.FAILED, Scenario.CANCELLED, Scenario.EXPIRED, Scenario.HELD),
    "momo": (*_ALWAYS, Scenario.FAILED, Scenario.CANCELLED, Scenario.EXPIRED, Scenario.PENDING),
}
_VNPAY_CODES = {
    Scenario.FAILED: ("51", "02"),
    Scenario.CANCELLED: ("24", "02"),
    Scenario.EXPIRED: ("11", "02"),
    Scenario.HELD: ("07", "07"),
}
_MOMO_CODES = {
    Scenario.FAILED: (1001, "Insufficient funds."),
    Scenario.CANCELLED: (1006, "Giao dịch bị từ chối bởi người dùng."),
    Scenario.EXPIRED: (1005, "The link has expired."),
    Scenario.PENDING: (9000, "Authorised."),
}
_KEYS = frozenset(field.env for gateway in GATEWAYS.values() for field in gateway.fields if field.secret)
_MILLISECONDS = 1_795_400_000_000  # an instant in November 2026
_WRONG_BY = 1000
_ZALOPAY_USER = "4n2LtVGwMfjZhIs7wv82hA"


def environment() -> dict[str, str]:
    """Return a merchant's settings for every gateway, with the public keys from the built-in samples."""
    return {
        field.env: values[0].reveal()
        for gateway in GATEWAYS.values()
        for field in gateway.fields
        if (values := sample(gateway.name).credentials.get(field.name))
    }


def scenarios(provider: str) -> tuple[Scenario, ...]:
    """Return the scenarios that a gateway reports. For example, ZaloPay and PayOS never report a cancelled payment.

    Raises:
        NotFoundError: no gateway has this name.
    """
    return _SENT[by_name(provider).name]


def callback(payment: SandboxPayment, scenario: Scenario = Scenario.PAID, environ: Environ | None = None) -> Request:
    """Return the request in which the payment's gateway reports ``scenario``.

    The request is signed with the keys in ``environ``.

    The default keys come from :func:`environment`. Except in ``WRONG_AMOUNT``, the request has the payment's amount.

    Raises:
        InputError: the payment's gateway never reports this scenario.
        NotFoundError: no gateway has this name.
    """
    name = by_name(payment.provider).name
    if scenario not in _SENT[name]:
        message = f"{name} never sends a callback of this kind: {scenario.value}"
        raise InputError(message, hint=f"one of: {', '.join(_SENT[name])}")
    keys = dict(environment() if environ is None else environ)
    if scenario is Scenario.BAD_SIGNATURE:
        keys = with_wrong_keys(keys)
    return _MAKERS[name](payment, scenario, keys)


def with_wrong_keys(keys: Environ) -> dict[str, str]:
    """Return the merchant's settings with wrong keys. payctl must reject a callback that is signed with these keys."""
    return {**keys, **{variable: "not-the-merchants-key" for variable in keys if variable in _KEYS}}


def _zalopay(payment: SandboxPayment, scenario: Scenario, keys: Environ) -> Request:
    data: dict[str, object] = {
        "app_id": int(keys["ZALOPAY_APP_ID"]),
        "app_trans_id": payment.reference,
        "app_time": _MILLISECONDS,
        "app_user": "TicketBottle",
        "amount": _amount(payment, scenario),
        "embed_data": "{}",
        "item": "[]",
        "zp_trans_id": gateway_number(payment, 15, scenario),
        "server_time": _MILLISECONDS + 20_000,
        "channel": 41,
        "merchant_user_id": _ZALOPAY_USER,
        "zp_user_id": _ZALOPAY_USER,
        "user_fee_amount": 0,
        "discount_amount": 0,
    }
    if scenario is Scenario.AGREEMENT:
        data = {
            "app_id": int(keys["ZALOPAY_APP_ID"]),
            "app_trans_id": payment.reference,
            "binding_id": str(gateway_number(payment, 15)),
            "binding_type": "WALLET",
            "pay_token": f"simulated-{gateway_number(payment, 15)}",
            "status": 1,
            "msg_type": 1,
            "merchant_user_id": _ZALOPAY_USER,
            "zp_user_id": _ZALOPAY_USER,
            "masked_user_phone": "*****6789",
            "server_time": _MILLISECONDS + 20_000,
        }
    return signing.zalopay(data, keys["ZALOPAY_KEY2"], kind=2 if scenario is Scenario.AGREEMENT else 1)


def _payos(payment: SandboxPayment, scenario: Scenario, keys: Environ) -> Request:
    failed, ping = scenario is Scenario.FAILED, scenario is Scenario.PING
    data: dict[str, object] = {
        "orderCode": 123 if ping else _payos_number(payment),
        "amount": 3000 if ping else _amount(payment, scenario),
        "description": "VQRIO123" if ping else "Thanh toán vé",
        "accountNumber": "00000000",
        "reference": f"FT{gateway_number(payment, 12, scenario)}",
        "transactionDateTime": "2026-11-23 10:00:00",
        "currency": "VND",
        "paymentLinkId": "124c33293c43417ab7879e14c8d9eb18" if ping else payment.reference,
        "code": "01" if failed else "00",
        "desc": "Thất bại" if failed else "Thành công",
        "counterAccountBankId": "",
        "counterAccountBankName": None,
        "counterAccountName": None,
        "counterAccountNumber": "",
        "virtualAccountName": None,
        "virtualAccountNumber": "",
    }
    return signing.payos(data, keys["PAYOS_CHECKSUM_KEY"])


def _vnpay(payment: SandboxPayment, scenario: Scenario, keys: Environ) -> Request:
    response, status = _VNPAY_CODES.get(scenario, ("00", "00"))
    unpaid = scenario in {Scenario.CANCELLED, Scenario.EXPIRED}
    parameters = {
        "vnp_TmnCode": keys["VNPAY_TMN_CODE"],
        "vnp_Amount": str(_amount(payment, scenario) * 100),
        "vnp_BankCode": "VNPAY" if unpaid else "NCB",
        "vnp_BankTranNo": "" if unpaid else f"VNP{gateway_number(payment, 8, scenario)}",
        "vnp_CardType": "QRCODE" if unpaid else "ATM",
        "vnp_OrderInfo": f"Thanh toan don hang {payment.order_code}",
        "vnp_PayDate": "20261123100000",
        "vnp_ResponseCode": response,
        "vnp_TransactionNo": "0" if unpaid else str(gateway_number(payment, 8, scenario)),
        "vnp_TransactionStatus": status,
        "vnp_TxnRef": payment.reference,
    }
    return signing.vnpay(parameters, keys["VNPAY_HASH_SECRET"])


def _momo(payment: SandboxPayment, scenario: Scenario, keys: Environ) -> Request:
    code, message = _MOMO_CODES.get(scenario, (0, "Successful."))
    fields: dict[str, object] = {
        "partnerCode": keys["MOMO_PARTNER_CODE"],
        "orderId": payment.reference,
        "requestId": payment.id,
        "amount": _amount(payment, scenario),
        "orderInfo": f"Thanh toán đơn hàng {payment.order_code}",
        "orderType": "momo_wallet",
        "transId": gateway_number(payment, 10, scenario),
        "resultCode": code,
        "message": message,
        "payType": "" if code else "qr",
        "responseTime": _MILLISECONDS,
        "extraData": "",
        "paymentOption": "momo",
        "userFee": 0,
        "promotionInfo": [],
    }
    return signing.momo(fields, keys["MOMO_ACCESS_KEY"], keys["MOMO_SECRET_KEY"])


def _amount(payment: SandboxPayment, scenario: Scenario) -> int:
    return payment.amount + (_WRONG_BY if scenario is Scenario.WRONG_AMOUNT else 0)


def _payos_number(payment: SandboxPayment) -> int:
    """Return the order id that the payment service sends to PayOS.

    The id encodes the order's date and the last characters of the order code.
    """
    code = re.fullmatch(r"TB-.*-(\d{8})-\w*([0-9A-Z]{5})", payment.order_code, re.ASCII)
    return int(code[1]) * 10**8 + int(code[2], 36) if code else gateway_number(payment, 14)


def gateway_number(payment: SandboxPayment, digits: int, scenario: Scenario = Scenario.PAID) -> int:
    """Return a fixed number with this many digits. The callbacks use it as the gateway's id for a transfer of money.

    A wrong amount is a separate transfer, so its id is different.
    """
    least: int = 10 ** (digits - 1)
    named = payment.reference + ("/wrong" if scenario is Scenario.WRONG_AMOUNT else "")
    return least + int.from_bytes(sha256(named.encode()).digest()) % (9 * least)


_MAKERS: dict[str, Callable[[SandboxPayment, Scenario, Environ], Request]] = {
    "zalopay": _zalopay,
    "payos": _payos,
    "vnpay": _vnpay,
    "momo": _momo,
}
