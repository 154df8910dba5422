"""Explain ZaloPay signatures. The mac covers the exact characters of ``data``, which a parser may change."""

from __future__ import annotations

import json

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers import mac, payload, zalopay
from ticketbottle_payctl.providers.explain.masking import masked_json
from ticketbottle_payctl.providers.explain.model import Reading, Variant, variant
from ticketbottle_payctl.providers.gateway import Credentials

SHOWN = frozenset(
    {
        "app_id",
        "app_trans_id",
        "app_time",
        "amount",
        "zp_trans_id",
        "server_time",
        "channel",
        "user_fee_amount",
        "discount_amount",
    }
)
"""The fields that an explanation is allowed to show. They do not contain personal names or account numbers."""

_OBJECT = "data was still the JSON string that ZaloPay sent; it arrived as an object, so another program parsed it"


def read(request: Request, _: Credentials) -> Reading:
    """Return the signed text for a callback, and its variants.

    Raises:
        MalformedError: the body is not a JSON object, or ``data`` is neither a string nor an object.
    """
    envelope = payload.read_body(request.body)
    as_object = isinstance(envelope.get("data"), dict)
    data = json.dumps(json.loads(request.body)["data"]) if as_object else zalopay.signed_text(envelope)
    variants = [
        Variant(one.hint if not as_object else variant("data_object", _OBJECT, "").hint, one.text)
        for one in _printed_again(data)
    ]
    return Reading(
        algorithm="sha256",
        key_name="key2",
        presented=mac.presented(envelope.get("mac")),
        text=data.encode(),
        masked=masked_json(data, SHOWN),
        variants=tuple(variants),
    )


def _printed_again(data: str) -> list[Variant]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return []
    compact, spaced = (",", ":"), (", ", ": ")
    return [
        variant("minified", "data was printed without white space", _print(content, separators=compact)),
        variant(
            "spaced", "data was printed with a space after each comma and colon", _print(content, separators=spaced)
        ),
        variant("pretty", "data was printed with an indent of two spaces", _print(content, indent=2)),
        variant("pretty", "data was printed with an indent of four spaces", _print(content, indent=4)),
        variant("reordered", "the names in data were sorted", _print(content, separators=compact, sort_keys=True)),
        variant(
            "escaped",
            "the non-ASCII letters in data were written as \\u escapes",
            json.dumps(content, separators=compact),
        ),
    ]


def _print(
    content: object, *, indent: int | None = None, separators: tuple[str, str] | None = None, sort_keys: bool = False
) -> str:
    return json.dumps(content, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)
