"""Test that an explanation names missing, wrong or swapped keys as the cause of a refused signature."""

import hmac
from dataclasses import replace
from hashlib import md5, sha256
from urllib.parse import quote_plus, urlencode

import pytest

from tests.providers.conftest import JSON_GATEWAYS, KEYS, SIGNING
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
"""For each gateway, a change that makes a callback name a different merchant.

None means that a callback does not name the merchant.
"""

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
"""For each gateway, the private fields that a test adds to a callback. It is empty if the callback already has one.

None means that the gateway does not sign any private fields, so there is nothing to mask.
"""


def codes(merchant, gateway, request, others=None, **keys):
    """Return the codes of all hints in an explanation."""
    explanation = explain(GATEWAYS[gateway], request, merchant.credentials(gateway, **keys), others=others or {})
    return {hint.code for hint in explanation.hints}


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_genuine_callback_gets_no_hint(merchant, gateway):
    """The explanation of a genuine callback shows the signed string and contains no hints."""
    explanation = explain(GATEWAYS[gateway], getattr(merchant, gateway)(), merchant.credentials(gateway))
    assert explanation.hints == ()
    assert "TB-ROCK" in explanation.canonical_masked or "paymentLinkId" in explanation.canonical_masked


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_signature_without_a_known_cause_gets_one_hint(merchant, gateway):
    """If no known variant of a signature matches, the hint says that the content was changed or the key is wrong."""
    request = getattr(merchant, gateway)("something else entirely")
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
    request = merchant.zalopay(mac=merchant.mac("zalopay", text, key="canary-zalopay-key-1"))
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


def test_no_two_hints_have_the_same_code(vector):
    """If keys are wrong or the body is corrupted, no two hints have the same code."""
    for credentials in (vector.credentials, {name: (Secret("a"), Secret("b")) for name in vector.credentials}):
        for request in (vector.request, replace(vector.request, body=b"\xef\xbb\xbf" + vector.request.body)):
            found = explain(GATEWAYS[vector.gateway], request, credentials, others={"X": (Secret("a"),)}).hints
            assert len({hint.code for hint in found}) == len(found)


# --- the signature itself


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


# --- values that must not be shown


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
