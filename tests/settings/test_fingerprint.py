"""Test that a key's fingerprint is the beginning of its SHA-256 hash."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings.fingerprint import fingerprint


@pytest.mark.parametrize(
    ("key", "printed"),
    [
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ],
)
def test_a_fingerprint_is_the_beginning_of_sha256sum_s_output(key, printed):
    """A fingerprint is the beginning of the key's SHA-256 hash, so that people can compare two keys."""
    assert fingerprint(Secret(key)) == fingerprint(key.encode()) == printed[:8]


def test_a_key_that_is_not_utf_8_has_a_fingerprint():
    """Even a key whose bytes are not valid UTF-8 has a fingerprint."""
    assert fingerprint(Secret("key\udcff")) != fingerprint(Secret("key"))
