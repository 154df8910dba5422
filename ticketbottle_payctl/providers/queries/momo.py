"""Build MoMo v2's transaction query, and read the response. MoMo documents a signature only for the query.

Source: developers.momo.vn v3, "Check transaction status" and "Result codes". Codes 10 to 47 are about the query, not
the payment. If a paid order was refunded later, its code is still 0, and the response lists the refund.
"""

from __future__ import annotations

from ticketbottle_payctl.domain.callback import IgnoredBecause, Outcome
from ticketbottle_payctl.providers import mac, momo_codes, payload
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.providers.payload import MalformedError
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

NAME = "momo"
_ABOUT_THE_QUESTION = {
    42: NoVerdict.NOT_FOUND,
    **dict.fromkeys((10, 43, 45, 47), NoVerdict.BUSY),
    **dict.fromkeys((11, 12, 13, 20, 21, 22, 40, 41), NoVerdict.QUERY_REFUSED),
}
_UNKNOWN_ERROR = 99
"""The result code for an unknown error. In a response, either the payment or the query may have failed.

In a callback, this code means that the payment failed.
"""

_NO_VERDICTS: dict[IgnoredBecause | None, NoVerdict] = {
    IgnoredBecause.PENDING: NoVerdict.PENDING,
    IgnoredBecause.REFUND: NoVerdict.REFUNDED,
}


def ask(asked: StatusRequest, credentials: Credentials, base: str) -> HttpRequest:
    """Return the query. The request id must be new, because MoMo refuses a repeated id with code 40."""
    partner, access = (mac.texts(credentials, name)[0] for name in ("partner_code", "access_key"))
    text = f"accessKey={access}&orderId={asked.reference}&partnerCode={partner}&requestId={asked.request_id}"
    fields = {"partnerCode": partner, "requestId": asked.request_id, "orderId": asked.reference, "lang": "vi"}
    signature = mac.sign("sha256", credentials, "secret_key", text)
    return post(f"{base}/v2/gateway/api/query", {**fields, "signature": signature})


def read(response: HttpResponse, asked: StatusRequest, credentials: Credentials) -> Answer:
    """Read a response. The response must contain the query's order id, request id and partner code."""
    fields = read_json(response)
    if isinstance(fields, Inconclusive):
        return fields
    code = payload.number_of(fields.get("resultCode"))
    if code is None:
        return Inconclusive(NoVerdict.MALFORMED, "resultCode is missing or not a number")
    if code in _ABOUT_THE_QUESTION:
        return Inconclusive(_ABOUT_THE_QUESTION[code], f"resultCode {code}")
    same = fields.get("orderId") == asked.reference and fields.get("requestId") == asked.request_id
    if not same or fields.get("partnerCode") not in mac.texts(credentials, "partner_code"):
        return Inconclusive(NoVerdict.OTHER_PAYMENT, "orderId, requestId or partnerCode differs from the query's")
    try:
        return _read(fields, asked, code)
    except MalformedError as error:
        return Inconclusive(NoVerdict.MALFORMED, error.detail)


def _read(fields: dict[str, object], asked: StatusRequest, code: int) -> Answer:
    (outcome, because), amount = momo_codes.meaning(code), payload.number_of(fields.get("amount"))
    if because in _NO_VERDICTS:
        return Inconclusive(_NO_VERDICTS[because])
    if outcome is Outcome.COMPLETED and fields.get("refundTrans"):
        return Inconclusive(NoVerdict.REFUNDED, "the customer paid and got a refund")
    if outcome is Outcome.COMPLETED:
        return verdict(NAME, asked, outcome, amount, identifier(fields.get("transId")))
    if outcome is not Outcome.IGNORED and code != _UNKNOWN_ERROR:
        return verdict(NAME, asked, outcome, amount)
    return Inconclusive(NoVerdict.UNKNOWN_STATE, f"resultCode {code}" if code < 100_000 else "resultCode")  # noqa: PLR2004


QUERY = StatusQuery(
    gateway=NAME,
    needs=("partner_code", "access_key", "secret_key"),
    url_variable="PAYCTL_MOMO_URL",
    hosts=("https://test-payment.momo.vn", "https://payment.momo.vn"),
    ask=ask,
    read=read,
)
