"""Explain MoMo signatures. The signed text begins with the access key, which MoMo does not send."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from urllib.parse import quote

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers import mac, momo, payload
from ticketbottle_payctl.providers.explain.masking import MASK, masked_pairs
from ticketbottle_payctl.providers.explain.model import Hint, Reading, Signer, Variant, variant
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
"""The fields that an explanation is allowed to show. They do not contain personal names or account numbers."""

_VARIABLES = {field.name: field.env for field in momo.GATEWAY.fields}
_RIGHT = ("access_key", "secret_key")


def read(request: Request, credentials: Credentials) -> Reading:
    """Return the signed text for a body, and its variants.

    Raises:
        MalformedError: the body is not a JSON object, or a signed field is missing or has the wrong type.
    """
    body = payload.read_body(request.body)
    values = {name: momo.value_text(body, name) for name in momo.SIGNED}
    access_keys = mac.texts(credentials, "access_key") or ("",)
    return Reading(
        algorithm="sha256",
        key_name="secret_key",
        presented=mac.presented(body.get("signature")),
        text=momo.signed_texts(body, access_keys)[0],
        masked=f"accessKey={MASK}&{masked_pairs(values.items(), SHOWN)}",
        variants=tuple(one for access_key in access_keys for one in _variants(body, values, access_key)),
        signers=tuple(_signers(body, credentials)),
    )


def _signers(body: dict[str, object], credentials: Credentials) -> Iterator[Signer]:
    """Yield a signer for each way to mix up the three credentials.

    The credentials look alike, and MoMo's portal shows them next to each other.
    """
    for access, secret in permutations(_VARIABLES, 2):
        text = f"would match with {_VARIABLES[access]} as access key and {_VARIABLES[secret]} as secret key"
        if (secret, access) == _RIGHT:
            text = "would match if MOMO_ACCESS_KEY and MOMO_SECRET_KEY were swapped"
        if access != "access_key":  # search() tries the other keys with the right access key
            hint = Hint("keys_swapped", text)
            yield from _pairs(body, hint, mac.texts(credentials, access), mac.texts(credentials, secret))
    # If only one of the two values has extra characters, a variant or search() finds this mistake.
    text = "would match if MOMO_ACCESS_KEY and MOMO_SECRET_KEY had no white space or quotes around them"
    yield from _pairs(body, Hint("key_spaces", text), *(_trimmed(mac.texts(credentials, name)) for name in _RIGHT))


def _trimmed(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return each value that is surrounded by white space or quotes, without these characters."""
    return tuple(trimmed for value in values if (trimmed := value.strip().strip("\"'")) not in {value, ""})


def _pairs(
    body: dict[str, object], hint: Hint, access_keys: tuple[str, ...], secrets: tuple[str, ...]
) -> Iterator[Signer]:
    for text in momo.signed_texts(body, access_keys):
        for secret in secrets:
            yield Signer(hint, secret.encode("utf-8", "surrogatepass"), text)


def _variants(body: dict[str, object], values: dict[str, str], access_key: str) -> list[Variant]:
    signed = {"accessKey": access_key, **values}
    received = {name: values[name] for name in body if name in values}
    extras = {name: value for name, value in body.items() if name not in values and name != "signature"}
    every = dict(sorted({**signed, **{name: str(value) for name, value in extras.items()}}.items()))
    filled = {name: value for name, value in signed.items() if value}
    encoded = {name: quote(value, safe="") for name, value in signed.items()}
    stripped = {**signed, "accessKey": access_key.strip().strip("\"'")}
    return [
        variant("without_access_key", "the access key was left out; MoMo signs it before the fields", _join(values)),
        variant("access_key_spaces", "MOMO_ACCESS_KEY had no white space or quotes around it", _join(stripped)),
        variant(
            "unsorted",
            "the fields were signed in the order received; MoMo signs them in a fixed order",
            _join({"accessKey": access_key, **received}),
        ),
        variant("extras_signed", "the fields other than the twelve signed ones were signed too", _join(every)),
        variant("empty_left_out", "fields with empty values were left out; MoMo signs their names too", _join(filled)),
        variant("url_encoded", "the values were URL-encoded; MoMo signs them unencoded", _join(encoded)),
    ]


def _join(values: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in values.items())
