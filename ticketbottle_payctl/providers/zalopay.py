"""ZaloPay v2: a POST whose ``data`` is a JSON text, signed as it stands with key2.

Sources: docs.zalopay.vn, "Callback" (mac, types, return codes) and "Status codes"; the quickstart samples for
``return_code`` 0, which asks for another call (three at most). A callback for an order means paid: nothing is sent
for a failed one. key1 signs what the merchant sends and never a callback.
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
)
from ticketbottle_payctl.providers import mac, payload
from ticketbottle_payctl.providers.gateway import CredentialField, Credentials, Gateway
from ticketbottle_payctl.providers.payload import MalformedError
from ticketbottle_payctl.providers.wording import json_reply

NAME = "zalopay"
_DATED = re.compile(r"[0-9]{6}_(.+)", re.ASCII | re.DOTALL)
_REPLIES: dict[Answer, tuple[int, str]] = {
    Answer.DONE: (1, "success"),
    Answer.DUPLICATE: (1, "success"),
    Answer.IGNORED: (1, "success"),
    Answer.BAD_SIGNATURE: (-1, "mac not equal"),
    Answer.UNKNOWN_ORDER: (-1, "order not found"),
    Answer.WRONG_AMOUNT: (-1, "invalid amount"),
    Answer.TRY_AGAIN: (0, "try again"),
    Answer.NOT_CONFIGURED: (0, "not configured"),
}

_rejected = partial(Rejected, NAME)


def verify(request: Request, credentials: Credentials) -> Callback | Rejected:
    """Prove a callback, then read it. Never raises.

    The mac is over the exact characters of ``data``, so ``data`` is parsed after it held. ``type`` is not signed: it
    tells an order from a wallet agreement and proves nothing.
    """
    keys, app_ids = mac.keys(credentials, "key2"), mac.texts(credentials, "app_id")
    if not keys or not app_ids:
        return _rejected(RejectReason.NOT_CONFIGURED, "app_id or key2 is not configured")
    try:
        envelope = payload.read_body(request.body)
        data = signed_text(envelope)
        if not mac.matches("sha256", keys, mac.presented(envelope.get("mac")), data.encode()):
            return _rejected(RejectReason.SIGNATURE, "the mac is not that of data under key2")
        return _read(payload.read_object(data), envelope.get("type"), app_ids)
    except MalformedError as error:
        return _rejected(RejectReason.MALFORMED, error.detail)


def signed_text(envelope: dict[str, object]) -> str:
    """What the mac is made of: the text in ``data``, untouched."""
    data = envelope.get("data")
    if not isinstance(data, str):
        detail = "data is not a text"
        raise MalformedError(detail)
    return data


def _read(data: dict[str, object], kind: object, app_ids: tuple[str, ...]) -> Callback | Rejected:
    app_id = payload.whole_number(data.get("app_id"))
    if app_id is None or str(app_id) not in app_ids:
        return _rejected(RejectReason.OTHER_MERCHANT, "app_id is not the configured application")
    reference = payload.text_of(data, "app_trans_id")
    dated = _DATED.fullmatch(reference)
    if dated is None:
        detail = "app_trans_id does not begin with yymmdd_"
        raise MalformedError(detail)
    number, amount = _id(data), payload.whole_number(data.get("amount"))
    callback = partial(Callback, provider=NAME, reference=reference, order_ref=dated[1])
    match payload.whole_number(kind):
        case 1:
            return callback(
                outcome=Outcome.COMPLETED,
                gateway_transaction_id=payload.transaction_id_of(number),
                amount=payload.amount_of(amount),
            )
        case 2:
            # An agreement moves no money; what it says of a number or an amount is passed on, not relied on.
            return callback(
                outcome=Outcome.IGNORED,
                gateway_transaction_id=str(number) if number and number > 0 else None,
                amount=amount if amount and 0 < amount <= payload.MAX_AMOUNT else None,
                ignored_because=IgnoredBecause.AGREEMENT,
            )
        case _:
            detail = "type is neither an order nor an agreement"
            raise MalformedError(detail)


def _id(data: dict[str, object]) -> int | None:
    value = data.get("zp_trans_id")
    return payload.digits(value) if isinstance(value, str) else payload.whole_number(value)


def recognises(request: Request) -> bool:
    """A JSON object with ``data`` and ``mac``."""
    try:
        envelope = payload.read_body(request.body)
    except MalformedError:
        return False
    return "data" in envelope and "mac" in envelope


def reply(answer: Answer) -> Reply:
    """HTTP 200 with a return code: 1 ends it, 0 asks for another call, anything else is a failure that ends it."""
    code, message = _REPLIES[answer]
    return json_reply({"return_code": code, "return_message": message})


GATEWAY = Gateway(
    name=NAME,
    spellings=("zalopay", "zalo-pay"),
    fields=(
        CredentialField("app_id", "ZALOPAY_APP_ID"),
        CredentialField("key1", "ZALOPAY_KEY1", signs_callbacks=False),
        CredentialField("key2", "ZALOPAY_KEY2"),
    ),
    recognises=recognises,
    verify=verify,
    reply=reply,
)
