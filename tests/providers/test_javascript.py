"""Test that payctl writes numbers and JSON as JavaScript does, because PayOS and MoMo sign the output of JavaScript."""

import pytest

from ticketbottle_payctl.providers.javascript import number_text, sorted_names, stringify, utf16_units
from ticketbottle_payctl.providers.payload import MalformedError, Real

# Node.js 20 prints the right-hand side for String(JSON.parse(left)).
NUMBERS = {
    "450000.0": "450000",
    "4.5e5": "450000",
    "0.1": "0.1",
    "-0.0": "0",
    "1e21": "1e+21",
    "1e20": "100000000000000000000",
    "123456789012345680000.0": "123456789012345680000",
    "1.5": "1.5",
    "12.5e19": "125000000000000000000",
    "123456789.125": "123456789.125",
    "1.5e300": "1.5e+300",
    "0.000001": "0.000001",
    "1e-7": "1e-7",
    "1.25e-9": "1.25e-9",
    "5e-324": "5e-324",
    "-2.5": "-2.5",
    "1e-400": "0",
}


@pytest.mark.parametrize(("token", "text"), NUMBERS.items())
def test_a_number_is_written_as_javascript_writes_it(token, text):
    """`number_text` prints fractions and exponents as JavaScript does, which differs from what Python prints."""
    assert number_text(Real(token)) == text


@pytest.mark.parametrize("number", [Real("1e309"), Real("-1e999"), Real("2021e505"), 10**309])
def test_a_number_beyond_a_double_is_refused(number):
    """`number_text` refuses a number that is too large for a double.

    JavaScript reads such a number as Infinity, which no gateway sends.
    """
    with pytest.raises(MalformedError, match="out of range"):
        number_text(number)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2**53 - 1, "9007199254740991"),
        (2**53 + 1, "9007199254740992"),
        (2**60, "1152921504606847000"),
        (10**21, "1e+21"),
        (-(2**60), "-1152921504606847000"),
    ],
)
def test_integers_beyond_two_to_the_53_lose_digits_as_in_javascript(number, text):
    """`number_text` rounds a whole number beyond 2^53 as JavaScript does. The signature covers the rounded digits."""
    assert number_text(number) == text


@pytest.mark.parametrize("number", [10**400, -(10**400), Real("1e400"), Real("-1.5E400")])
def test_a_number_that_is_too_large_for_a_double_is_refused(number):
    """`number_text` refuses a number too large for a double, because JavaScript would sign it as Infinity."""
    with pytest.raises(MalformedError, match="out of range"):
        number_text(number)


def test_names_are_sorted_as_in_a_javascript_object():
    """`sorted_names` puts array indexes first, by value.

    It sorts other names by UTF-16 code units, so an emoji precedes U+FFEE.
    """
    names = ["a", "_", "Z", "10", "9", "01", "4294967295", "4294967294", "\uffee", "😀", "é"]
    assert sorted_names(names) == ["9", "10", "4294967294", "01", "4294967295", "Z", "_", "a", "é", "😀", "\uffee"]


def test_json_is_printed_as_json_stringify_prints_it():
    """`stringify` escapes quotes and control characters but not letters.

    It prints 1.0 as 1 and puts array indexes before other names.
    """
    value = {"b": 'Vé "VIP"\n\x01\x7f\u2028', "a": [Real("1.0"), True, None, {"x": 1, "2": 2, "1": {}}]}
    assert stringify(value) == '{"b":"Vé \\"VIP\\"\\n\\u0001\x7f\u2028","a":[1,true,null,{"1":{},"2":2,"x":1}]}'


def test_deep_nesting_is_refused():
    """`stringify` refuses a document if printing it would exhaust the stack, even if the parser accepts it."""
    value: list = []
    for _ in range(500):
        value = [value]
    with pytest.raises(MalformedError):
        stringify(value)


def test_a_document_may_be_nested_32_levels_deep():
    """`stringify` accepts a document with 32 nesting levels, and refuses one with 33 levels."""
    deepest: object = 1
    for _ in range(16):
        deepest = [{"a": deepest}]
    assert stringify(deepest) == '[{"a":' * 16 + "1" + "}]" * 16
    for deeper in ([deepest], {"a": deepest}):
        with pytest.raises(MalformedError):
            stringify(deeper)


def test_a_text_is_split_into_units_of_utf_16():
    """`utf16_units` returns two code units for a character beyond U+FFFF, and one for every other character."""
    assert utf16_units("aé😀") == ["a", "é", "\ud83d", "\ude00"]


def test_half_of_a_surrogate_pair_is_escaped():
    """`stringify` escapes the first and last surrogates. The characters next to the surrogate range stay unchanged."""
    assert stringify("\ud7ff\ud800\udfff\ue000") == '"\ud7ff\\ud800\\udfff\ue000"'
