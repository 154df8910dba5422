"""Test that `redact` hides the secrets in a text and nothing else."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.redaction import redact, redact_echo, register
from ticketbottle_payctl.secret import Secret

MAC_256, MAC_512 = "0123456789abcdef" * 4, "0123456789ABCDEF" * 8
CARD = "9704198526191432198"
"""VNPay's published test card: 19 digits that pass the Luhn check."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://user:canary@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user:can@ry:x/y@host/db", "postgresql://user:***@host/db"),
        ("redis://:canary@host", "redis://:***@host"),
        ("password=canary host=x", "password=*** host=x"),
        ("MOMO_SECRET_KEY=canary and api_key = canary", "MOMO_SECRET_KEY=*** and api_key = ***"),
        ("ZALOPAY_KEY2=canary&accessKey=canary&amount=1", "ZALOPAY_KEY2=***&accessKey=***&amount=1"),
        ('{"accountNumber": "0071001234567", "amount": 1}', '{"accountNumber": "***", "amount": 1}'),
        ("vnp_Amount=1&vnp_SecureHash=canary&x=1", "vnp_Amount=1&vnp_SecureHash=***&x=1"),
        (f"the mac was {MAC_256}.", "the mac was ***."),
        (f"<{MAC_512}>", "<***>"),
        (f"card {CARD}", "card ***"),
        ("card 4111 1111 1111 1111 x", "card *** x"),
        ("at 4111-1111-1111-1111", "at ***"),
    ],
)
def test_text_that_looks_like_a_secret_is_blanked(text, shown):
    """Passwords in URLs, named secrets, MACs and card numbers are hidden."""
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "TB-ROCKHN-20261205-7K2M9QXA",
        "123e4567-e89b-12d3-a456-426614174000",
        "https://shop.example/webhook?order=1",
        "200904000000389",
        f"{MAC_256}0",
        "2026-11-22T03:04:05.678Z",
        "postgresql://user@host/db",
        "12 tokens",
        "MOMO_SECRET_KEY: 24 characters",
        "monkey=1 key3=2",
    ],
)
def test_harmless_text_is_not_redacted(text):
    """Ids, order codes, instants and digits that are not a card number stay unchanged."""
    assert redact(text) == text


def test_a_registered_value_is_blanked_wherever_it_appears():
    """A registered secret is hidden, even if it is URL-encoded. Very short values are not hidden."""
    register(Secret("canary/value+1"))
    register(Secret("short"))
    assert redact("a canary/value+1 b canary%2Fvalue%2B1 c short") == "a *** b *** c short"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the key KeyOfTheShop-7 is wrong", "the key *** is wrong"),
        ("the key KeyOfT... is wrong", "the key ***... is wrong"),
        ("ends in eShop-7", "ends in ***"),
        ("fTheSh", "***"),
        ("KeyOf and hop-7", "KeyOf and hop-7"),
        ("KeyOfTheShop-7KeyOfThe, TheShop", "***, ***"),
        ("token=canary", "token=***"),
        ("", ""),
    ],
)
def test_a_part_of_a_secret_is_blanked_in_the_words_of_a_gateway(text, shown):
    """In a gateway's message, any six consecutive characters of a registered secret are hidden.

    `redact_echo` also hides everything that `redact` hides.
    """
    register(Secret("KeyOfTheShop-7"))
    assert redact_echo(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "a" * 500_000,
        "a://b:" * 80_000,
        "password" * 60_000,
        "password " + " " * 500_000,
        "key1 " * 100_000,
        "0" * 500_000,
        "f" * 500_000,
        "4111 " * 100_000,
        "a+" * 250_000 + "://u:p@h",
        "@" * 500_000,
    ],
    ids=["letters", "schemes", "names", "blanks", "keys", "digits", "hex", "card groups", "long scheme", "ats"],
)
def test_redaction_takes_linear_time(text):
    """Redacting 500,000 characters finishes within the test's timeout, which quadratic time would exceed."""
    assert redact(text) is not None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:p@ss@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:p:w@h/db", "postgresql://u:***@h/db"),
        ("x postgres+psycopg2://u:pw@h y", "x postgres+psycopg2://u:***@h y"),
        ("redis://:pw@h", "redis://:***@h"),
        ("mail me@h or see http://h/a@b", "mail me@h or see http://h/a@b"),
        ('"postgresql://u:pw@h"', '"postgresql://u:***@h"'),
    ],
)
def test_a_password_in_an_address_is_blanked_up_to_the_last_at(text, shown):
    """The password in a URL is hidden up to the last @. The user name and the host stay readable."""
    assert redact(text) == shown


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_secret_of_one_test_is_a_plain_word_in_the_next(which):
    """A word that one test registers is not redacted in another test."""
    register(Secret(f"the word of the {which}"))
    assert redact("the word of the first, the word of the second").count("***") == 1
