import pytest

from ticketbottle_payctl.domain.callback import (
    Callback,
    IgnoredBecause,
    OrderHint,
    Outcome,
    Rejected,
    RejectReason,
    Unclear,
    UnclearReason,
)
from ticketbottle_payctl.providers.payos import signed_text


def reason(verdict):
    """Why it was not accepted, or None."""
    return verdict.reason if isinstance(verdict, Rejected | Unclear) else None


def test_only_the_checksum_key_is_needed(merchant):
    """client_id and api_key are for calls to PayOS; without the checksum key the gateway is off."""
    request = merchant.payos()
    assert isinstance(merchant.verify("payos", request, client_id=(), api_key=()), Callback)
    assert reason(merchant.verify("payos", request, checksum_key=("",))) is RejectReason.NOT_CONFIGURED


# What payos-lib-node 2.0.5 signs for each of these, printed by it.
TEXTS = [
    ({"b": 1, "a": 2, "Z": 3, "_": 4}, "Z=3&_=4&a=2&b=1"),
    ({"10": 1, "9": 2, "x": 3, "01": 4}, "9=2&10=1&01=4&x=3"),
    ({"a": None, "b": "null", "c": "undefined", "d": "", "e": "Null"}, "a=&b=&c=&d=&e=Null"),
    ({"a": True, "b": False, "c": 0, "d": -5}, "a=true&b=false&c=0&d=-5"),
    ({"a": 2**53 + 1}, "a=9007199254740992"),
    ({"a": "x&y=z", "b": " Đà Lạt "}, "a=x&y=z&b= Đà Lạt "),
    ({"a": []}, "a=[]"),
    ({"a": [{"b": 1, "a": {"d": 1, "c": 2}}]}, 'a=[{"a":{"d":1,"c":2},"b":1}]'),
    ({"a": [{"b": 'é"\n'}, {"a": None}]}, 'a=[{"b":"é\\"\\n"},{"a":null}]'),
    ({"a": ["xy", 5, True, ["z"]]}, 'a=[{"0":"x","1":"y"},{},{},{"0":"z"}]'),
    ({"a": {"b": 1}}, "a=[object Object]"),
    ({}, ""),
]


@pytest.mark.parametrize(("data", "text"), TEXTS)
def test_the_signed_text_is_what_the_official_server_code_prints(data, text):
    """Order, null, numbers, arrays and objects follow PayOS's own JavaScript."""
    assert signed_text(data) == text


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 0},
        {"amount": -450000},
        {"amount": None},
        {"amount": True},
        {"amount": ...},
        {"amount": "450000.0"},
        {"amount": " 450000"},
        {"orderCode": None},
        {"orderCode": ...},
        {"orderCode": -1},
        {"orderCode": "TB-1"},
        {"orderCode": True},
        {"orderCode": 2**53},
        {"paymentLinkId": None},
        {"paymentLinkId": ...},
        {"paymentLinkId": ""},
        {"paymentLinkId": 5},
        {"code": None},
        {"code": ...},
        {"code": 0},
        {"currency": "USD"},
    ],
)
def test_signed_content_that_is_not_well_formed_is_refused(merchant, changes):
    """A right signature does not make up for a missing field, another currency or an amount that is none."""
    assert reason(merchant.verify("payos", merchant.payos(**changes))) is UnclearReason.UNREADABLE


@pytest.mark.parametrize("word", ["null", "undefined"])
def test_words_that_are_signed_as_nothing_are_not_values(merchant, word):
    """PayOS signs the word null like an empty text, so a field we act on must not be that word."""
    text = merchant.payos_text({**merchant.payos_data, "paymentLinkId": ""})
    assert reason(merchant.verify("payos", merchant.payos(text, paymentLinkId=word))) is UnclearReason.UNREADABLE


def test_the_same_digits_as_text_are_the_same_callback(merchant):
    """PayOS signs 450000 and "450000" alike, so both are read alike."""
    verdict = merchant.verify("payos", merchant.payos(amount="450000", orderCode="7"))
    assert (verdict.amount, verdict.order_ref) == (450000, "7")


@pytest.mark.parametrize(
    ("order", "description", "ping"),
    [
        (123, "VQRIO123", True),
        (123, "Ma giao dich thu nghiem", True),
        (123, "TB7K2M9QXA", False),
        (124, "VQRIO123", False),
    ],
)
def test_the_registration_ping_is_told_by_order_and_description(merchant, order, description, ping):
    """Only the two together are the ping; a real order 123 is paid."""
    verdict = merchant.verify("payos", merchant.payos(orderCode=order, description=description))
    assert verdict.outcome is (Outcome.IGNORED if ping else Outcome.COMPLETED)
    assert verdict.ignored_because is (IgnoredBecause.PING if ping else None)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (2025100812702890, OrderHint("20251008", "7K9M2")),
        (2026112300000000, OrderHint("20261123", "00000")),
        (2026112360466175, OrderHint("20261123", "ZZZZZ")),
        (2026112300000035, OrderHint("20261123", "0000Z")),
        (2026112360466176, OrderHint()),
        (99999999999999, OrderHint()),
        (25100820251008, OrderHint()),
        (0, OrderHint()),
        (2**53 - 1, OrderHint("90071992", "WLAF3")),
    ],
)
def test_the_number_tells_the_date_and_the_end_of_the_order_code(merchant, number, hint):
    """As the payment service makes it; a number of another form tells nothing."""
    assert merchant.verify("payos", merchant.payos(orderCode=number)).order_hint == hint
    if hint.day:
        assert int(hint.day) * 10**8 + int(hint.tail, 36) == number


@pytest.mark.parametrize("code", ["01", "0", "000", " 00", "99", "PAID"])
def test_any_code_but_00_is_a_failure(merchant, code):
    """data.code decides alone."""
    assert merchant.verify("payos", merchant.payos(code=code)).outcome is Outcome.FAILED


@pytest.mark.parametrize("items", [[None], ["a", None]])
def test_an_array_that_the_server_could_not_sign_is_refused(merchant, items):
    """PayOS's code throws on null in an array, so nobody has a signature for it."""
    assert reason(merchant.verify("payos", merchant.payos("x", items=items))) is RejectReason.MALFORMED
