"""Test that an explanation recognises a callback that was changed in transit, or signed in another spelling."""

from __future__ import annotations

import base64
import json
import unicodedata
from dataclasses import replace
from urllib.parse import quote

import pytest

from tests.providers.conftest import SIGNATURES, SIGNED_TEXTS
from tests.providers.test_explain import EVERY_JSON_GATEWAY, codes
from ticketbottle_payctl.domain.callback import Request

VIETNAMESE = {"zalopay": {}, "payos": {"description": "Vé"}, "vnpay": None, "momo": {}}
"""For each gateway that sends JSON, a change after which a signed field contains a Vietnamese letter.

It is empty if a signed field already contains one. None means that the gateway does not send JSON.
"""


@pytest.mark.parametrize(
    "change",
    [
        lambda query: f" {query} ",
        lambda query: f"{query}\n",
        lambda query: query.replace("&", "&amp;"),
        lambda query: quote(query, safe="&="),
    ],
)
def test_one_change_in_transit_gives_one_hint(merchant, change):
    """The explanation gives one hint for a change in transit, even if the change has several effects."""
    request = merchant.vnpay()
    assert len(codes(merchant, "vnpay", replace(request, query=change(request.query)))) == 1


def presented(request, gateway, change):
    """Return the request with a changed signature."""
    body = json.loads(request.body)
    name = SIGNATURES[gateway]
    return Request(body=json.dumps({**body, name: change(body[name])}).encode())


@EVERY_JSON_GATEWAY
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (str.upper, "upper_case"),
        (lambda mac: f"{mac}\n", "signature_spaces"),
        (lambda mac: base64.b64encode(bytes.fromhex(mac)).decode(), "signature_base64"),
    ],
)
def test_the_explanation_finds_a_right_signature_in_another_spelling(merchant, gateway, change, code):
    """The explanation recognises a signature in upper case, with white space, or in base64."""
    assert codes(merchant, gateway, presented(getattr(merchant, gateway)(), gateway, change)) == {code}


@EVERY_JSON_GATEWAY
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda body: b"\xef\xbb\xbf" + body, "byte_order_mark"),
        (lambda body: body.decode().encode("utf-16"), "utf_16"),
        (base64.b64encode, "base64"),
        (lambda body: base64.b64encode(base64.b64encode(body)), "base64"),
        (lambda body: json.dumps(body.decode()).encode(), "json_in_json"),
        (lambda body: unicodedata.normalize("NFD", body.decode()).encode(), "unicode_form"),
    ],
)
def test_the_explanation_finds_a_body_that_was_changed_in_transit(merchant, gateway, change, code):
    """The explanation recognises a body with a byte order mark or another encoding, and a body inside a JSON string."""
    request = getattr(merchant, gateway)(**VIETNAMESE[gateway])
    assert not request.body.isascii(), f"put a Vietnamese letter into a signed field of {gateway}: VIETNAMESE"
    assert code in codes(merchant, gateway, replace(request, body=change(request.body)))


def test_the_explanation_finds_text_that_was_read_as_latin_1(merchant):
    """The explanation finds UTF-8 text that a program read as Latin-1 and then re-encoded."""
    request = merchant.payos(description="Vé")
    garbled = replace(request, body=request.body.decode("cp1252").encode())
    assert "latin_1" in codes(merchant, "payos", garbled)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda query: f"https://pay.example.vn/webhook/vnpay?{query}", "whole_url"),
        (lambda query: query.replace("&", "&amp;"), "html_escaped"),
        (lambda query: quote(query, safe="&="), "encoded_twice"),
        (lambda query: f"{query}\n", "white_space"),
    ],
)
def test_the_explanation_finds_a_query_that_was_changed_in_transit(merchant, change, code):
    """The explanation recognises the changes that happen when a query is copied from a browser, a page or a log."""
    request = merchant.vnpay()
    assert code in codes(merchant, "vnpay", replace(request, query=change(request.query)))


TEXT_CHANGES = [
    (lambda text: f"{text}\n", "trailing_newline"),
    (lambda text: f"{text}\r\n", "trailing_newline"),
    (lambda text: f"\ufeff{text}", "byte_order_mark"),
]


@EVERY_JSON_GATEWAY
@pytest.mark.parametrize(("change", "code"), TEXT_CHANGES)
def test_the_explanation_finds_characters_around_the_signed_text(merchant, gateway, change, code):
    """The explanation recognises a line break or byte order mark that the sender signed but did not send."""
    text = SIGNED_TEXTS[gateway](merchant)
    assert codes(merchant, gateway, getattr(merchant, gateway)(change(text))) == {code}


def test_the_explanation_finds_changed_line_ends(merchant):
    """ZaloPay's data can contain line breaks. The explanation recognises a change between LF and CR LF."""
    data = merchant.dumps(merchant.zalopay_data).replace(",", ",\n")
    crlf = data.replace("\n", "\r\n")
    assert "line_ends" in codes(merchant, "zalopay", merchant.zalopay(crlf, data=data))
    assert "line_ends" in codes(merchant, "zalopay", merchant.zalopay(data, data=crlf))


@EVERY_JSON_GATEWAY
def test_the_explanation_says_that_the_signature_is_missing(merchant, gateway):
    """If a request has no signature, the hint says that the signature is missing."""
    assert "no_signature" in codes(merchant, gateway, presented(getattr(merchant, gateway)(), gateway, lambda _: None))
