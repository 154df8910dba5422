"""Verify MoMo AIO v2 callbacks. A callback is a POST with twelve signed fields.

The signed text consists of the access key and the twelve fields in a fixed order. The values in this text are not
escaped. So the order id must have its documented format, and values must not contain another order id. Otherwise a
customer might choose an order description that makes the signature valid for a second order too.

Sources: developers.momo.vn v3, "Payment notification" (fields, signature, 204) and "Result codes". Further details come
from real callbacks from MoMo's sandbox.
"""

from __future__ import annotations

import re
from functools import partial

from ticketbottle_payctl.domain.callback import (
    Answer,
    Callback,
    IgnoredBecause,
    Outcome,
    Rejected,
    RejectReason,
    Reply,
    Request,
    Unclear,
)
from ticketbottle_payctl.providers import javascript, mac, momo_codes, payload
from ticketbottle_payctl.providers.gateway import CredentialField, Credentials, Gateway
from ticketbottle_payctl.providers.json_replies import json_reply
from ticketbottle_payctl.providers.payload import MalformedError, Real
from ticketbottle_payctl.providers.verdict import AmbiguousError, Named, NotGenuineError, judge

NAME = "momo"
NUMBERS = frozenset({"amount", "transId", "resultCode", "responseTime"})
SIGNED = (
    "amount",
    "extraData",
    "message",
    "orderId",
    "orderInfo",
    "orderType",
    "partnerCode",
    "payType",
    "requestId",
    "responseTime",
    "resultCode",
    "transId",
)
"""The signed fields, in the order of the signed text. The text begins with the access key, which is not in the body."""

# This matches the same strings as the documented pattern ^[0-9a-zA-Z]([-_.]*[0-9a-zA-Z]+)*$, which backtracks
# exponentially.
_ORDER_ID = re.compile(r"[0-9A-Za-z](?:[-_.0-9A-Za-z]*[0-9A-Za-z])?", re.ASCII)
_REPLIES: dict[Answer, tuple[int, str | None]] = {
    Answer.DONE: (204, None),
    Answer.DUPLICATE: (204, None),
    Answer.IGNORED: (204, None),
    Answer.UNKNOWN_ORDER: (204, None),
    Answer.WRONG_AMOUNT: (204, None),
    Answer.BAD_SIGNATURE: (400, "invalid signature"),
    Answer.UNCLEAR: (500, "not readable"),
    Answer.TRY_AGAIN: (500, "try again"),
    Answer.NOT_CONFIGURED: (503, "not configured"),
}


def verify(request: Request, credentials: Credentials) -> Callback | Unclear | Rejected:
    """Verify a callback, then read its content. Never raise an exception, even for malformed input."""
    secrets, access_keys = mac.keys(credentials, "secret_key"), mac.texts(credentials, "access_key")
    partners = mac.texts(credentials, "partner_code")
    if not secrets or not access_keys or not partners:
        detail = "partner_code, access_key or secret_key is not configured"
        return Rejected(NAME, RejectReason.NOT_CONFIGURED, detail)
    prove = partial(_prove, request.body, secrets, access_keys, partners)
    return judge(NAME, prove, _read, _names)


def _names(proven: tuple[dict[str, object], MalformedError | None]) -> Named:
    order = proven[0].get("orderId")
    return Named(order, order)


def _prove(
    received: bytes, secrets: tuple[bytes, ...], access_keys: tuple[str, ...], partners: tuple[str, ...]
) -> tuple[dict[str, object], MalformedError | None]:
    """Return the body that MoMo signed for this merchant, and the error if the body has the wrong format."""
    body, problem = payload.read_whatever(received)
    try:
        texts = signed_texts(body, access_keys)
    except MalformedError as error:
        problem = problem or error
        texts = [f"accessKey={key}&{_guessed_text(body)}".encode("utf-8", "replace") for key in access_keys]
    if not mac.matches("sha256", secrets, mac.presented(body.get("signature")), *texts):
        detail = "our keys produce a different signature for the signed fields"
        raise problem or NotGenuineError(RejectReason.SIGNATURE, detail)
    if body.get("partnerCode") not in partners:
        raise NotGenuineError(RejectReason.OTHER_MERCHANT, "partnerCode does not match the configured merchant")
    return body, problem


def signed_texts(body: dict[str, object], access_keys: tuple[str, ...]) -> list[bytes]:
    """Return the strings that MoMo may have signed, one for each access key.

    MoMo does not document how it prints a number with a fraction or an exponent. Therefore, if a body contains such
    numbers, the result also contains strings with the characters as they were received.
    """
    pairs = [pairs_text(body)]
    if Real in map(type, body.values()):
        pairs.append(pairs_text(body, as_received=True))
    return [f"accessKey={key}&{text}".encode("utf-8", "surrogatepass") for key in access_keys for text in pairs]


def pairs_text(body: dict[str, object], *, as_received: bool = False) -> str:
    """Return the part of the signed text that follows the access key. Nothing is encoded or left out.

    Raises:
        MalformedError: a field is missing or has the wrong type.
    """
    # Most values are already text. A function call for each value would take a fifth of the verification's time.
    texts = [
        text if isinstance(text := body.get(name), str) else value_text(body, name, as_received=as_received)
        for name in SIGNED
    ]
    return "&".join(map("=".join, zip(SIGNED, texts, strict=True)))


def _guessed_text(body: dict[str, object]) -> str:
    """Return the text that MoMo probably signed for a body that breaks the documentation.

    Print the values in the same way as JavaScript.
    """
    absent = {name: "" for name in SIGNED if body.get(name) is None}
    values = {**body, **absent}
    return "&".join([f"{name}={_printed(values[name])}" for name in SIGNED])


def _printed(value: object) -> str:
    return value if isinstance(value, str) else javascript.stringify(value)


def value_text(body: dict[str, object], name: str, *, as_received: bool = False) -> str:
    """Return one field's part of the signed text. For a descriptive field that is null, return an empty string.

    Raises:
        MalformedError: the field is missing or has the wrong type.
    """
    value = body.get(name, ())
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, Real):
        whole = None if as_received else payload.whole_number(value)
        return value.text if whole is None else str(whole)
    if value is None and name not in NUMBERS:
        return ""
    detail = f"{name} is missing or neither a string nor a number"
    raise MalformedError(detail)


def _read(proven: tuple[dict[str, object], MalformedError | None]) -> Callback:
    body, problem = proven
    if problem:
        raise problem
    if _is_ambiguous(body):
        detail = "the signed text could also describe a different order"
        raise AmbiguousError(detail)
    order = payload.text_of(body, "orderId")
    if not _ORDER_ID.fullmatch(order):
        detail = "orderId does not have the documented format"
        raise MalformedError(detail)
    code = payload.number_of(body.get("resultCode"))
    if code is None:
        detail = "resultCode is not a number"
        raise MalformedError(detail)
    number = payload.transaction_id_of(payload.number_of(body.get("transId")))
    amount = payload.number_of(body.get("amount"))
    if amount == 0 and body.get("orderType") not in ("", None):  # null and an empty string are signed as the same text
        # MoMo's documentation of account binding says that a request that only links a wallet has the amount 0.
        return Callback(NAME, Outcome.IGNORED, order, order, number, None, ignored_because=IgnoredBecause.AGREEMENT)
    outcome, because = momo_codes.meaning(code)
    return Callback(
        provider=NAME,
        outcome=outcome,
        reference=order,
        order_ref=order,
        gateway_transaction_id=number,
        amount=payload.amount_of(amount),
        ignored_because=because,
        payment_number=number,
    )


def _is_ambiguous(body: dict[str, object]) -> bool:
    """Return whether a value contains another order id, so that the signed text may mean another order.

    Other field names do not need this check. The order of the fields is fixed, the amount comes before every free-text
    field, and the last three fields are numbers.
    """
    return any(isinstance(value := body.get(name), str) and "&orderId=" in value for name in SIGNED)


def recognises(request: Request) -> bool:
    """Return whether the body is a JSON object with ``partnerCode`` and ``signature``."""
    return payload.has_fields(request.body, "partnerCode", "signature")


def reply(answer: Answer) -> Reply:
    """Return the reply to MoMo for an answer. After status 204 without a body, MoMo does not call again.

    MoMo does not document whether it calls again after any other status.
    """
    status, problem = _REPLIES[answer]
    return json_reply({"message": problem}, status) if problem else Reply(status)


GATEWAY = Gateway(
    name=NAME,
    spellings=("momo",),
    fields=(
        CredentialField("partner_code", "MOMO_PARTNER_CODE", secret=False),
        CredentialField("access_key", "MOMO_ACCESS_KEY"),
        CredentialField("secret_key", "MOMO_SECRET_KEY"),
    ),
    recognises=recognises,
    verify=verify,
    reply=reply,
    reply_code=None,
)
