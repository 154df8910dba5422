"""MoMo: the access key is signed but not sent, the order is fixed, nothing is encoded, empty values stay."""

from __future__ import annotations

from urllib.parse import quote

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers import mac, momo, payload
from ticketbottle_payctl.providers.explain.masking import MASK, masked_pairs
from ticketbottle_payctl.providers.explain.model import Reading, Variant, variant
from ticketbottle_payctl.providers.gateway import Credentials

SHOWN = frozenset(
    {
        "amount",
        "message",
        "orderId",
        "orderType",
        "partnerCode",
        "payType",
        "requestId",
        "responseTime",
        "resultCode",
        "transId",
    }
)
"""What may be shown of a callback: nothing of it names a person or an account."""


def read(request: Request, credentials: Credentials) -> Reading:
    """What is signed, and what lies near it.

    Raises:
        MalformedError: the body is no JSON object, or a signed field is missing or of another type.
    """
    body = payload.read_body(request.body)
    values = {name: momo.value_text(body, name) for name in momo.SIGNED}
    access_key = next(iter(mac.texts(credentials, "access_key")), "")
    return Reading(
        algorithm="sha256",
        key_name="secret_key",
        presented=mac.presented(body.get("signature")),
        text=momo.signed_texts(body, (access_key,))[0],
        masked=f"accessKey={MASK}&{masked_pairs(values.items(), SHOWN)}",
        variants=tuple(_variants(body, values, access_key)),
    )


def _variants(body: dict[str, object], values: dict[str, str], access_key: str) -> list[Variant]:
    signed = {"accessKey": access_key, **values}
    received = {name: values[name] for name in body if name in values}
    extras = {name: value for name, value in body.items() if name not in values and name != "signature"}
    every = dict(sorted({**signed, **{name: str(value) for name, value in extras.items()}}.items()))
    filled = {name: value for name, value in signed.items() if value}
    encoded = {name: quote(value, safe="") for name, value in signed.items()}
    stripped = {**signed, "accessKey": access_key.strip().strip("\"'")}
    return [
        variant("without_access_key", "the access key were left out; MoMo signs it before the fields", _join(values)),
        variant(
            "access_key_spaces", "the configured access_key had no white space or quotes around it", _join(stripped)
        ),
        variant(
            "unsorted",
            "the fields were signed in the order received; MoMo signs them in a fixed order",
            _join({"accessKey": access_key, **received}),
        ),
        variant("extras_signed", "the fields beside the twelve signed ones were signed too", _join(every)),
        variant("empty_left_out", "empty values were left out; MoMo keeps the name", _join(filled)),
        variant("url_encoded", "the values were URL-encoded; MoMo signs them as they are", _join(encoded)),
    ]


def _join(values: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in values.items())
