"""Explain PayOS signatures.

Senders differ in how they sign null values and numbers, and in the order of the signed fields.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers import javascript, mac, payload, payos
from ticketbottle_payctl.providers.explain.masking import masked_pairs
from ticketbottle_payctl.providers.explain.model import Reading, Variant, variant
from ticketbottle_payctl.providers.gateway import Credentials

SHOWN = frozenset(
    {
        "orderCode",
        "amount",
        "currency",
        "paymentLinkId",
        "code",
        "desc",
        "transactionDateTime",
        "reference",
    }
)
"""The fields that an explanation is allowed to show. They do not contain personal names or account numbers."""

OPTIONAL = (
    "counterAccountBankId",
    "counterAccountBankName",
    "counterAccountName",
    "counterAccountNumber",
    "virtualAccountName",
    "virtualAccountNumber",
)


def read(request: Request, _: Credentials) -> Reading:
    """Return the signed text for a callback, and its variants.

    Raises:
        MalformedError: the body or its ``data`` is not a JSON object.
    """
    envelope = payload.read_body(request.body)
    data = payos.data_of(envelope)
    names = javascript.sorted_names(list(data))
    return Reading(
        algorithm="sha256",
        key_name="checksum_key",
        presented=mac.presented(envelope.get("signature")),
        text=payos.signed_text(data).encode(),
        masked=masked_pairs([(name, payos.value_text(data[name])) for name in names], SHOWN),
        variants=tuple(_variants(data, names, request.body)),
    )


def _variants(data: dict[str, object], names: list[str], body: bytes) -> list[Variant]:
    value_text = payos.value_text
    raw = json.loads(body)["data"]
    filled = {**dict.fromkeys(OPTIONAL), **data}
    present = [name for name in names if data[name] is not None]
    folded = sorted(names, key=str.casefold)
    return [
        variant(
            "null_as_word",
            "null was signed as the word null; PayOS signs an empty value",
            _join(data, names, lambda value: "null" if value is None else value_text(value)),
        ),
        variant(
            "null_as_word",
            "null was signed as the word None; PayOS signs an empty value",
            _join(data, names, lambda value: "None" if value is None else value_text(value)),
        ),
        variant(
            "null_left_out",
            "null fields were left out; PayOS signs their names with empty values",
            _join(data, present, value_text),
        ),
        variant(
            "absent_as_empty",
            "the absent optional fields were signed as empty ones, as the Python SDK does",
            _join(filled, sorted(filled), value_text),
        ),
        variant(
            "unsorted",
            "the fields were signed in the order received; PayOS sorts them by name",
            _join(data, list(data), value_text),
        ),
        variant(
            "sorted_ignoring_case",
            "the names were sorted without regard to case; PayOS sorts capitals first",
            _join(data, folded, value_text),
        ),
        variant(
            "url_encoded",
            "the values were URL-encoded; PayOS signs them unencoded",
            _join(data, names, lambda value: quote(value_text(value), safe="")),
        ),
        variant(
            "number_as_received",
            "numbers were signed as they are written in the body; PayOS prints 450000.0 as 450000",
            _join(data, names, lambda value: value.text if isinstance(value, payload.Real) else value_text(value)),
        ),
        variant(
            "json_of_data",
            "the JSON of data was signed; PayOS signs name=value pairs",
            json.dumps(raw, ensure_ascii=False, separators=(",", ":")),
        ),
    ]


def _join(data: dict[str, object], names: list[str], text_of: Callable[[object], str]) -> str:
    return "&".join(f"{name}={text_of(data[name])}" for name in names)
