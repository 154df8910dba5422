"""Stand in for the gateways over HTTP. Check payctl's status queries and answer them as each gateway does.

This code follows the gateways' documentation and shares no code with payctl.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs
from uuid import uuid4

KEYS = {
    "ZALOPAY_APP_ID": "2553",
    "ZALOPAY_KEY1": "PcY4iZIKFCIdgZvA6ueMcMHHUbRLYjPL",
    "ZALOPAY_KEY2": "kLtgPl8HHhfvMuDHPwKfgfsY4Ydm9eIz",
    "PAYOS_CLIENT_ID": "payos-client",
    "PAYOS_API_KEY": "payos-api-key",
    "PAYOS_CHECKSUM_KEY": "payos-checksum-key",
    "VNPAY_TMN_CODE": "TBTEST01",
    "VNPAY_HASH_SECRET": "vnpay-hash-secret",
    "MOMO_PARTNER_CODE": "TBMOMO",
    "MOMO_ACCESS_KEY": "momo-access-key",
    "MOMO_SECRET_KEY": "momo-secret-key",
}
ASKED_OF_VNPAY = (
    "RequestId", "Version", "Command", "TmnCode", "TxnRef", "TransactionDate", "CreateDate", "IpAddr", "OrderInfo",
)  # fmt: skip
ORDER_OF_VNPAY = (
    "ResponseId", "Command", "ResponseCode", "Message", "TmnCode", "TxnRef", "Amount", "BankCode", "PayDate",
    "TransactionNo", "TransactionType", "TransactionStatus", "OrderInfo", "PromotionCode", "PromotionAmount",
)  # fmt: skip
STATES = {
    "zalopay": {
        "paid": {"return_code": 1},
        "expired": {"return_code": 2, "sub_return_code": -54},
        "abandoned": {"return_code": 3},
        "pending": {"return_code": 3, "is_processing": True},
        "odd": {"return_code": 2, "sub_return_code": -244},
        "bare": {"return_code": 2},
        "unknown": {"return_code": 2, "sub_return_code": -101},
        "busy": {"return_code": 2, "sub_return_code": -429},
    },
    "payos": {
        "paid": {"status": "PAID"},
        "failed": {"status": "FAILED", "amountPaid": 0},
        "expired": {"status": "EXPIRED", "amountPaid": 0},
        "pending": {"status": "PENDING", "amountPaid": 0},
        "odd": {"status": "REVIEWING", "amountPaid": 0},
        "partly": {"status": "UNDERPAID", "amountPaid": 1000},
    },
    "vnpay": {
        "paid": {"TransactionStatus": "00"},
        "failed": {"TransactionStatus": "02"},
        "pending": {"TransactionStatus": "01"},
        "held": {"TransactionStatus": "07"},
        "refunded": {"TransactionStatus": "00", "TransactionType": "02"},
        "odd": {"TransactionStatus": "03"},
        "bare": {},
        "unknown": {"ResponseCode": "91"},
        "busy": {"ResponseCode": "94"},
    },
    "momo": {
        "paid": {"resultCode": 0},
        "failed": {"resultCode": 1001},
        "expired": {"resultCode": 1005},
        "pending": {"resultCode": 9000},
        "refunded": {"resultCode": 0, "refundTrans": [{"orderId": "r", "amount": 1}]},
        "odd": {"resultCode": 99},
        "unknown": {"resultCode": 42},
        "busy": {"resultCode": 10},
    },
}
WITHOUT_ORDER_CODES = {"payos"}
"""The gateways whose callbacks do not contain the order code."""

_REFERENCES: dict[str, Callable[[str], str]] = {
    "zalopay": lambda order_code: f"261123_{order_code}",
    "payos": lambda _: uuid4().hex,
}
"""The function that creates a payment's reference, for each gateway whose references are not order codes."""

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
REQUESTS = {
    "zalopay": ("/v2/query", FORM),
    "payos": None,
    "vnpay": ("/merchant_webapi/api/transaction", JSON),
    "momo": ("/v2/gateway/api/query", JSON),
}
"""For each gateway, the path of a status query by POST and its content type.

None means that the gateway's library sends the query.
"""


def reference_of(gateway, order_code):
    """Return a reference in the gateway's format for a payment of this order."""
    return _REFERENCES.get(gateway, str)(order_code)


def mac(key, text, algorithm="sha256"):
    """Return the HMAC as lowercase hex digits."""
    return hmac.new(KEYS[key].encode(), text.encode(), algorithm).hexdigest()


@dataclass
class Gateways:
    """The state of all gateways.

    ``states`` and ``amounts`` map a payment's reference to its state and paid amount. If ``hostile`` is set, that
    function answers every request.
    """

    base: str = ""
    states: dict[str, str] = field(default_factory=dict)
    amounts: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    request_ids: set[str] = field(default_factory=set)
    hostile: Callable[[BaseHTTPRequestHandler], None] | None = None
    tamper: Callable[[dict[str, object]], None] = lambda _: None
    call: Callable[[str, bytes], int] = lambda _url, _body: 200
    """A function that returns a webhook address's HTTP status for PayOS's test callback."""
    entered: list[str] = field(default_factory=list)
    """The webhook addresses that PayOS has accepted."""

    @property
    def environment(self):
        """The environment variables with the gateways' keys and addresses (``PAYCTL_NAME_URL``)."""
        return {**KEYS, **{f"PAYCTL_{name.upper()}_URL": self.base for name in STATES}}

    def facts(self, gateway, reference):
        """Record the query. Return the payment's state in the gateway's terms, and its amount."""
        self.asked.append((gateway, reference))
        state = STATES[gateway][self.states.get(reference, "pending")]
        return dict(state), self.amounts.get(reference, 250_000)

    def zalopay(self, form):
        """Answer a query. Return -402 if the MAC is wrong."""
        fields = {name: values[0] for name, values in parse_qs(form).items()}
        text = f"{KEYS['ZALOPAY_APP_ID']}|{fields.get('app_trans_id')}|{KEYS['ZALOPAY_KEY1']}"
        if fields.get("mac") != mac("ZALOPAY_KEY1", text) or fields.get("app_id") != KEYS["ZALOPAY_APP_ID"]:
            return {"return_code": 2, "sub_return_code": -402}
        state, amount = self.facts("zalopay", fields["app_trans_id"])
        return {"amount": amount, "zp_trans_id": 261123000000077, "is_processing": False, **state}

    def payos(self, reference, headers):
        """Answer a query. If the client is unknown, return None, which means status 401."""
        if (headers["x-client-id"], headers["x-api-key"]) != (KEYS["PAYOS_CLIENT_ID"], KEYS["PAYOS_API_KEY"]):
            return None
        if self.states.get(reference) == "unknown":
            return {"code": "101", "desc": "no such order", "data": None, "signature": ""}
        state, amount = self.facts("payos", reference)
        data = {
            "id": reference, "orderCode": 2026112312345678, "amount": 250_000, "amountPaid": amount,
            "amountRemaining": 0, "createdAt": "2026-11-23T10:00:00+07:00", "transactions": [
                {"reference": "FT1", "amount": amount, "accountNumber": "0071", "description": "vé"}],
            "canceledAt": None, "cancellationReason": None, **state,
        }  # fmt: skip
        return {"code": "00", "desc": "success", "data": data, "signature": mac("PAYOS_CHECKSUM_KEY", _pairs(data))}

    def confirm_webhook(self, body, headers):
        """Send the test callback to the address. Register the address if the response has a 2xx status."""
        if (headers["x-client-id"], headers["x-api-key"]) != (KEYS["PAYOS_CLIENT_ID"], KEYS["PAYOS_API_KEY"]):
            return {"code": "401", "desc": "Unauthorized"}, 401
        url = body["webhookUrl"]
        ping = {
            "orderCode": 123, "amount": 3000, "description": "VQRIO123", "accountNumber": "12345678",
            "reference": "TF230204212323", "transactionDateTime": "2023-02-04 18:25:00", "currency": "VND",
            "paymentLinkId": "124c33293c43417ab7879e14c8d9eb18", "code": "00", "desc": "Thành công",
            "counterAccountBankId": "", "counterAccountBankName": "", "counterAccountName": "",
            "counterAccountNumber": "", "virtualAccountName": "", "virtualAccountNumber": "",
        }  # fmt: skip
        signed = {"code": "00", "desc": "success", "success": True, "data": ping}
        signed["signature"] = mac("PAYOS_CHECKSUM_KEY", _pairs(ping))
        status = self.call(url, json.dumps(signed, ensure_ascii=False).encode())
        if not 200 <= status < 300:
            said = f"Request failed with status code {status}"
            return {"code": "20", "desc": "Webhook url invalid", "data": said}, 400
        self.entered.append(url)
        account = {"accountNumber": "0071000999", "accountName": "NGUYEN VAN A", "name": "Bank", "shortName": "B"}
        return {"code": "00", "desc": "success", "data": {"webhookUrl": url, **account}}, 200

    def vnpay(self, body):
        """Answer a query. Return 97 if the hash is wrong, and 94 if a request id is repeated."""
        text = "|".join(body[f"vnp_{name}"] for name in ASKED_OF_VNPAY)
        assert len(body["vnp_RequestId"]) <= 32
        assert len(body["vnp_TransactionDate"]) == len(body["vnp_CreateDate"]) == 14
        if body["vnp_SecureHash"] != mac("VNPAY_HASH_SECRET", text, "sha512"):
            return {"vnp_ResponseCode": "97", "vnp_Message": "Checksum failed"}
        if body["vnp_TmnCode"] != KEYS["VNPAY_TMN_CODE"]:
            return {"vnp_ResponseCode": "02", "vnp_Message": "Invalid merchant"}
        if not self._first(body["vnp_RequestId"]):
            return {"vnp_ResponseCode": "94"}
        state, amount = self.facts("vnpay", body["vnp_TxnRef"])
        answer = {
            "ResponseId": "r1", "Command": "querydr", "ResponseCode": "00", "Message": "QueryDR Success",
            "TmnCode": body["vnp_TmnCode"], "TxnRef": body["vnp_TxnRef"], "Amount": str(amount * 100),
            "BankCode": "NCB", "PayDate": "20261123100000", "TransactionNo": "14123456", "TransactionType": "01",
            "OrderInfo": "Thanh toan", **state,
        }  # fmt: skip
        text = "|".join(answer.get(name, "") for name in ORDER_OF_VNPAY)
        hashed = {f"vnp_{name}": value for name, value in answer.items()}
        return {**hashed, "vnp_SecureHash": mac("VNPAY_HASH_SECRET", text, "sha512")}

    def momo(self, body):
        """Answer a query. Return 11 if the signature is wrong, and 40 if a request id is repeated."""
        text = (
            f"accessKey={KEYS['MOMO_ACCESS_KEY']}&orderId={body['orderId']}&partnerCode={body['partnerCode']}"
            f"&requestId={body['requestId']}"
        )
        if body["signature"] != mac("MOMO_SECRET_KEY", text):
            return {"resultCode": 11}
        if body["partnerCode"] != KEYS["MOMO_PARTNER_CODE"]:
            return {"resultCode": 13}
        if not self._first(body["requestId"]):
            return {"resultCode": 40}
        state, amount = self.facts("momo", body["orderId"])
        echoed = {name: body[name] for name in ("partnerCode", "orderId", "requestId")}
        return {**echoed, "amount": amount, "transId": 4088878653, "message": "…", **state}

    def _first(self, request_id):
        known = request_id in self.request_ids
        self.request_ids.add(request_id)
        return not known


def _pairs(data):
    """Return the string that PayOS signs.

    The string contains sorted pairs, with null as an empty string and arrays as compact sorted JSON.
    """
    texts = {name: _payos_text(value) for name, value in data.items()}
    return "&".join(f"{name}={texts[name]}" for name in sorted(texts))


def _payos_text(value):
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return "" if value is None else str(value)


@contextmanager
def serving(gateways: Gateways) -> Iterator[Gateways]:
    """Serve all gateways on a free port on 127.0.0.1 during the ``with`` block."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 20

        def do_GET(self):
            if gateways.hostile is not None:
                gateways.hostile(self)
                return
            answer = gateways.payos(self.path.rpartition("/")[2], self.headers)
            self.answer(answer or {"code": "401"}, 200 if answer else 401)

        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if gateways.hostile is not None:
                gateways.hostile(self)
                return
            if self.path == "/confirm-webhook":
                self.answer(*gateways.confirm_webhook(json.loads(content), self.headers))
                return
            kind = self.headers["Content-Type"]
            name = next(name for name, request in REQUESTS.items() if request == (self.path, kind))
            self.answer(getattr(gateways, name)(json.loads(content) if kind == JSON else content))

        def answer(self, document, status=200):
            gateways.tamper(document)
            body = json.dumps(document, ensure_ascii=False).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Suppress the server's own log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    gateways.base = f"http://127.0.0.1:{server.server_port}"
    try:
        yield gateways
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
