"""Explain VNPay signatures. Senders sign different parameters and encode the values in different ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus, unquote_plus

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers import mac, vnpay
from ticketbottle_payctl.providers.explain.masking import masked_pairs
from ticketbottle_payctl.providers.explain.model import Reading, Variant, variant
from ticketbottle_payctl.providers.gateway import Credentials
from ticketbottle_payctl.providers.vnpay import Parameter

SHOWN = frozenset(
    {
        "vnp_Amount",
        "vnp_BankCode",
        "vnp_CardType",
        "vnp_PayDate",
        "vnp_ResponseCode",
        "vnp_TmnCode",
        "vnp_TransactionNo",
        "vnp_TransactionStatus",
        "vnp_TxnRef",
    }
)
"""The parameters that an explanation is allowed to show. They do not contain personal names or account numbers."""


def read(request: Request, _: Credentials) -> Reading:
    """Return the signed text for a query, and variants of this text.

    Raises:
        MalformedError: the query is too large, or a ``vnp_`` parameter occurs twice or is not UTF-8.
    """
    parameters = vnpay.read_query(request.query)
    values = {parameter.name: parameter.value for parameter in parameters}
    signed = [one for one in parameters if one.value and one.name not in vnpay.UNSIGNED]
    return Reading(
        algorithm="sha512",
        key_name="hash_secret",
        presented=mac.presented(values.get(vnpay.HASH)).lower(),
        text=vnpay.canonical_text(parameters).encode(),
        masked=masked_pairs([(one.name, vnpay.form_encoded(one.value)) for one in signed], SHOWN),
        variants=tuple(_variants(request.query, parameters, signed)),
        older_texts=_older_texts(parameters, signed),
    )


def _older_texts(parameters: list[Parameter], signed: list[Parameter]) -> tuple[bytes, ...]:
    """Return the strings that versions before 2.1.0 may have signed. VNPAY's old samples sign decoded values."""
    with_empty = [one for one in parameters if one.name not in vnpay.UNSIGNED]
    texts = [
        _join([(one.name, one.value) for one in chosen], encode)
        for chosen in (signed, with_empty)
        for encode in (str, vnpay.form_encoded, quote_plus)
    ]
    return tuple(text.encode() for text in dict.fromkeys(texts))


def _variants(query: str, parameters: list[Parameter], signed: list[Parameter]) -> list[Variant]:
    pairs = [(one.name, one.value) for one in signed]
    everything = [
        (unquote_plus(name), unquote_plus(value))
        for name, _, value in (pair.partition("=") for pair in query.split("&"))
    ]
    known = set(pairs)
    received = [pair for pair in everything if pair in known]
    with_type = [(one.name, one.value) for one in parameters if one.value and one.name != vnpay.HASH]
    with_foreign = sorted(pair for pair in everything if pair[1] and pair[0] not in vnpay.UNSIGNED)
    return [
        variant("decoded", "the values were signed decoded; VNPay signs them form-encoded", _join(pairs, str)),
        variant("percent_20", "a space was signed as %20; VNPay signs +", _join(pairs, _percent_20)),
        variant("php_encoding", "* were signed as %2A, as PHP's urlencode writes it", _join(pairs, quote_plus)),
        variant(
            "node_encoding", "! ' ( ) * ~ were signed unencoded, as encodeURIComponent leaves them", _join(pairs, _node)
        ),
        variant("foreign_signed", "parameters other than vnp_ ones were signed", _join(with_foreign)),
        variant("hash_type_signed", "vnp_SecureHashType was signed; VNPay leaves it out", _join(with_type)),
        variant("unsorted", "the parameters were signed in the order received; VNPay sorts them", _join(received)),
    ]


def _join(pairs: Iterable[tuple[str, str]], encode: Callable[[str], str] = vnpay.form_encoded) -> str:
    return "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs)


def _percent_20(text: str) -> str:
    return vnpay.form_encoded(text).replace("+", "%20")


def _node(text: str) -> str:
    return quote(text, safe="!'()*~").replace("%20", "+")
