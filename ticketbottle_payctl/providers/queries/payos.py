"""Read PayOS's response about a payment link. PayOS's own library sends the query (``payos_sdk``).

PayOS signs ``data`` in a response in the same way as in a callback. PayOS has no test host.

Source: payos.vn/docs, "Lấy thông tin link thanh toán". The states come from the official payos-lib-python.
"""

from __future__ import annotations

from ticketbottle_payctl.domain.callback import Outcome
from ticketbottle_payctl.providers import mac, payload, payos
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.providers.payload import MalformedError
from ticketbottle_payctl.providers.queries.exchange import HttpResponse
from ticketbottle_payctl.providers.queries.status_query import (
    Answer,
    Inconclusive,
    NoVerdict,
    StatusQuery,
    StatusRequest,
    read_json,
    verdict,
)

NAME = "payos"
DONE, NO_SUCH = "00", "101"
_PENDING = frozenset({"PENDING", "PROCESSING"})
_ENDED = {"CANCELLED": Outcome.CANCELLED, "EXPIRED": Outcome.CANCELLED, "FAILED": Outcome.FAILED}


def read(response: HttpResponse, asked: StatusRequest, credentials: Credentials) -> Answer:
    """Read a response. Before the signature over ``data`` is verified, use only the code."""
    envelope = read_json(response)
    if isinstance(envelope, Inconclusive):
        return envelope
    code = envelope.get("code")
    if code != DONE:
        return Inconclusive(NoVerdict.NOT_FOUND if code == NO_SUCH else NoVerdict.QUERY_REFUSED, _code(code))
    try:
        data = payos.data_of(envelope)
        keys = mac.keys(credentials, "checksum_key")
        if not mac.matches(
            "sha256", keys, mac.presented(envelope.get("signature")), payos.signed_text(data).encode("utf-8")
        ):
            return Inconclusive(NoVerdict.SIGNATURE, "the signature was not made from data with the checksum key")
        return _read(data, asked)
    except MalformedError as error:
        return Inconclusive(NoVerdict.MALFORMED, error.detail)


def _read(data: dict[str, object], asked: StatusRequest) -> Answer:
    if data.get("id") != asked.reference:
        return Inconclusive(NoVerdict.OTHER_PAYMENT, "id is not the requested payment link")
    status, paid = data.get("status"), payload.number_of(data.get("amountPaid"))
    if status == "PAID":
        return verdict(NAME, asked, Outcome.COMPLETED, paid, asked.reference)
    if paid != 0:
        return Inconclusive(NoVerdict.PARTLY_PAID, "the customer paid, but the status of the link is not PAID")
    if status in _PENDING:
        return Inconclusive(NoVerdict.PENDING)
    if isinstance(status, str) and status in _ENDED:
        return verdict(NAME, asked, _ENDED[status], payload.number_of(data.get("amount")), asked.reference)
    return Inconclusive(NoVerdict.UNKNOWN_STATE, "a status that is not documented")


def _code(code: object) -> str:
    return f"code {code}" if isinstance(code, str) and code.isascii() and code.isalnum() and len(code) <= 8 else "code"  # noqa: PLR2004


QUERY = StatusQuery(
    gateway=NAME,
    needs=("client_id", "api_key", "checksum_key"),
    url_variable="PAYCTL_PAYOS_URL",
    hosts=("https://api-merchant.payos.vn", "https://api-merchant.payos.vn"),
    ask=None,
    read=read,
)
