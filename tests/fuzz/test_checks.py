"""Test that each target's check finds a fault in the code under test. Each test breaks the code on purpose."""

from __future__ import annotations

import json
import os
import re

import pytest

from lambda_entrypoints import http_api, webhook
from tests.fuzz.oracle import KEYS, SECRET, is_harmless, keeps_secrets
from tests.fuzz.targets import SEEDS, TARGETS, kept
from ticketbottle_payctl import archive_file, redaction, settings
from ticketbottle_payctl.cli.input import id_files, times
from ticketbottle_payctl.cli.output import machine, tables, text
from ticketbottle_payctl.cli.profile import config_file
from ticketbottle_payctl.domain import settlement
from ticketbottle_payctl.errors import ConfigError, InputError
from ticketbottle_payctl.providers import mac
from ticketbottle_payctl.providers.explain import momo
from ticketbottle_payctl.sandbox import signing
from ticketbottle_payctl.settings import database_url
from ticketbottle_payctl.store.outbox import selector

PLAN = {
    "schema": "payctl.replay-plan/2", "database": "h:1/d", "selector": {}, "allow_published": False,
    "allow_superseded": False, "events": 0, "by_type": {}, "keys_with_newer": 0, "oldest": None, "newest": None,
    "superseded": [], "left_out": [["e\x1b[31m", "superseded", "T", "p"]],
}  # fmt: skip

WIDE = b"\x00\x01\x01\x00a\xff\x01\x03" + b"x" * 300 + b"\xff"


def says_the_value(environ, name, *_):
    """Raise an error that quotes the value of a setting."""
    raise ConfigError(environ.get(name, ""))


def says_the_secret(*_):
    """Raise an error that quotes the secret."""
    raise ConfigError(SECRET)


def forgets(archive):
    """Make payctl overwrite the content of an archive."""
    archive._end = 0  # noqa: SLF001 - a fault on purpose


BROKEN = {
    "forged": (mac, "matches", lambda *_: True, None),
    "altered": (mac, "matches", lambda *_: True, None),
    "signed": (settlement, "is_of_gateway", lambda *_: True, None),
    "explained": (momo, "MASK", KEYS["MOMO_ACCESS_KEY"], None),
    "events": (webhook, "to_response", lambda reply: {"statusCode": reply.status, "body": None}, None),
    "headers": (http_api, "_CORRELATION_ID", re.compile("(?s).*"), b"a\nb\xff"),
    "environment": (settings, "_whole", says_the_value, None),
    "profiles": (config_file, "_place", lambda error: f" {error.doc if hasattr(error, 'doc') else SECRET}", b"a = "),
    "database-url": (database_url, "_refuse", says_the_secret, None),
    "plans": (machine, "escape", str, json.dumps(PLAN).encode() + b"\n"),
    "ids": (id_files, "_checked", lambda each, _: each, b'{"id":"a\\u0007b"}'),
    "archives": (archive_file.Archive, "_cut", forgets, None),
    "times": (times, "in_reach", lambda _: True, b"A2500-01-01"),
    "selectors": (selector, "_of_row", lambda chosen: [f"o.id = '{chosen.ids}'"], None),
    "changes": (signing, "_mac", lambda *_: "00", None),
    "terminal": (text, "escape", str, None),
    "tables": (tables, "get_terminal_size", lambda: os.terminal_size((500, 24)), WIDE),
    "machine": (machine, "_inert", machine.cell, None),
    "redaction": (redaction, "_redact_secrets", str, None),
}
"""For each target, the code to break, its replacement, and an input that shows the fault if no seed does."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_check_sees_a_fault(name, monkeypatch):
    """If the code is broken in one place, one of the fuzz target's inputs fails the check."""
    where, what, broken, given = BROKEN[name]
    inputs = [given] if given is not None else [path.read_bytes() for path in kept(SEEDS, name)]
    check = TARGETS[name].load()
    for each in inputs:
        check(each)
    monkeypatch.setattr(where, what, broken)
    failed = 0
    for each in inputs:
        try:
            check(each)
        except (AssertionError, InputError):
            failed += 1
    assert failed


def test_a_part_of_a_canary_is_seen():
    """`keeps_secrets` finds six consecutive characters of a canary in a string."""
    with pytest.raises(AssertionError):
        keeps_secrets(f"the key begins with {KEYS['ZALOPAY_KEY2'][3:9]}")
    keeps_secrets("the key begins with HTTPS and a number")


@pytest.mark.parametrize("character", ["\x1b", "\x00", "\x7f", "\x9b", "\u202e", "\u200b", "\ud800", "\u2028"])
def test_a_control_character_is_seen(character):
    """`is_harmless` refuses control characters, invisible characters and bidirectional characters."""
    with pytest.raises(AssertionError):
        is_harmless(f"a{character}b")
    is_harmless("a\nvé → ✔ 票")
