"""The parser of DATABASE_URL, compared with what Node.js made of the same texts."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings.database_url import parse, secrets_in

CASES = json.loads((Path(__file__).parents[1] / "data" / "database-urls" / "node.json").read_text("utf-8"))
RESERVED = ":/?#[]@!$&'()*+,;=%\"<>\\^`{|} ~-._"


CUT = {f"postgresql://a{character}b:pw@db.example:5433/db" for character in "/?#"}
"""In these Node.js takes a part of the user name for the host and goes there. payctl refuses them."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["url"].encode("unicode_escape").decode())
def test_a_url_is_read_as_node_reads_it(case):
    """User, password, host, port, database and parameters are the same; what Node.js refuses is refused."""
    if "error" in case or case["url"] in CUT:
        with pytest.raises(ConfigError, match="DATABASE_URL"):
            parse(case["url"])
        return
    found = parse(case["url"])
    read = {
        "url": case["url"],
        "user": found.user or "",
        "password": found.password.reveal() if found.password else "",
        "host": found.host or "",
        "port": str(found.port or ""),
        "database": found.database or "",
        "parameters": found.parameters,
    }
    assert read == case


@pytest.mark.parametrize("character", RESERVED)
def test_an_encoded_character_is_itself_in_each_part(character):
    """Percent-encoding is undone once, in the user name, the password and the database name."""
    text = quote(f"a{character}b", safe="")
    found = parse(f"postgresql://{text}:{text}@h/{text}")
    assert (found.user, found.password.reveal(), found.database) == (f"a{character}b",) * 3


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "does not begin with postgresql://"),
        ("canary", "does not begin with postgresql://"),
        ("mysql://u:canary@h/d", "does not begin with postgresql://"),
        ("postgresql:u:canary@h/d", "does not begin with postgresql://"),
        ("postgresql://u:can/ary@h/d", "an @ behind the host"),
        ("postgresql://u:12/canary@h/d", "an @ behind the host"),
        ("postgresql://u:12?canary@h/d", "an @ behind the host"),
        ("postgresql://u:12#canary@h/d", "an @ behind the host"),
        ("postgresql://u:p@canary/rest@h/d", "an @ behind the host"),
        ("postgresql://u:p@canary/x?rest@h/d", "an @ behind the host"),
        ("postgresql://u:p@canary/x#rest@h/d", "an @ behind the host"),
        ("postgresql://u:canary@a:1,b:2/d", "several hosts"),
        ("postgresql://u:p@h:canary/d", "a port that is not a number"),
        ("postgresql://u:canary@a,b:2/d", "several hosts"),
        ("postgresql://u:canary@[h]/d", "not an IPv6 address"),
        ("postgresql://u:canary%00@h/d", "%00 in the password"),
        ("postgresql://canary%00:p@h/d", "%00 in the user name"),
        ("postgresql://u:canary@h/d%00", "%00 in the database name"),
        ("postgresql://u:canary@h%00/d", "%00 in the host"),
        ("postgresql://u:canary@h/d?a=%00", "%00 in a parameter"),
        ("postgresql://u:canary%FF@h/d", "a password that is not UTF-8"),
        ("postgresql://canary%C3:p@h/d", "a user name that is not UTF-8"),
        ("postgresql://u:canary@h/%ED%A0%80", "a database name that is not UTF-8"),
        ("postgresql://u:canary\udce9@h/d", "a password that is not UTF-8"),
        ("postgresql://u:canary@h/d?" + "&".join(f"a{n}=1" for n in range(101)), "more than 100 parameters"),
    ],
)
def test_a_wrong_url_gets_a_sentence_and_is_not_quoted(url, words):
    """The error says which part is wrong. No part of the URL is in it."""
    with pytest.raises(ConfigError) as error:
        parse(url)
    assert words in error.value.message
    assert "canary" not in f"{error.value.message} {error.value.hint}"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u:100%zz@h/d", "a % without two hexadecimal digits"),
        ("postgresql://u:p@h/d/e", "the first one names the database"),
        ("postgresql://u:p@h/d#e", "an unencoded #"),
        ("postgresql://u:p@h/d/", None),
        ("postgresql://u:p%25@h/d?x=1", None),
    ],
)
def test_what_reads_otherwise_than_meant_is_remarked(url, words):
    """The connection is made as Prisma makes it, and a person can learn why it is not the one that was meant."""
    remarks = parse(url).remarks
    assert (len(remarks), words is None or words in remarks[0]) == (0 if words is None else 1, True)


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("postgresql://u:Tr0ub@dor99SecretTail@h/d", {"Tr0ub@dor99SecretTail", "Tr0ub", "dor99SecretTail"}),
        ("postgresql://u:p%40ss%2Fword@h/d", {"p%40ss%2Fword", "p@ss/word", "p", "ss", "word", "40ss", "2Fword"}),
        ("postgresql://u:12/secret?tail@h/d", {"12/secret?tail", "12", "secret", "tail"}),
        ("postgresql://u@h/d", set()),
        ("postgresql://u@h/d?password=hidden-one", {"hidden-one"}),
        ("", set()),
    ],
)
def test_every_spelling_and_piece_of_a_password_is_known(url, hidden):
    """Also of a URL that cannot be read: up to its last @, whole and in pieces, encoded and decoded."""
    assert {secret.reveal() for secret in secrets_in(url)} == hidden


def test_no_part_is_shown_by_accident():
    """A URL's parts print neither the password nor the user name."""
    assert "canary" not in repr(parse("postgresql://canary-user:canary@h/d?password=canary"))
