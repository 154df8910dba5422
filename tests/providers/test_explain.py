import base64
import json
import unicodedata
from dataclasses import replace
from hashlib import sha256
from urllib.parse import quote

import pytest

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.explain import explain
from ticketbottle_payctl.secret import Secret


def codes(merchant, gateway, request, others=None, **keys):
    """Return the codes of all hints."""
    explanation = explain(GATEWAYS[gateway], request, merchant.credentials(gateway, **keys), others=others or {})
    return {hint.code for hint in explanation.hints}


def signed_as(merchant, gateway, text, **changes):
    """Return a request whose signature is right for ``text`` and not for its own content."""
    made = getattr(merchant, gateway)
    if gateway == "zalopay":
        return made(mac=merchant.mac("zalopay", text), **changes)
    return made(text, **changes)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_genuine_callback_gets_no_hint(merchant, gateway):
    """The explanation of a genuine callback has the signed text and no hint."""
    explanation = explain(GATEWAYS[gateway], getattr(merchant, gateway)(), merchant.credentials(gateway))
    assert explanation.hints == ()
    assert "TB-ROCK" in explanation.canonical_masked or "paymentLinkId" in explanation.canonical_masked


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_explanation_says_if_no_known_variant_matches(merchant, gateway):
    """If no known mistake explains the signature, the hint says so."""
    request = signed_as(merchant, gateway, "something else entirely")
    assert codes(merchant, gateway, request) == {"no_neighbour"}


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_missing_keys_are_named_by_their_variable(merchant, gateway):
    """The hint names the variables that are not set."""
    credentials = {field.name: () for field in GATEWAYS[gateway].fields}
    (hint,) = explain(GATEWAYS[gateway], getattr(merchant, gateway)(), credentials).hints
    needed = [field.env for field in GATEWAYS[gateway].fields if field.signs_callbacks]
    assert hint.code == "not_configured"
    assert all(env in hint.text for env in needed)


@pytest.mark.parametrize(
    ("gateway", "changes"),
    [("zalopay", {"app_id": 1}), ("vnpay", {"vnp_TmnCode": "OTHER"}), ("momo", {"partnerCode": "OTHER"})],
)
def test_the_explanation_recognises_another_merchant(merchant, gateway, changes):
    """If the signature is right and the merchant is another one, the hint says so."""
    assert codes(merchant, gateway, getattr(merchant, gateway)(**changes)) == {"other_merchant"}


@pytest.mark.parametrize(
    ("gateway", "changes"),
    [("zalopay", {"amount": 0}), ("payos", {"amount": 0}), ("vnpay", {"vnp_Amount": "1"}), ("momo", {"amount": -1})],
)
def test_a_signed_but_malformed_callback_is_told_from_a_forged_one(merchant, gateway, changes):
    """The hint begins with "the signature holds" and names the wrong field."""
    explanation = explain(GATEWAYS[gateway], getattr(merchant, gateway)(**changes), merchant.credentials(gateway))
    assert [hint.code for hint in explanation.hints] == ["malformed"]
    assert explanation.hints[0].text.startswith("the signature holds, but the amount")


# --- wrong keys


def test_the_explanation_finds_swapped_zalopay_keys(merchant):
    """The hint names key1 if the callback was signed with key1 instead of key2."""
    text = merchant.dumps(merchant.zalopay_data)
    request = merchant.zalopay(text, mac=merchant.mac("zalopay", text, key="canary-zalopay-key-1"))
    hints = explain(GATEWAYS["zalopay"], request, merchant.credentials("zalopay")).hints
    assert [hint.code for hint in hints] == ["other_key"]
    assert "under key1" in hints[0].text


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_explanation_finds_the_key_of_another_profile(merchant, gateway):
    """The hint names the key by its label and does not show its value."""
    own = {"zalopay": "key2", "payos": "checksum_key", "vnpay": "hash_secret", "momo": "secret_key"}[gateway]
    right = merchant.credentials(gateway)[own]
    explanation = explain(
        GATEWAYS[gateway],
        getattr(merchant, gateway)(),
        merchant.credentials(gateway, **{own: ("wrong",)}),
        others={"the key of profile staging": right},
    )
    assert "under the key of profile staging" in explanation.hints[0].text


@pytest.mark.parametrize("around", ["{}\n", " {}", '"{}"', "'{}' \r\n"])
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_explanation_finds_a_key_with_extra_characters(merchant, gateway, around):
    """The hint says that a key has a line break, a blank or quotes around it."""
    own = {"zalopay": "key2", "payos": "checksum_key", "vnpay": "hash_secret", "momo": "secret_key"}[gateway]
    value = merchant.credentials(gateway)[own][0].reveal()
    assert codes(merchant, gateway, getattr(merchant, gateway)(), **{own: (around.format(value),)}) == {"key_spaces"}


def test_the_explanation_finds_an_access_key_with_a_line_break(merchant):
    """MoMo's access key is part of the signed text, so its line break matters too."""
    assert codes(merchant, "momo", merchant.momo(), access_key=("canary-momo-access\n",)) == {"access_key_spaces"}


# --- wrong spelling of the signature


def presented(request, gateway, change):
    """Return the request with its signature changed."""
    body = json.loads(request.body)
    name = "mac" if gateway == "zalopay" else "signature"
    return Request(body=json.dumps({**body, name: change(body[name])}).encode())


@pytest.mark.parametrize("gateway", ["zalopay", "payos", "momo"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (str.upper, "upper_case"),
        (lambda mac: f"{mac}\n", "signature_spaces"),
        (lambda mac: base64.b64encode(bytes.fromhex(mac)).decode(), "signature_base64"),
    ],
)
def test_the_explanation_finds_a_right_signature_in_another_spelling(merchant, gateway, change, code):
    """The hint recognises upper case, white space and base64."""
    assert codes(merchant, gateway, presented(getattr(merchant, gateway)(), gateway, change)) == {code}


@pytest.mark.parametrize("gateway", ["zalopay", "payos", "momo"])
def test_the_explanation_says_that_the_signature_is_missing(merchant, gateway):
    """A callback without a signature gets the hint no_signature."""
    assert "no_signature" in codes(merchant, gateway, presented(getattr(merchant, gateway)(), gateway, lambda _: None))


@pytest.mark.parametrize(
    ("algorithm", "made"),
    [("hmac", None), ("plain", lambda secret, text: sha256((secret + text).encode()).hexdigest())],
)
def test_the_explanation_finds_vnpays_older_algorithms(merchant, algorithm, made):
    """A terminal with version 2.0 signs with SHA-256, and the hint says so."""
    if made is None:
        request = merchant.vnpay(algorithm="sha256")
    else:
        query = merchant.vnpay().query.rpartition("&")[0]
        request = Request("GET", query=f"{query}&vnp_SecureHash={made('canary-vnpay-hash-secret', query)}")
    assert codes(merchant, "vnpay", request) == {"algorithm"}, algorithm


# --- changes on the way from the gateway


@pytest.mark.parametrize("gateway", ["zalopay", "payos", "momo"])
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
def test_the_explanation_finds_a_body_that_was_changed_on_the_way(merchant, gateway, change, code):
    """The hint names the byte order mark, the encoding or the wrapping that was added."""
    request = getattr(merchant, gateway)(**{"description": "Vé"} if gateway == "payos" else {})
    assert code in codes(merchant, gateway, replace(request, body=change(request.body)))


def test_the_explanation_finds_text_that_was_read_as_latin_1(merchant):
    """The hint recognises UTF-8 text that was read as Latin-1 and written again."""
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
def test_the_explanation_finds_a_query_that_was_changed_on_the_way(merchant, change, code):
    """The hint recognises changes by copying from a browser, a page or a log."""
    request = merchant.vnpay()
    assert code in codes(merchant, "vnpay", replace(request, query=change(request.query)))


TEXT_CHANGES = [
    (lambda text: f"{text}\n", "trailing_newline"),
    (lambda text: f"{text}\r\n", "trailing_newline"),
    (lambda text: f"\ufeff{text}", "byte_order_mark"),
]


@pytest.mark.parametrize("gateway", ["zalopay", "payos", "momo"])
@pytest.mark.parametrize(("change", "code"), TEXT_CHANGES)
def test_the_explanation_finds_characters_around_the_signed_text(merchant, gateway, change, code):
    """The hint names a line break or a mark that was signed but did not arrive."""
    text = {
        "zalopay": merchant.dumps(merchant.zalopay_data),
        "payos": merchant.payos_text(merchant.payos_data),
        "momo": merchant.momo_text(merchant.momo_body),
    }[gateway]
    assert codes(merchant, gateway, signed_as(merchant, gateway, change(text))) == {code}


def test_the_explanation_finds_changed_line_ends(merchant):
    """ZaloPay's data may have line breaks, which a tool may have changed."""
    data = merchant.dumps(merchant.zalopay_data).replace(",", ",\n")
    assert "line_ends" in codes(
        merchant, "zalopay", merchant.zalopay(data, mac=merchant.mac("zalopay", data.replace("\n", "\r\n")))
    )
    crlf = data.replace("\n", "\r\n")
    assert "line_ends" in codes(merchant, "zalopay", merchant.zalopay(crlf, mac=merchant.mac("zalopay", data)))


# --- values that must not be shown

PRIVATE = ("Nguyễn", "0123456789", "TB7K2M9QXA&", "Thanh toan", "Thanh+toan", "Vé Đà Lạt", "canary")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_explanation_masks_people_and_accounts(merchant, gateway):
    """Amount and codes are shown. Names, accounts, descriptions and unknown fields are masked."""
    changes = {} if gateway == "vnpay" else {"counterAccountNumber": "0123456789", "newField": {"phone": "0123456789"}}
    if gateway == "momo":
        changes = {"extraData": "0123456789"}
    shown = explain(GATEWAYS[gateway], getattr(merchant, gateway)(**changes), merchant.credentials(gateway))
    assert "45000" in shown.canonical_masked
    assert "***" in shown.canonical_masked
    assert not [word for word in PRIVATE if word in shown.canonical_masked]


def test_masking_keeps_the_layout_of_zalopay_data(merchant):
    """Spaces and line breaks stay, because they are often the cause of the mismatch."""
    data = '{ "app_id" : 2900,\n  "app_user": "A B", "empty": "", "item":[1, {"a":2}] ,"amount":1 }'
    explanation = explain(GATEWAYS["zalopay"], merchant.zalopay(data), merchant.credentials("zalopay"))
    assert explanation.canonical_masked == (
        '{ "app_id" : 2900,\n  "app_user": "***", "empty": "", "item":"***" ,"amount":1 }'
    )


@pytest.mark.parametrize("data", ["", "{", "[1]", '{"a" 1', "x" * 50, '{"a":' * 3000])
def test_masking_shows_nothing_of_unreadable_content(merchant, data):
    """Content that is not a JSON object is shown only by its length."""
    explanation = explain(GATEWAYS["zalopay"], merchant.zalopay(data), merchant.credentials("zalopay"))
    assert explanation.canonical_masked == f"({len(data)} characters that are not a JSON object)"


def test_no_explanation_prints_a_key_or_a_mac(vector):
    """An explanation contains no key, no computed MAC and no received MAC."""
    others = {"another key": (Secret("canary-other"),)}
    for credentials in (vector.credentials, {name: (Secret("canary"),) for name in vector.credentials}):
        seen = repr(explain(GATEWAYS[vector.gateway], vector.request, credentials, others=others))
        secrets = [str(v) for name, v in vector.keys.items() if name not in {"app_id", "tmn_code", "partner_code"}]
        secrets = [value for value in secrets if len(value) > 4]
        assert not [value for value in [*secrets, "canary"] if value in seen]
        assert not any(
            len(word) >= 64 and set(word) <= set("0123456789abcdefABCDEF") for word in seen.replace("=", " ").split()
        )


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize(
    "request_",
    [
        Request(),
        Request(body=b"\xff", query="\ud800&vnp_A=%FF"),
        Request(body=b'{"data":{},"signature":1}', query="?vnp_A=1"),
        Request(body=b'{"data":' + b"[" * 20_000 + b"]" * 20_000 + b"}", query="x=\ud800&vnp_A=1"),
        Request(body=b'{"data":"' + b"[" * 900 + b"]" * 900 + b'","mac":""}', query="vnp_A=1&" * 9000),
        Request(body=b'{"data":{"a":' + b"[" * 900 + b"]" * 900 + b"}}", query="//[?vnp_A"),
        Request(body=b"x" * 100_000, query="vnp_" * 30_000),
    ],
)
def test_an_explanation_never_raises(merchant, gateway, request_):
    """A nonsensical request gets a hint and never an exception."""
    assert explain(GATEWAYS[gateway], request_, merchant.credentials(gateway)).hints
