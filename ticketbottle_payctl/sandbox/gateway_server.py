"""Answer status queries on this machine as the gateways do, so that a demo does not need a gateway.

The responses are signed in the same way as the gateways' responses. The queries' signatures are not checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar
from urllib.parse import parse_qs, unquote

from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.sandbox import signing
from ticketbottle_payctl.sandbox.callbacks import gateway_number
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment

_SLOWEST = 10.0
_PAYOS = "/v2/payment-requests/"


@dataclass(frozen=True, slots=True)
class GatewayOrder:
    """An order in its gateway's records. ``paid`` is the paid amount in VND.

    If ``paid`` is 0, the customer can still pay.
    """

    payment: SandboxPayment
    paid: int


@dataclass(frozen=True, slots=True)
class GatewayRecords:
    """The gateways' orders by reference, and the merchant's settings with the keys for signing the responses."""

    orders: Mapping[str, GatewayOrder]
    keys: Mapping[str, str]


@contextmanager
def gateway_server(records: GatewayRecords) -> Iterator[dict[str, str]]:
    """Serve on a free port on 127.0.0.1 during the block. Yield the ``PAYCTL_*_URL`` settings for this server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_BoundHandler", (_Handler,), {"records": records}))
    server.daemon_threads = True
    server.block_on_close = False
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="gateway-server")
    thread.start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        yield {query.url_variable: base for query in QUERIES.values()}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    timeout = _SLOWEST
    records: ClassVar[GatewayRecords]

    def do_GET(self) -> None:
        """Answer a status query for PayOS."""
        if not self.path.startswith(_PAYOS):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self._answer(_payos(unquote(self.path.removeprefix(_PAYOS)), type(self).records))

    def do_POST(self) -> None:
        """Answer a status query for ZaloPay, VNPay or MoMo."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        content = self.rfile.read(int(length))
        answer = _ANSWERS.get(self.path)
        try:
            if answer is None:
                self.send_error(HTTPStatus.NOT_FOUND)
            else:
                self._answer(answer(content, type(self).records))
        except (ValueError, LookupError, TypeError):  # not a query of this gateway
            self.send_error(HTTPStatus.BAD_REQUEST)

    def _answer(self, document: Mapping[str, object]) -> None:
        body = json.dumps(document, ensure_ascii=False).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Print nothing."""


def _zalopay(content: bytes, records: GatewayRecords) -> Mapping[str, object]:
    order = records.orders.get(parse_qs(content.decode())["app_trans_id"][0])
    if order is None:
        return {"return_code": 2, "sub_return_code": -101}
    if not order.paid:
        return {"return_code": 3, "is_processing": True, "amount": order.payment.amount}
    number = gateway_number(order.payment, 15)
    return {"return_code": 1, "is_processing": False, "amount": order.paid, "zp_trans_id": number}


def _payos(reference: str, records: GatewayRecords) -> Mapping[str, object]:
    order = records.orders.get(reference)
    if order is None:
        return {"code": "101", "desc": "no such payment link", "data": None}
    data: dict[str, object] = {
        "id": reference,
        "orderCode": gateway_number(order.payment, 14),
        "amount": order.payment.amount,
        "amountPaid": order.paid,
        "amountRemaining": max(0, order.payment.amount - order.paid),
        "status": "PAID" if order.paid else "PENDING",
        "transactions": [],
        "cancellationReason": None,
        "canceledAt": None,
    }
    signature = signing.payos_signature(data, records.keys["PAYOS_CHECKSUM_KEY"])
    return {"code": "00", "desc": "success", "data": data, "signature": signature}


def _vnpay(content: bytes, records: GatewayRecords) -> Mapping[str, object]:
    asked = json.loads(content)
    order = records.orders.get(asked["vnp_TxnRef"])
    known = {} if order is None else {
        "vnp_Amount": str(100 * (order.paid or order.payment.amount)),
        "vnp_TransactionNo": str(gateway_number(order.payment, 8)),
        "vnp_TransactionType": "01",
        "vnp_TransactionStatus": "00" if order.paid else "01",
    }  # fmt: skip
    fields = {
        "vnp_ResponseId": asked["vnp_RequestId"],
        "vnp_Command": "querydr",
        "vnp_ResponseCode": "00" if known else "91",
        "vnp_Message": "Success" if known else "Transaction not found",
        "vnp_TmnCode": asked["vnp_TmnCode"],
        "vnp_TxnRef": asked["vnp_TxnRef"],
        **known,
    }
    return signing.vnpay_answer(fields, records.keys["VNPAY_HASH_SECRET"])


def _momo(content: bytes, records: GatewayRecords) -> Mapping[str, object]:
    asked = json.loads(content)
    echoed = {name: asked[name] for name in ("partnerCode", "orderId", "requestId")}
    order = records.orders.get(asked["orderId"])
    if order is None:
        return {**echoed, "resultCode": 42}
    if not order.paid:
        return {**echoed, "resultCode": 1000, "amount": order.payment.amount}
    return {**echoed, "resultCode": 0, "amount": order.paid, "transId": gateway_number(order.payment, 10)}


_ANSWERS: dict[str, Callable[[bytes, GatewayRecords], Mapping[str, object]]] = {
    "/v2/query": _zalopay,
    "/merchant_webapi/api/transaction": _vnpay,
    "/v2/gateway/api/query": _momo,
}
