"""Build ZaloPay v2's order query, signed with key1, and read the response. The response is not signed.

Source: docs.zalopay.vn, "Query order's payment status" and "Status codes". ZaloPay answers queries about an order for
48 hours after the order is created. Later, only the merchant portal shows the order. For an unpaid order, only expiry
is final, because the customer can pay again after a failed attempt. So return code 2 with an undocumented sub code does
not settle the payment. If payctl set it to FAILED, a customer who has paid might lose their tickets.
"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

from ticketbottle_payctl.domain.callback import Outcome
from ticketbottle_payctl.providers import mac, payload
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
    read_json,
    verdict,
)

NAME = "zalopay"
PAID, FAILED, UNPAID = 1, 2, 3
EXPIRED = -54
_PAYABLE = timedelta(hours=1)
"""The age at which payctl treats an unpaid order as expired. At ZaloPay, the order expires after 15 minutes."""

_ABOUT_THE_QUESTION: dict[int | None, NoVerdict] = {
    -101: NoVerdict.NOT_FOUND,
    **dict.fromkeys((-429, -500, -999), NoVerdict.BUSY),
    **dict.fromkeys((-401, -402), NoVerdict.QUERY_REFUSED),
}


def ask(asked: StatusRequest, credentials: Credentials, base: str) -> HttpRequest:
    """Return the query. Its mac is computed from ``app_id|app_trans_id|key1`` with key1."""
    app_id, key1 = (mac.texts(credentials, name)[0] for name in ("app_id", "key1"))
    text = f"{app_id}|{asked.reference}|{key1}"
    fields = {"app_id": app_id, "app_trans_id": asked.reference, "mac": mac.sign("sha256", credentials, "key1", text)}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    return HttpRequest("POST", f"{base}/v2/query", headers, urlencode(fields).encode())


def read(response: HttpResponse, asked: StatusRequest, _: Credentials) -> Answer:
    """Read a response.

    Code 1 means that the order is paid. Code 2 with the sub code -54 means that the order has expired. Code 3 means
    that the order is unpaid. payctl treats an unpaid order as expired if it is old enough.
    """
    fields = read_json(response)
    if isinstance(fields, Inconclusive):
        return fields
    code, sub = payload.number_of(fields.get("return_code")), _signed(fields.get("sub_return_code"))
    if fields.get("is_processing") is True:
        return Inconclusive(NoVerdict.PENDING)
    if code != PAID and sub in _ABOUT_THE_QUESTION:
        return Inconclusive(_ABOUT_THE_QUESTION[sub], f"sub_return_code {sub}")
    if code == UNPAID and (fields.get("is_processing") is not False or asked.at - asked.created_at < _PAYABLE):
        return Inconclusive(NoVerdict.PENDING)
    try:
        return _read(fields, asked, code, sub)
    except MalformedError as error:
        return Inconclusive(NoVerdict.MALFORMED, error.detail)


def _read(fields: dict[str, object], asked: StatusRequest, code: int | None, sub: int | None) -> Answer:
    amount = payload.number_of(fields.get("amount"))
    if code == PAID:
        return verdict(NAME, asked, Outcome.COMPLETED, amount, identifier(fields.get("zp_trans_id")))
    if code == UNPAID or (code == FAILED and sub == EXPIRED):
        return verdict(NAME, asked, Outcome.CANCELLED, amount)
    if code == FAILED:
        return Inconclusive(NoVerdict.UNKNOWN_STATE, _code(sub))
    return Inconclusive(NoVerdict.MALFORMED, "return_code is not 1, 2 or 3")


def _code(sub: int | None) -> str:
    return f"sub_return_code {sub}" if sub is not None and abs(sub) < 100_000 else "sub_return_code"  # noqa: PLR2004


def _signed(value: object) -> int | None:
    """Return the integer that a JSON number or a string represents, or None. The integer may be negative."""
    if isinstance(value, str) and value.startswith("-"):
        found = payload.number_of(value[1:])
        return None if found is None else -found
    return payload.number_of(value)


QUERY = StatusQuery(
    gateway=NAME,
    needs=("app_id", "key1"),
    url_variable="PAYCTL_ZALOPAY_URL",
    hosts=("https://sb-openapi.zalopay.vn", "https://openapi.zalopay.vn"),
    ask=ask,
    read=read,
    within=timedelta(hours=48),
)
