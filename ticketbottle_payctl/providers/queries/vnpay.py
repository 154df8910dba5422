"""Build VNPay's status query (querydr) and read the response.

The hash secret signs the query and the response. The signed fields of the response are in a different order.

Source: sandbox.vnpayment.vn/apis/docs, "Truy vấn kết quả thanh toán (querydr)". VNPay gives the production host only to
merchants. The query needs the creation time that was sent with the payment. The payment service does not store this
time, so payctl sends the row's ``"createdAt"`` in Vietnamese time.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ticketbottle_payctl.domain.callback import IgnoredBecause, Outcome
from ticketbottle_payctl.providers import mac, payload, vnpay_codes
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.providers.payload import MalformedError, Real
from ticketbottle_payctl.providers.queries.exchange import HttpRequest, HttpResponse
from ticketbottle_payctl.providers.queries.status_query import (
    Answer,
    Inconclusive,
    NoVerdict,
    StatusQuery,
    StatusRequest,
    identifier,
    post,
    read_json,
    verdict,
)

NAME = "vnpay"
ASKED = ("RequestId", "Version", "Command", "TmnCode", "TxnRef", "TransactionDate", "CreateDate", "IpAddr", "OrderInfo")
"""The signed fields of a query, in the order of the signed text. In the text, the values are joined with ``|``."""

ANSWERED = (
    "ResponseId", "Command", "ResponseCode", "Message", "TmnCode", "TxnRef", "Amount", "BankCode", "PayDate",
    "TransactionNo", "TransactionType", "TransactionStatus", "OrderInfo", "PromotionCode", "PromotionAmount",
)  # fmt: skip
"""The signed fields of a response, in the order of the signed text. A missing field counts as empty."""

_DONE, _NO_SUCH, _TOO_SOON = "00", "91", frozenset({"94", "99"})
_PAYMENT = "01"
_NO_VERDICTS = {
    IgnoredBecause.PENDING: NoVerdict.PENDING,
    IgnoredBecause.HELD: NoVerdict.HELD,
    IgnoredBecause.REFUND: NoVerdict.REFUNDED,
}
_VIETNAM = timezone(timedelta(hours=7))


def ask(asked: StatusRequest, credentials: Credentials, base: str) -> HttpRequest:
    """Return the query. A request id has at most 32 characters and must be unique within a day."""
    values = {
        "RequestId": asked.request_id.replace("-", "")[:32],
        "Version": "2.1.0",
        "Command": "querydr",
        "TmnCode": mac.texts(credentials, "tmn_code")[0],
        "TxnRef": asked.reference,
        "TransactionDate": stamp(asked.created_at),
        "CreateDate": stamp(asked.at),
        "IpAddr": "127.0.0.1",
        "OrderInfo": "Truy van giao dich",
    }
    text = "|".join(values[name] for name in ASKED)
    fields = {f"vnp_{name}": value for name, value in values.items()}
    signature = mac.sign("sha512", credentials, "hash_secret", text)
    return post(f"{base}/merchant_webapi/api/transaction", {**fields, "vnp_SecureHash": signature})


def read(response: HttpResponse, asked: StatusRequest, credentials: Credentials) -> Answer:
    """Read a response. ResponseCode is the result of the query, and TransactionStatus is the status of the payment."""
    fields = read_json(response)
    if isinstance(fields, Inconclusive):
        return fields
    code = fields.get("vnp_ResponseCode")
    if code != _DONE:
        because = NoVerdict.BUSY if code in _TOO_SOON else NoVerdict.QUERY_REFUSED
        return Inconclusive(NoVerdict.NOT_FOUND if code == _NO_SUCH else because, _code(code))
    presented = mac.presented(fields.get("vnp_SecureHash")).lower()
    text = "|".join(_text(fields.get(f"vnp_{name}")) for name in ANSWERED)
    if not mac.matches("sha512", mac.keys(credentials, "hash_secret"), presented, text.encode()):
        return Inconclusive(
            NoVerdict.SIGNATURE, "vnp_SecureHash does not match the response's hash computed with the secret"
        )
    if fields.get("vnp_TxnRef") != asked.reference or fields.get("vnp_TmnCode") not in mac.texts(
        credentials, "tmn_code"
    ):
        return Inconclusive(NoVerdict.OTHER_PAYMENT, "vnp_TxnRef or vnp_TmnCode differs from the query's")
    return _read(fields, asked)


def _read(fields: dict[str, object], asked: StatusRequest) -> Answer:
    if fields.get("vnp_TransactionType") != _PAYMENT:
        return Inconclusive(NoVerdict.REFUNDED, "the transaction is a refund, not a payment")
    hundredths = payload.number_of(fields.get("vnp_Amount"))
    amount = None if hundredths is None or hundredths % 100 else hundredths // 100
    status = fields.get("vnp_TransactionStatus")
    outcome, because = vnpay_codes.meaning(vnpay_codes.PAID, status if isinstance(status, str) else "")
    if because:
        return Inconclusive(_NO_VERDICTS.get(because, NoVerdict.UNKNOWN_STATE), _code(status))
    number_there = identifier(fields.get("vnp_TransactionNo")) if outcome is Outcome.COMPLETED else None
    try:
        return verdict(NAME, asked, outcome, amount, number_there)
    except MalformedError as error:
        return Inconclusive(NoVerdict.MALFORMED, error.detail)


def stamp(at: datetime) -> str:
    """Return a time as ``yyyyMMddHHmmss`` in Vietnamese time."""
    return at.astimezone(_VIETNAM).strftime("%Y%m%d%H%M%S")


def _text(value: object) -> str:
    if isinstance(value, Real):
        return value.text
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _code(code: object) -> str:
    return f"code {code}" if isinstance(code, str) and len(code) == 2 and code.isalnum() and code.isascii() else "code"  # noqa: PLR2004


QUERY = StatusQuery(
    gateway=NAME,
    needs=("tmn_code", "hash_secret"),
    url_variable="PAYCTL_VNPAY_URL",
    hosts=("https://sandbox.vnpayment.vn", None),
    ask=ask,
    read=read,
)
