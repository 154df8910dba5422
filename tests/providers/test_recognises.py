"""Test that payctl recognises a callback's gateway, even if a field contains text from another gateway's callback."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from urllib.parse import quote_plus

import pytest

from tests.providers.conftest import SIGNATURES
from ticketbottle_payctl.domain.callback import Callback, Request
from ticketbottle_payctl.providers import GATEWAYS, resolve

FREE_TEXTS = {
    "zalopay": "app_user",
    "payos": "description",
    "vnpay": "vnp_OrderInfo",
    "momo": "orderInfo",
}
"""For each gateway, a signed field with any text that the shop or the customer chose.

None means that the gateway signs no such field.
"""


def contents(merchant, gateway):
    """Return texts that look like a gateway's callback: the callback, its signature's field, and a field's prefix."""
    request = getattr(merchant, gateway)()
    signature = SIGNATURES[gateway]
    whole = request.query or request.body.decode()
    return [whole, f"x&{whole}", quote_plus(whole), signature, f"x&{signature}=00", f"{signature[:4]}x"]


@pytest.mark.parametrize(
    ("gateway", "other"),
    [(gateway, other) for gateway, other in permutations(GATEWAYS, 2) if FREE_TEXTS.get(gateway) is not None],
)
def test_another_gateway_s_content_in_a_free_text_does_not_matter(merchant, gateway, other):
    """If a gateway's free text contains another gateway's callback, payctl still finds the right gateway."""
    for text in contents(merchant, other):
        request = getattr(merchant, gateway)(**{FREE_TEXTS[gateway]: text})
        found = resolve(request)
        assert found is not None
        assert found.name == gateway, text
        verdict = merchant.verify(gateway, request)
        assert not isinstance(verdict, Callback) or verdict.amount == 450_000, text


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_gateway_s_content_in_a_stranger_s_free_text_is_not_recognised(merchant, gateway):
    """`payctl` never recognises an unknown sender's query, form or JSON as a callback, whatever its values contain."""
    for text in contents(merchant, gateway):
        form = f"stranger_note={quote_plus(text)}&stranger_mac=00"
        strangers = [
            Request("GET", query=form),
            Request("GET", query=f"note={text.partition('&')[0]}"),
            Request(body=form.encode()),
            Request(body=json.dumps({"note": text, "hash": "00"}).encode()),
            Request(body=json.dumps({"note": {text: "00"}, "hash": "00"}).encode()),
        ]
        assert [request for request in strangers if resolve(request) is not None] == []


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_callback_is_recognised_only_with_its_signature(merchant, gateway):
    """`payctl` recognises a callback by its format only if the callback has the signature's field."""
    request = getattr(merchant, gateway)()
    found = resolve(request)
    assert found is not None
    assert found.name == gateway
    signature = SIGNATURES[gateway]
    unsigned = replace(
        request,
        query="&".join(pair for pair in request.query.split("&") if not pair.startswith(f"{signature}=")),
        body=request.body.replace(f'"{signature}":'.encode(), b'"unsigned":'),
    )
    assert unsigned != request
    assert resolve(unsigned) is None
