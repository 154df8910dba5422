"""Verify ZaloPay v2 callbacks. A callback is a POST with a JSON string in ``data``, which ZaloPay signs with key2.

Sources: docs.zalopay.vn, "Callback" (mac, types, return codes) and "Status codes". According to the quickstart samples,
``return_code`` 0 makes ZaloPay call again, at most three times. ZaloPay does not send callbacks for failed payments, so
a callback for an order means that the order was paid. key1 signs the merchant's requests, never a callback.
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
from ticketbottle_payctl.providers import mac, payload
from ticketbottle_payctl.providers.gateway import CredentialField, Credentials, Gateway
from ticketbottle_payctl.providers.json_replies import json_reply
from ticketbottle_payctl.providers.payload import MalformedError
from ticketbottle_payctl.providers.reply_code import ReplyCode
from ticketbottle_payctl.providers.verdict import Named, NotGenuineError, judge

NAME = "zalopay"
_DATED = re.compile(r"[0-9]{6}_(.+)", re.ASCII | re.DOTALL)
_AGREEMENT = frozenset({"binding_id", "binding_type", "pay_token", "msg_type"})
"""The fields that identify an agreement, which links or unlinks a wallet without moving money."""

_REPLIES: dict[Answer, tuple[int, str]] = {
    Answer.DONE: (1, "success"),
    Answer.DUPLICATE: (1, "success"),
    Answer.IGNORED: (1, "success"),
    Answer.BAD_SIGNATURE: (-1, "mac not equal"),
    Answer.UNCLEAR: (0, "not readable"),
    Answer.UNKNOWN_ORDER: (-1, "order not found"),
    Answer.WRONG_AMOUNT: (-1, "invalid amount"),
    Answer.TRY_AGAIN: (0, "try again"),
    Answer.NOT_CONFIGURED: (0, "not configured"),
}


def verify(request: Request, credentials: Credentials) -> Callback | Unclear | Rejected:
    """Verify a callback, then read its content. Never raise an exception, even for malformed input.

    The mac covers the exact characters of ``data``, so payctl parses ``data`` only after it has verified the mac.
    payctl does not use ``type``, because it is not signed. An order's data contains ``amount`` and ``zp_trans_id``,
    while an agreement's data contains neither.
    """
    keys, app_ids = mac.keys(credentials, "key2"), mac.texts(credentials, "app_id")
    if not keys or not app_ids:
        return Rejected(NAME, RejectReason.NOT_CONFIGURED, "app_id or key2 is not configured")
    return judge(NAME, partial(_prove, request.body, keys), partial(_read, app_ids), _names)


def _prove(body: bytes, keys: tuple[bytes, ...]) -> tuple[str, MalformedError | None]:
    """Return the data that ZaloPay signed, and the error if the body has the wrong format."""
    envelope, problem = payload.read_whatever(body)
    try:
        data = signed_text(envelope)
    except MalformedError as error:
        raise problem or error from None
    if not mac.matches("sha256", keys, mac.presented(envelope.get("mac")), data.encode("utf-8", "replace")):
        raise problem or NotGenuineError(RejectReason.SIGNATURE, "the mac does not match data with key2")
    return data, problem


def _names(proven: tuple[str, MalformedError | None]) -> Named:
    reference = payload.read_leniently(proven[0].encode("utf-8", "replace")).get("app_trans_id")
    return Named(reference, _order_in(reference) if isinstance(reference, str) else None)


def _order_in(reference: str) -> str:
    """Return the reference without its yymmdd_ prefix, if any.

    ZaloPay's documentation requires this prefix, but ZaloPay's sample lacks it.
    """
    dated = _DATED.fullmatch(reference)
    return dated[1] if dated else reference


def signed_text(envelope: dict[str, object]) -> str:
    """Return the string in ``data`` unchanged, because the mac covers its exact characters.

    Raises:
        MalformedError: ``data`` is not a string.
    """
    data = envelope.get("data")
    if not isinstance(data, str):
        detail = "data is not a string"
        raise MalformedError(detail)
    return data


def _read(app_ids: tuple[str, ...], proven: tuple[str, MalformedError | None]) -> Callback:
    text, problem = proven
    if problem:
        raise problem
    data = payload.read_object(text)
    app_id = payload.whole_number(data.get("app_id"))
    if app_id is None or str(app_id) not in app_ids:
        raise NotGenuineError(RejectReason.OTHER_MERCHANT, "app_id does not match the configured application")
    reference = payload.text_of(data, "app_trans_id")
    number, amount = payload.number_of(data.get("zp_trans_id")), payload.whole_number(data.get("amount"))
    callback = partial(Callback, provider=NAME, reference=reference, order_ref=_order_in(reference))
    if data.get("amount") is None and data.get("zp_trans_id") is None and _AGREEMENT & data.keys():
        return callback(
            outcome=Outcome.IGNORED,
            gateway_transaction_id=None,
            amount=None,
            ignored_because=IgnoredBecause.AGREEMENT,
        )
    own_number = payload.transaction_id_of(number)
    return callback(
        outcome=Outcome.COMPLETED,
        gateway_transaction_id=own_number,
        amount=payload.amount_of(amount),
        payment_number=own_number,
    )


def recognises(request: Request) -> bool:
    """Return whether the body is a JSON object with ``data`` and ``mac``."""
    return payload.has_fields(request.body, "data", "mac")


def reply(answer: Answer) -> Reply:
    """Return the reply to ZaloPay for an answer: HTTP 200 with a return code. ZaloPay calls again only after code 0."""
    code, message = _REPLIES[answer]
    return json_reply({"return_code": code, "return_message": message})


GATEWAY = Gateway(
    name=NAME,
    spellings=("zalopay", "zalo-pay"),
    fields=(
        CredentialField("app_id", "ZALOPAY_APP_ID", secret=False),
        CredentialField("key1", "ZALOPAY_KEY1", signs_callbacks=False),
        CredentialField("key2", "ZALOPAY_KEY2"),
    ),
    recognises=recognises,
    verify=verify,
    reply=reply,
    reply_code=ReplyCode(
        "return_code",
        frozenset({1, 2}),
        {
            0: "the service could not process the callback yet, so ZaloPay will call again",
            -1: "the service refused the callback, and ZaloPay will not call again",
        },
        "ZaloPay accepts only 1 and 2 as an acknowledgement",
    ),
)
