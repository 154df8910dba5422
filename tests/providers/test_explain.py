import base64
import hmac
import json
import unicodedata
from dataclasses import replace
from hashlib import md5, sha256
from urllib.parse import quote, quote_plus, urlencode

import pytest

from tests.providers.conftest import JSON_GATEWAYS, KEYS, SIGNATURES, SIGNED_TEXTS, SIGNING
from ticketbottle_payctl.domain.callback import Rejected, Request
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.explain import explain
from ticketbottle_payctl.secret import Secret

EVERY_JSON_GATEWAY = pytest.mark.parametrize("gateway", JSON_GATEWAYS)
OTHER_MERCHANT = {
    "zalopay": {"app_id": 1},
    "payos": None,
    "vnpay": {"vnp_TmnCode": "OTHER"},
    "momo": {"partnerCode": "OTHER"},
}
"""A change that makes each gateway's callback name a different merchant. PayOS's callbacks do not name a merchant."""

UNREADABLE = {
    "zalopay": {"amount": 0},
    "payos": {"amount": 0},
    "vnpay": {"vnp_Amount": "1"},
    "momo": {"amount": -1},
}
"""A change that makes each gateway's callback unreadable."""

WITH_PRIVATE_FIELDS = {
    "zalopay": {"counterAccountNumber": "0123456789", "newField": {"phone": "0123456789"}},
    "payos": {"counterAccountNumber": "0123456789", "newField": {"phone": "0123456789"}},
    "vnpay": {},
    "momo": {"extraData": "0123456789"},
}
"""The private fields that a test adds to a callback of each gateway.

None means that the gateway does not sign any private fields, so there is nothing to mask.
"""


def codes(merchant, gateway, request, others=None, **keys):
    """Return the codes of all hints in an explanation."""
    explanation = explain(GATEWAYS[gateway], request, merchant.credentials(gateway, **keys), others=others or {})
    return {hint.code for hint in explanation.hints}


def signed_as(merchant, gateway, text, **changes):
    """Return a request with a signature of ``text``, which can differ from the request's own signed string."""
    made = getattr(merchant, gateway)
    if gateway == "zalopay":
        return made(mac=merchant.mac("zalopay", text), **changes)
    return made(text, **changes)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_genuine_callback_gets_no_hint(merchant, gateway):
    """The explanation of a genuine callback shows the signed string and contains no hints."""
    explanation = explain(GATEWAYS[gateway], getattr(merchant, gateway)(), merchant.credentials(gateway))
    assert explanation.hints == ()
    assert "TB-ROCK" in explanation.canonical_masked or "paymentLinkId" in explanation.canonical_masked


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_signature_without_a_known_cause_gets_one_hint(merchant, gateway):
    """If no known variant of a signature matches, the hint says that the content was changed or the key is wrong."""
    request = signed_as(merchant, gateway, "something else entirely")
    assert codes(merchant, gateway, request) == {"no_variant"}


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_missing_keys_are_named_by_their_variable(merchant, gateway):
    """If a gateway's keys are missing, the hint names each variable that is not set."""
    credentials = {field.name: () for field in GATEWAYS[gateway].fields}
    (hint,) = explain(GATEWAYS[gateway], getattr(merchant, gateway)(), credentials).hints
    needed = [field.env for field in GATEWAYS[gateway].fields if field.signs_callbacks]
    assert hint.code == "not_configured"
    assert all(env in hint.text for env in needed)


@pytest.mark.parametrize(
    ("gateway", "changes"), [(gateway, change) for gateway, change in OTHER_MERCHANT.items() if change is not None]
)
def test_the_explanation_recognises_another_merchant(merchant, gateway, changes):
    """If the signature is valid for another merchant, the hint asks whether the profile is right."""
    assert codes(merchant, gateway, getattr(merchant, gateway)(**changes)) == {"other_merchant"}


@pytest.mark.parametrize(("gateway", "changes"), UNREADABLE.items())
def test_an_unreadable_callback_with_a_valid_signature_is_distinguished_from_a_forged_one(merchant, gateway, changes):
    """If a callback is unreadable but its signature is valid, the only hint says that the signature is valid."""
    explanation = explain(GATEWAYS[gateway], getattr(merchant, gateway)(**changes), merchant.credentials(gateway))
    assert [hint.code for hint in explanation.hints] == ["malformed"]
    assert explanation.hints[0].text.startswith("the signature is valid")


# --- wrong keys


def test_the_explanation_finds_swapped_zalopay_keys(merchant):
    """If ZaloPay's two keys are swapped, the hint names both keys. Swapped keys are the most common ZaloPay mistake."""
    text = merchant.dumps(merchant.zalopay_data)
    request = merchant.zalopay(text, mac=merchant.mac("zalopay", text, key="canary-zalopay-key-1"))
    hints = explain(GATEWAYS["zalopay"], request, merchant.credentials("zalopay")).hints
    assert [hint.code for hint in hints] == ["other_key"]
    assert "under ZALOPAY_KEY1 instead of ZALOPAY_KEY2" in hints[0].text


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_explanation_finds_the_key_of_another_profile(merchant, gateway):
    """If the key of another profile or gateway matches, the hint gives the key's label but never its value."""
    own = SIGNING[gateway]
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
    """The explanation recognises a key that has a line break, a space or quotes around it."""
    own = SIGNING[gateway]
    value = merchant.credentials(gateway)[own][0].reveal()
    assert codes(merchant, gateway, getattr(merchant, gateway)(), **{own: (around.format(value),)}) == {"key_spaces"}


def test_the_explanation_finds_an_access_key_with_a_line_break(merchant):
    """The explanation recognises a line break in MoMo's access key, because the key is part of the signed string."""
    assert codes(merchant, "momo", merchant.momo(), access_key=("canary-momo-access\n",)) == {"access_key_spaces"}


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ("partner_code secret_key access_key", "if MOMO_ACCESS_KEY and MOMO_SECRET_KEY were swapped"),
        ("access_key partner_code secret_key", "MOMO_PARTNER_CODE as access key"),
        ("secret_key access_key partner_code", "under MOMO_PARTNER_CODE instead of"),
        ("secret_key partner_code access_key", "with MOMO_SECRET_KEY as access key"),
        ("access_key secret_key partner_code", "with MOMO_PARTNER_CODE as access key"),
    ],
)
def test_momo_values_in_each_others_variables_are_found(merchant, held, words):
    """MoMo's portal shows three similar values. If two of these values are swapped, the hint names their variables."""
    given = {name: (KEYS["momo"][other],) for name, other in zip(KEYS["momo"], held.split(), strict=True)}
    (hint,) = explain(GATEWAYS["momo"], merchant.momo(), merchant.credentials("momo", **given)).hints
    assert words in hint.text


def test_momo_keys_swapped_in_both_places_of_a_rotation_are_found(merchant):
    """During a key rotation, the explanation also tries the current and the previous keys with their roles swapped."""
    right = KEYS["momo"]
    given = {"access_key": ("new", right["secret_key"]), "secret_key": ("new too", right["access_key"])}
    assert codes(merchant, "momo", merchant.momo(), **given) == {"keys_swapped"}


def test_momo_keys_that_end_with_a_carriage_return_are_found(merchant):
    """The explanation finds a carriage return at the end of a key, as in a file with Windows line endings."""
    given = {name: (f"{KEYS['momo'][name]}\r",) for name in ("access_key", "secret_key")}
    assert codes(merchant, "momo", merchant.momo(), **given) == {"key_spaces"}


# --- no hint is repeated


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_one_wrong_value_in_many_places_gives_one_hint(merchant, gateway):
    """If several variables contain the matching key, one hint names all these variables."""
    own = SIGNING[gateway]
    right = merchant.credentials(gateway)[own]
    others = {"ONE": right, "TWO": right}
    wrong = merchant.credentials(gateway, **{own: ("wrong", "wrong before")})
    (hint,) = explain(GATEWAYS[gateway], getattr(merchant, gateway)(), wrong, others=others).hints
    assert "ONE or TWO" in hint.text


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


def test_no_two_hints_have_the_same_code(vector):
    """If keys are wrong or the body is corrupted, no two hints have the same code."""
    for credentials in (vector.credentials, {name: (Secret("a"), Secret("b")) for name in vector.credentials}):
        for request in (vector.request, replace(vector.request, body=b"\xef\xbb\xbf" + vector.request.body)):
            found = explain(GATEWAYS[vector.gateway], request, credentials, others={"X": (Secret("a"),)}).hints
            assert len({hint.code for hint in found}) == len(found)


# --- the signature itself


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
def test_the_explanation_says_that_the_signature_is_missing(merchant, gateway):
    """If a request has no signature, the hint says that the signature is missing."""
    assert "no_signature" in codes(merchant, gateway, presented(getattr(merchant, gateway)(), gateway, lambda _: None))


SECRET = KEYS["vnpay"]["hash_secret"]
OLD_TERMINALS = {
    "HMAC-SHA256": lambda text: hmac.new(SECRET.encode(), text.encode(), "sha256").hexdigest(),
    "SHA256": lambda text: sha256((SECRET + text).encode()).hexdigest(),
    "MD5": lambda text: md5((SECRET + text).encode()).hexdigest(),  # noqa: S324 - VNPay used it
}


@pytest.mark.parametrize("sent_as", [str.lower, str.upper])
@pytest.mark.parametrize("empty", [{}, {"vnp_BankTranNo": ""}], ids=["no empty parameter", "an empty parameter"])
@pytest.mark.parametrize("encode", [str, quote_plus], ids=["decoded", "encoded"])
@pytest.mark.parametrize("algorithm", OLD_TERMINALS)
def test_a_terminal_of_an_older_vnpay_version_is_recognised_and_refused(merchant, algorithm, encode, empty, sent_as):
    """The explanation recognises a terminal with an older VNPay version, but the callback is still refused."""
    params = {**merchant.vnpay_params, **empty}
    text = "&".join(f"{name}={encode(params[name])}" for name in sorted(params))
    query = (
        f"{urlencode(params)}&vnp_SecureHashType={algorithm}&vnp_SecureHash={sent_as(OLD_TERMINALS[algorithm](text))}"
    )
    request = Request("GET", query=query)
    (hint,) = explain(GATEWAYS["vnpay"], request, merchant.credentials("vnpay")).hints
    assert (hint.code, f"{algorithm}" in hint.text) == ("algorithm", True)
    assert "ask VNPAY to change the terminal" in hint.text
    assert isinstance(merchant.verify("vnpay", request), Rejected)


# --- changes on the way from the gateway


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
    request = getattr(merchant, gateway)(**{"description": "Vé"} if gateway == "payos" else {})
    assert not request.body.isascii(), f"give {gateway}'s callback in tests/providers/conftest.py a Vietnamese letter"
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
    assert codes(merchant, gateway, signed_as(merchant, gateway, change(text))) == {code}


def test_the_explanation_finds_changed_line_ends(merchant):
    """ZaloPay's data can contain line breaks. The explanation recognises a change between LF and CR LF."""
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
    """The explanation shows the order, amount and codes.

    The explanation masks names, accounts, descriptions and unknown fields.
    """
    added = WITH_PRIVATE_FIELDS[gateway]
    request = getattr(merchant, gateway)(**added or {})
    shown = explain(GATEWAYS[gateway], request, merchant.credentials(gateway))
    assert "45000" in shown.canonical_masked
    assert ("***" in shown.canonical_masked) is (added is not None)
    assert not [word for word in PRIVATE if word in shown.canonical_masked]


def test_masking_keeps_the_layout_of_zalopay_data(merchant):
    """The explanation shows white space unchanged, because changed white space often breaks the signature."""
    data = '{ "app_id" : 2900,\n  "app_user": "A B", "empty": "", "item":[1, {"a":2}] ,"amount":1 }'
    explanation = explain(GATEWAYS["zalopay"], merchant.zalopay(data), merchant.credentials("zalopay"))
    assert explanation.canonical_masked == (
        '{ "app_id" : 2900,\n  "app_user": "***", "empty": "", "item":"***" ,"amount":1 }'
    )


@pytest.mark.parametrize("data", ["", "{", "[1]", '{"a" 1', '{"a":1,{"x":1}:2}', "x" * 50, '{"a":' * 3000])
def test_masking_shows_nothing_of_unreadable_content(merchant, data):
    """The explanation shows only the length of content that is not a JSON object."""
    explanation = explain(GATEWAYS["zalopay"], merchant.zalopay(data), merchant.credentials("zalopay"))
    assert explanation.canonical_masked == f"({len(data)} characters that are not a JSON object)"


def test_no_explanation_prints_a_key_or_a_mac(vector):
    """An explanation contains no key, no MAC computed with a key, and no received MAC."""
    others = {"another key": (Secret("canary-other"),)}
    for credentials in (vector.credentials, {name: (Secret("canary"),) for name in vector.credentials}):
        seen = repr(explain(GATEWAYS[vector.gateway], vector.request, credentials, others=others))
        fields = GATEWAYS[vector.gateway].fields
        identifiers = {field.name for field in fields if field.signs_callbacks and not field.secret}
        secrets = [str(value) for name, value in vector.keys.items() if name not in identifiers]
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
    """Every refused request gets at least one hint, and `explain` never raises an exception."""
    assert explain(GATEWAYS[gateway], request_, merchant.credentials(gateway)).hints
