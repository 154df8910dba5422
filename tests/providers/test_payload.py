"""Test the functions that read a callback's body, amounts and references strictly and without rounding."""

import pytest

from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES
from ticketbottle_payctl.providers.payload import (
    MalformedError,
    Real,
    amount_of,
    digits,
    printable,
    read_body,
    read_leniently,
    text_of,
    transaction_id_of,
    whole_number,
)

HOSTILE = {
    "nothing": b"",
    "white space": b" \n",
    "an array": b"[]",
    "a text": b'"{}"',
    "a number": b"1",
    "null": b"null",
    "form fields": b"data=1&mac=2",
    "cut off": b'{"a":',
    "two documents": b"{}{}",
    "single quotes": b"{'a':1}",
    "a comment": b"{}//",
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}',
    "beyond a double": b'{"a":1e400}',
    "5000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "a name twice": b'{"a":1,"a":1}',
    "a name twice, once escaped": rb'{"a":1,"\u0061":2}',
    "a name twice inside": b'{"a":[{"b":1,"b":2}]}',
    "deep arrays": b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-16 without mark": '{"a":1}'.encode("utf-16-le"),
    "UTF-32": '{"a":1}'.encode("utf-32"),
    "Latin-1": '{"a":"é"}'.encode("latin-1"),
    "a surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "half a surrogate pair": rb'{"a":"\ud83d"}',
    "half a surrogate pair, inside": rb'{"a":[{"b":["\udc00x"]}]}',
    "half a surrogate pair as a name": rb'{"\ud83d":1}',
    "a bare control character": b'{"a":"\x01"}',
    "a bare NUL": b'{"a":1}\x00',
    "an overlong encoding": b'{"a":"\xc0\xaf"}',
    "too large": b'{"a":"' + b"x" * MAX_BODY_BYTES + b'"}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_body_raises_malformed_error(body):
    """Each invalid body raises MalformedError, and the error quotes nothing from the body."""
    with pytest.raises(MalformedError) as refusal:
        read_body(body)
    assert refusal.value.detail == str(refusal.value)


def test_numbers_in_a_body_keep_every_digit():
    """`read_body` does not round numbers. Long whole numbers stay exact, and fractions keep every digit."""
    read = read_body(b'{"id":900719925474099312345,"amount":450000.00,"zero":-0,"tiny":1e-400}')
    assert read == {"id": 900719925474099312345, "amount": Real("450000.00"), "zero": 0, "tiny": Real("1e-400")}


def test_an_escaped_surrogate_pair_equals_the_raw_letter():
    """`read_body` reads an emoji and its escaped surrogate pair as the same string."""
    assert read_body(rb'{"a":"\ud83d\ude00"}') == read_body('{"a":"😀"}'.encode()) == {"a": "😀"}


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        (450000, 450000),
        (Real("450000.0"), 450000),
        (Real("4.5e5"), 450000),
        (Real("45000000E-2"), 450000),
        (Real("450000.5"), None),
        (Real("450000.00000000000000001"), None),
        (Real("1e300"), None),
        (Real("1e99999999999999999999"), None),
        (Real("1e-99999999999999999999"), None),
        (Real("0.0"), 0),
        (True, None),
        ("450000", None),
        (None, None),
        ([450000], None),
    ],
)
def test_a_whole_number_is_recognised_without_rounding(value, whole):
    """`whole_number` reads 450000.0 as 450000. The function does not read true as 1 or a string as a number."""
    assert whole_number(value) == whole


@pytest.mark.parametrize(
    "text", ["0450000", "+1", "-1", " 1", "1 ", "1.0", "1e3", "", "\uff14\uff15", "٤٥", "1_0", "9" * 65]
)
def test_a_text_with_other_characters_than_digits_is_not_a_number(text):
    """`digits` refuses a string with a sign, a space, a leading zero, or digits from another script."""
    assert digits(text) is None


@pytest.mark.parametrize("amount", [None, 0, -1, 10**15 + 1])
def test_an_amount_is_positive_and_bounded(amount):
    """`amount_of` refuses zero, negative and very large amounts."""
    with pytest.raises(MalformedError):
        amount_of(amount)


def test_a_transaction_id_of_zero_becomes_none():
    """`transaction_id_of` returns None for 0, because a gateway sends 0 if there is no transaction."""
    assert (transaction_id_of(0), transaction_id_of(2**53 + 1)) == (None, "9007199254740993")


@pytest.mark.parametrize("value", ["", "a\x00b", "a\nb", "\x7f", None, 5, ["a"], {}])
def test_a_text_with_control_characters_is_refused(value):
    """`text_of` refuses control characters.

    PostgreSQL cannot store NUL, and terminals obey the other control characters.
    """
    with pytest.raises(MalformedError):
        text_of({"name": value}, "name")


@pytest.mark.parametrize("read", [read_body, read_leniently])
def test_a_body_of_64_kib_is_read(read):
    """A callback body of exactly 65,536 bytes is read completely."""
    assert MAX_BODY_BYTES == 65_536
    text = "x" * (MAX_BODY_BYTES - len(b'{"a":""}'))
    assert read(f'{{"a":"{text}"}}'.encode()) == {"a": text}


def test_a_larger_body_is_not_read():
    """A callback body of 65,537 bytes is refused. For such a body, the lenient reader returns an empty object."""
    body = b'{"a":1}'.ljust(MAX_BODY_BYTES + 1)
    assert read_leniently(body) == {}
    with pytest.raises(MalformedError, match="too large"):
        read_body(body)


def test_a_number_has_at_most_64_digits():
    """`digits` accepts a string of 64 digits, and a single zero, as a number."""
    assert digits("9" * 64) == int("9" * 64)
    assert digits("0") == 0


def test_a_reference_has_at_most_100_printable_characters():
    """`printable` returns an empty string for a number, a line break, or more than 100 characters."""
    assert printable("đ" * 100) == "đ" * 100
    assert [printable(value) for value in ("x" * 101, "a\nb", 5, None)] == ["", "", "", ""]


@pytest.mark.parametrize(
    ("token", "whole"), [("1e15", 10**15), ("9999999999999999.0", 9_999_999_999_999_999), ("1e16", None)]
)
def test_a_number_of_16_digits_is_still_exact(token, whole):
    """`whole_number` reads a number with a fraction or exponent only below ten times the largest amount."""
    assert whole_number(Real(token)) == whole


@pytest.mark.parametrize("amount", [1, 10**15])
def test_the_smallest_and_the_largest_amount_are_accepted(amount):
    """`amount_of` accepts the smallest amount, 1 VND, and the largest, 1,000,000,000,000,000 VND."""
    assert amount_of(amount) == amount


@pytest.mark.parametrize("number", [None, -1])
def test_a_missing_or_negative_transaction_number_is_refused(number):
    """`transaction_id_of` refuses a missing or negative number. Only zero means that no transaction exists."""
    with pytest.raises(MalformedError):
        transaction_id_of(number)
    assert transaction_id_of(1) == "1"
