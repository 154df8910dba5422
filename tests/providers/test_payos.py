"""Test that payctl verifies PayOS webhooks, reads their order numbers, and recognises the ping."""

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
from ticketbottle_payctl.providers.payos import order_hint, signed_text


def reason(verdict):
    """Return why a callback was not accepted, or None if it was accepted."""
    return verdict.reason if isinstance(verdict, Rejected | Unclear) else None


def test_payos_needs_only_the_checksum_key(merchant):
    """PayOS webhooks are verified without client_id and api_key. Without the checksum key, PayOS is not configured."""
    request = merchant.payos()
    assert isinstance(merchant.verify("payos", request, client_id=(), api_key=()), Callback)
    assert reason(merchant.verify("payos", request, checksum_key=("",))) is RejectReason.NOT_CONFIGURED


# payos-lib-node 2.0.5 signs the right-hand side for each of these objects.
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
def test_the_payos_signed_text_equals_that_of_the_official_library(data, text):
    """`signed_text` orders fields and writes null, numbers, arrays and objects as PayOS's own JavaScript does."""
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
def test_a_signed_payos_webhook_with_a_wrong_value_is_unreadable(merchant, changes):
    """A signed PayOS webhook with a missing field, another currency or an invalid amount is unreadable."""
    assert reason(merchant.verify("payos", merchant.payos(**changes))) is UnclearReason.UNREADABLE


@pytest.mark.parametrize("description", [[], {}, ["VQRIO123"], 5, None, True])
def test_a_payos_webhook_for_order_123_may_have_any_description(merchant, description):
    """A PayOS webhook for order 123 is a ping only if it has the ping's description.

    A description that is not a string does not raise an error.
    """
    data = {**merchant.payos_data, "orderCode": 123, "description": description}
    request = merchant.payos(signed_text(data), orderCode=123, description=description)
    assert merchant.verify("payos", request).outcome is Outcome.COMPLETED


@pytest.mark.parametrize("word", ["null", "undefined"])
def test_a_payos_field_with_the_word_null_is_unreadable(merchant, word):
    """PayOS signs the word null as if it were an empty string.

    A webhook with that word in a deciding field is therefore unreadable.
    """
    text = merchant.payos_text({**merchant.payos_data, "paymentLinkId": ""})
    assert reason(merchant.verify("payos", merchant.payos(text, paymentLinkId=word))) is UnclearReason.UNREADABLE


def test_payos_amounts_may_be_numbers_or_text(merchant):
    """PayOS signs 450000 and "450000" in the same way, so payctl reads both as the same amount."""
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
def test_the_payos_ping_is_recognised_by_order_and_description(merchant, order, description, ping):
    """Only order 123 with the ping's description is a ping. Any other PayOS callback for order 123 is a payment."""
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
def test_a_payos_order_number_gives_the_date_and_the_end_of_the_order_code(merchant, number, hint):
    """PayOS's order number contains a date and the end of the order code.

    A number in a different format does not lead to a hint.
    """
    assert merchant.verify("payos", merchant.payos(orderCode=number)).order_hint == hint
    if hint.day:
        assert int(hint.day) * 10**8 + int(hint.tail, 36) == number


@pytest.mark.parametrize("code", ["01", "0", "000", " 00", "99", "PAID"])
def test_any_payos_code_but_00_is_a_failure(merchant, code):
    """Only the data.code field decides whether a PayOS payment succeeded."""
    assert merchant.verify("payos", merchant.payos(code=code)).outcome is Outcome.FAILED


@pytest.mark.parametrize("items", [[None], ["a", None]])
def test_a_payos_array_with_null_is_refused(merchant, items):
    """A PayOS webhook with null in an array is refused.

    PayOS's own code fails on such an array, so PayOS cannot have signed this webhook.
    """
    assert reason(merchant.verify("payos", merchant.payos("x", items=items))) is RejectReason.MALFORMED


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (10**15, OrderHint("10000000", "00000")),
        (10**15 - 1, OrderHint()),
        (99_999_999 * 10**8 + 36**5 - 1, OrderHint("99999999", "ZZZZZ")),
        (99_999_999 * 10**8 + 36**5, OrderHint()),
        (10**16, OrderHint()),
        (20261123 * 10**8 + 35, OrderHint("20261123", "0000Z")),
    ],
)
def test_only_a_number_in_the_payment_service_s_format_is_a_hint(number, hint):
    """`order_hint` accepts only a number with an eight-digit date and at most five characters in base 36."""
    assert order_hint(number) == hint


def test_a_transfer_s_number_is_the_payment_number(merchant):
    """`payment_number` is the bank transfer's number. Two numbers for one payment therefore mean two transfers."""
    references = ("FT26123", "", ...)
    numbers = [merchant.verify("payos", merchant.payos(reference=value)).payment_number for value in references]
    assert numbers == ["FT26123", None, None]


def test_an_unreadable_webhook_of_payos_names_its_order(merchant):
    """The verdict on an unreadable webhook contains the order number, so that an operator can find the payment.

    If the webhook has no number, the verdict does not name an order.
    """
    verdicts = [
        merchant.verify("payos", merchant.payos(amount="x", orderCode=code)) for code in (2026112300000035, "x")
    ]
    assert [(verdict.order_ref, verdict.order_hint) for verdict in verdicts] == [
        ("2026112300000035", OrderHint("20261123", "0000Z")),
        ("", None),
    ]
