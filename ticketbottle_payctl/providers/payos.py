"""Verify PayOS callbacks. A callback is a POST with a ``data`` object, which is signed with the checksum key.

The signed text consists of the sorted ``name=value`` pairs of ``data``. The envelope's ``code`` and ``success`` are not
signed, so payctl does not use them.

Sources: payos.vn/docs, "Kiểm tra dữ liệu với signature" and "Webhook". The official payos-lib-node 2.0.5 shows what the
documentation omits (null, numbers, arrays, the order of names).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from ticketbottle_payctl.domain.callback import (
    Answer,
    Callback,
    IgnoredBecause,
    OrderHint,
    Outcome,
    Rejected,
    RejectReason,
    Reply,
    Request,
    Unclear,
)
from ticketbottle_payctl.providers import javascript, mac, payload
from ticketbottle_payctl.providers.gateway import CredentialField, Credentials, Gateway
from ticketbottle_payctl.providers.json_replies import json_reply
from ticketbottle_payctl.providers.payload import MalformedError
from ticketbottle_payctl.providers.verdict import AmbiguousError, Named, NotGenuineError, judge

NAME = "payos"
PING_ORDER = "123"
PING_DESCRIPTIONS = ("VQRIO123", "Ma giao dich thu nghiem")
"""The descriptions in the test callback that PayOS sends when a URL is registered.

PayOS signs the test callback with the merchant's key. PayOS used the second description in the past.
"""

_DECIDING = ("amount", "code", "currency", "description", "orderCode", "paymentLinkId", "reference")
"""The fields on which payctl's decision depends."""

_BASE_36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SIGNED_AS_EMPTY = ("null", "undefined")
_REPLIES: dict[Answer, tuple[int, str | None]] = {
    Answer.DONE: (200, None),
    Answer.DUPLICATE: (200, None),
    Answer.IGNORED: (200, None),
    # A callback for an unknown order needs a 2xx, because PayOS's test callback at registration has no known order.
    Answer.UNKNOWN_ORDER: (200, None),
    Answer.WRONG_AMOUNT: (200, None),
    Answer.BAD_SIGNATURE: (400, "invalid signature"),
    Answer.UNCLEAR: (500, "not readable"),
    Answer.TRY_AGAIN: (500, "try again"),
    Answer.NOT_CONFIGURED: (503, "not configured"),
}


def verify(request: Request, credentials: Credentials) -> Callback | Unclear | Rejected:
    """Verify a callback, then read its content. Never raise an exception, even for malformed input."""
    keys = mac.keys(credentials, "checksum_key")
    if not keys:
        return Rejected(NAME, RejectReason.NOT_CONFIGURED, "checksum_key is not configured")
    return judge(NAME, partial(_prove, request.body, keys), _read, _names)


class _Proven(NamedTuple):
    """The data that PayOS signed, its signed text, and the error if the body has the wrong format."""

    data: dict[str, object]
    text: str
    problem: MalformedError | None


def _prove(body: bytes, keys: tuple[bytes, ...]) -> _Proven:
    envelope, problem = payload.read_whatever(body)
    try:
        data = data_of(envelope)
        text = signed_text(data)
    except MalformedError as error:
        raise problem or error from None
    if not mac.matches("sha256", keys, mac.presented(envelope.get("signature")), text.encode("utf-8", "replace")):
        detail = "the signature does not match data with the checksum key"
        raise problem or NotGenuineError(RejectReason.SIGNATURE, detail)
    return _Proven(data, text, problem)


def _names(proven: _Proven) -> Named:
    number = payload.number_of(proven.data.get("orderCode"))
    hint = None if number is None else order_hint(number)
    return Named(proven.data.get("paymentLinkId"), str(number or ""), hint)


def _is_ambiguous(data: dict[str, object], text: str) -> bool:
    """Return whether data with a different order, amount or outcome could have the same signed text.

    Nothing in the signed text is escaped, so ``&orderCode=5`` inside a value looks like a separate field. Therefore
    each deciding field must begin in only one place, and its value must end at the next ``&``.
    """
    if text.count("&") == len(data) - 1:
        return False
    for name in _DECIDING:
        if f"&{text}".count(f"&{name}=") != (name in data) or "&" in value_text(data.get(name)):
            return True
    return any("&" in name or "=" in name for name in data)


def data_of(envelope: dict[str, object]) -> dict[str, object]:
    """Return the signed ``data`` object.

    Raises:
        MalformedError: ``data`` is not an object.
    """
    data = envelope.get("data")
    if not isinstance(data, dict):
        detail = "data is not an object"
        raise MalformedError(detail)
    return data


def signed_text(data: dict[str, object]) -> str:
    """Return the signed text: the sorted ``name=value`` pairs, joined with ``&``, without encoding."""
    return "&".join([f"{name}={value_text(data[name])}" for name in javascript.sorted_names(list(data))])


def value_text(value: object) -> str:
    """Return a value in the format that PayOS signs. Null, "null" and "undefined" become an empty string."""
    if isinstance(value, str):
        return "" if value in _SIGNED_AS_EMPTY else value
    if value is None:
        return ""
    if isinstance(value, list):
        return javascript.stringify([_sorted_element(element) for element in value])
    if isinstance(value, dict):
        return "[object Object]"
    return javascript.stringify(value)


def _sorted_element(element: object) -> object:
    """Return an array's element in the format that PayOS signs.

    PayOS sorts the element's members, and splits strings into UTF-16 units.
    """
    if isinstance(element, dict):
        return {name: element[name] for name in javascript.sorted_names(list(element))}
    if isinstance(element, str):
        return {str(index): letter for index, letter in enumerate(javascript.utf16_units(element))}
    if isinstance(element, list):
        return {str(index): item for index, item in enumerate(element)}
    if element is None:
        detail = "an array contains null, which PayOS never signs"
        raise MalformedError(detail)
    return {}


def _read(proven: _Proven) -> Callback:
    data = proven.data
    if proven.problem:
        raise proven.problem
    if _is_ambiguous(data, proven.text):
        detail = "the signed text could also describe a different callback"
        raise AmbiguousError(detail)
    order_ref = _order_code(data)
    code = _meaningful_text(data, "code")
    if data.get("currency") not in (None, "", "VND"):  # a tuple, because the value may be a list
        detail = "the currency is not VND"
        raise MalformedError(detail)
    link = _meaningful_text(data, "paymentLinkId")
    callback = partial(
        Callback,
        provider=NAME,
        reference=link,
        order_ref=order_ref,
        gateway_transaction_id=link,
        amount=payload.amount_of(payload.number_of(data.get("amount"))),
        payment_number=payload.printable(data.get("reference")) or None,
        order_hint=order_hint(int(order_ref)),
    )
    if order_ref == PING_ORDER and data.get("description") in PING_DESCRIPTIONS:
        return callback(outcome=Outcome.IGNORED, ignored_because=IgnoredBecause.PING)
    return callback(outcome=Outcome.COMPLETED if code == "00" else Outcome.FAILED)


def _order_code(data: dict[str, object]) -> str:
    number = payload.number_of(data.get("orderCode"))
    # Above 2^53, the number in PayOS's signed text loses digits, so the signature does not cover all received digits.
    if number is None or not 0 <= number <= javascript.MAX_SAFE_INTEGER:
        detail = "orderCode is missing or not a number that can be signed"
        raise MalformedError(detail)
    return str(number)


def order_hint(number: int) -> OrderHint:
    """Return the order's date and the last five characters of its code, decoded from PayOS's order id.

    The payment service computes this id as YYYYMMDD times 10^8, plus the last five characters as a base-36 number. If
    an id has a different format, the date and the characters are None.
    """
    day, rest = divmod(number, 10**8)
    if not (10**7 <= day < 10**8 and rest < 36**5):
        return OrderHint()
    tail = ""
    for _ in range(5):
        rest, digit = divmod(rest, 36)
        tail = _BASE_36[digit] + tail
    return OrderHint(str(day), tail)


def _meaningful_text(data: dict[str, object], name: str) -> str:
    value = payload.text_of(data, name)
    if value in _SIGNED_AS_EMPTY:
        detail = f"{name} is signed as an empty value"
        raise MalformedError(detail)
    return value


def recognises(request: Request) -> bool:
    """Return whether the body is a JSON object with ``data`` and ``signature``."""
    return payload.has_fields(request.body, "data", "signature")


def reply(answer: Answer) -> Reply:
    """Return the reply to PayOS for an answer. After a 2xx status, PayOS does not call again.

    PayOS does not document what it does after any other status.
    """
    status, problem = _REPLIES[answer]
    return json_reply({"success": False, "message": problem} if problem else {"success": True}, status)


GATEWAY = Gateway(
    name=NAME,
    spellings=("payos", "pay-os"),
    fields=(
        CredentialField("client_id", "PAYOS_CLIENT_ID", signs_callbacks=False, secret=False),
        CredentialField("api_key", "PAYOS_API_KEY", signs_callbacks=False),
        CredentialField("checksum_key", "PAYOS_CHECKSUM_KEY"),
    ),
    recognises=recognises,
    verify=verify,
    reply=reply,
    reply_code=None,
)
