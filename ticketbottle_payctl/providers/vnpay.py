"""Verify VNPay 2.1.0 callbacks. A callback is a GET with ``vnp_`` parameters, which are signed with the hash secret.

The signed text consists of the sorted and encoded parameters. VNPAY's samples encode values in different ways, and the
server's encoding is not documented. So payctl first tries the query's text as received, then the decoded values in the
documented encoding. Each of these strings decodes to only one set of values, so payctl never accepts values that were
not signed.

Source: sandbox.vnpayment.vn/apis/docs, "Thanh toán PAY" (IPN, response codes, RspCode). The details that the
documentation omits come from VNPAY's own samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote_plus, unquote_plus

from ticketbottle_payctl.domain.callback import (
    MAX_BODY_BYTES,
    Answer,
    Callback,
    Rejected,
    RejectReason,
    Reply,
    Request,
    Unclear,
)
from ticketbottle_payctl.providers import mac, payload, vnpay_codes
from ticketbottle_payctl.providers.gateway import CredentialField, Credentials, Gateway
from ticketbottle_payctl.providers.json_replies import json_reply
from ticketbottle_payctl.providers.payload import MalformedError
from ticketbottle_payctl.providers.reply_code import ReplyCode
from ticketbottle_payctl.providers.verdict import Named, NotGenuineError, judge

NAME = "vnpay"
HASH, HASH_TYPE = "vnp_SecureHash", "vnp_SecureHashType"
UNSIGNED = frozenset({HASH, HASH_TYPE})
_NUMBER = re.compile(r"[0-9]{1,64}", re.ASCII)
_REPLIES: dict[Answer, tuple[str, str]] = {
    Answer.DONE: ("00", "Confirm Success"),
    Answer.IGNORED: ("00", "Confirm Success"),
    Answer.DUPLICATE: ("02", "Order already confirmed"),
    Answer.UNKNOWN_ORDER: ("01", "Order not found"),
    Answer.WRONG_AMOUNT: ("04", "Invalid amount"),
    Answer.BAD_SIGNATURE: ("97", "Invalid signature"),
    Answer.UNCLEAR: ("99", "Not readable"),
    Answer.TRY_AGAIN: ("99", "Try again"),
    Answer.NOT_CONFIGURED: ("99", "Not configured"),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One ``vnp_`` parameter, both as received and decoded."""

    raw_name: str
    raw_value: str
    name: str
    value: str


def verify(request: Request, credentials: Credentials) -> Callback | Unclear | Rejected:
    """Verify a callback, then read its content. Never raise an exception, even for malformed input.

    ``vnp_SecureHashType`` does not choose the algorithm, because it is not signed.
    """
    secrets, terminals = mac.keys(credentials, "hash_secret"), mac.texts(credentials, "tmn_code")
    if not secrets or not terminals:
        return Rejected(NAME, RejectReason.NOT_CONFIGURED, "tmn_code or hash_secret is not configured")
    return judge(NAME, partial(_prove, request.query, secrets, terminals), _read, _names)


def _names(values: dict[str, str]) -> Named:
    order = values.get("vnp_TxnRef")
    return Named(order, order)


def _prove(query: str, secrets: tuple[bytes, ...], terminals: tuple[str, ...]) -> dict[str, str]:
    """Return the parameters of a query that VNPay signed for this terminal."""
    parameters = read_query(query)
    values = {parameter.name: parameter.value for parameter in parameters}
    # The hex digits may be in upper or lower case, because VNPAY's own C# sample ignores case.
    presented = mac.presented(values.get(HASH)).lower()
    if not any(mac.matches("sha512", secrets, presented, text.encode()) for text in signed_texts(parameters)):
        message = "vnp_SecureHash does not match the hash of the vnp_ parameters computed with the secret"
        raise NotGenuineError(RejectReason.SIGNATURE, message)
    if values.get("vnp_TmnCode") not in terminals:
        raise NotGenuineError(RejectReason.OTHER_MERCHANT, "vnp_TmnCode does not match the configured terminal")
    if not values.get("vnp_ResponseCode") and not values.get("vnp_TransactionStatus"):
        # The merchant's own payment URL is signed with the same secret, and the customer sees this URL. An empty
        # parameter may be unsigned, so a customer could add one.
        raise NotGenuineError(RejectReason.MALFORMED, "the query has no result: it is a payment URL, not a callback")
    return values


def read_query(query: str) -> list[Parameter]:
    """Return the ``vnp_`` parameters, sorted by name. Ignore other parameters, because VNPAY did not sign them.

    Raises:
        MalformedError: the query is too large, or a ``vnp_`` parameter is not UTF-8 or occurs twice.
    """
    if len(query) > MAX_BODY_BYTES:
        detail = "the query is too large"
        raise MalformedError(detail)
    parameters: dict[str, Parameter] = {}
    for pair in query.split("&"):
        raw_name, _, raw_value = pair.partition("=")
        if not (raw_name.startswith("vnp_") or unquote_plus(raw_name).startswith("vnp_")):
            continue
        parameter = Parameter(raw_name, raw_value, _decoded(raw_name), _decoded(raw_value))
        if parameter.name in parameters:
            detail = "a vnp_ parameter occurs twice"
            raise MalformedError(detail)
        parameters[parameter.name] = parameter
    return [parameters[name] for name in sorted(parameters)]


def signed_texts(parameters: list[Parameter]) -> Iterator[str]:
    """Yield the strings that VNPay may have signed, most likely first.

    The Java and C# samples leave out empty values, but the PHP sample signs them. The documentation does not say which
    samples are right. PHP also encodes some characters differently, such as ``*`` as ``%2A``.
    """
    yield received_text(parameters)
    yield canonical_text(parameters)
    if any(not one.value for one in parameters):
        yield received_text(parameters, empty=True)
        yield canonical_text(parameters, empty=True)


def received_text(parameters: list[Parameter], *, empty: bool = False) -> str:
    """Return the signed parameters in their received encoding. Include empty values only if ``empty`` is True."""
    return "&".join(
        [f"{one.raw_name}={one.raw_value}" for one in parameters if (empty or one.value) and one.name not in UNSIGNED]
    )


def canonical_text(parameters: list[Parameter], *, empty: bool = False) -> str:
    """Return the signed parameters in the documented encoding. Include empty values only if ``empty`` is True."""
    return "&".join(
        [
            f"{form_encoded(one.name)}={form_encoded(one.value)}"
            for one in parameters
            if (empty or one.value) and one.name not in UNSIGNED
        ]
    )


def form_encoded(text: str) -> str:
    """Encode a string as HTML forms do (``application/x-www-form-urlencoded``).

    A space becomes ``+``. Any other character outside ``A-Za-z0-9*-._`` becomes ``%XX`` in upper case.
    """
    return quote_plus(text, safe="*").replace("~", "%7E")


def _decoded(raw: str) -> str:
    if raw.isascii() and "%" not in raw:
        return raw.replace("+", " ")
    try:
        text = unquote_plus(raw, errors="strict")
        text.encode()
    except UnicodeError:
        detail = "a vnp_ parameter is not UTF-8"
        raise MalformedError(detail) from None
    return text


def _read(values: dict[str, str]) -> Callback:
    fields: dict[str, object] = {**values}
    order = payload.text_of(fields, "vnp_TxnRef")
    response = payload.text_of(fields, "vnp_ResponseCode")
    status = payload.text_of(fields, "vnp_TransactionStatus")
    number = _transaction_id(values.get("vnp_TransactionNo", ""))
    outcome, because = vnpay_codes.meaning(response, status)
    return Callback(
        provider=NAME,
        outcome=outcome,
        reference=order,
        order_ref=order,
        gateway_transaction_id=number,
        amount=_amount(values.get("vnp_Amount", "")),
        ignored_because=because,
        payment_number=number,
    )


def _amount(text: str) -> int:
    hundredths = int(text) if _NUMBER.fullmatch(text) else 0
    # vnp_Amount is 100 times the amount in VND. A remainder would be a fraction of one VND, so the amount is invalid.
    return payload.amount_of(None if hundredths % 100 else hundredths // 100)


def _transaction_id(text: str) -> str | None:
    if not _NUMBER.fullmatch(text):
        detail = "vnp_TransactionNo is missing or not a number"
        raise MalformedError(detail)
    return text if text.strip("0") else None


def recognises(request: Request) -> bool:
    """Return whether the query has the parameter ``vnp_SecureHash``."""
    return payload.has_parameters(request.query, HASH)


def reply(answer: Answer) -> Reply:
    """Return the reply to VNPay for an answer: HTTP 200 with an RspCode.

    After 00 or 02, VNPay does not call again. After any other code, it calls ten times, five minutes apart. A failed or
    suspicious payment gets 00 too, because 00 only confirms that payctl has received the callback.
    """
    code, message = _REPLIES[answer]
    return json_reply({"RspCode": code, "Message": message})


GATEWAY = Gateway(
    name=NAME,
    spellings=("vnpay", "vn-pay"),
    fields=(
        CredentialField("tmn_code", "VNPAY_TMN_CODE", secret=False),
        CredentialField("hash_secret", "VNPAY_HASH_SECRET"),
    ),
    recognises=recognises,
    verify=verify,
    reply=reply,
    method="GET",
    reply_code=ReplyCode(
        "RspCode",
        frozenset({"00", "02"}),
        {
            "01": "the service does not know the order",
            "04": "the service expects a different amount",
            "97": "the service rejected the signature; first check the service's key",
            "99": "the service could not process it",
        },
        "VNPay accepts only 00 and 02 as an acknowledgement",
    ),
)
