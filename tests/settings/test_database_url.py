"""Test the DATABASE_URL parser against Node.js's results for the same strings."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings.database_url import parse, secrets_in

CASES = json.loads((Path(__file__).parents[1] / "data" / "database-urls" / "node.json").read_text("utf-8"))
RESERVED = ":/?#[]@!$&'()*+,;=%\"<>\\^`{|} ~-._"


CUT = {f"postgresql://a{character}b:pw@db.example:5433/db" for character in "/?#"} | {
    "postgresql://us:pw@db.example:5433/a@b"
}
"""URLs that payctl refuses because an ``@`` follows the host.

Node.js may read a part of the user name or password in these URLs as the host or the database.
"""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["url"].encode("unicode_escape").decode())
def test_database_url_is_parsed_as_node_js_parses_it(case):
    """Node.js and payctl read the same parts from a URL, and both refuse the same URLs."""
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
def test_an_encoded_character_of_database_url_is_decoded_once(character):
    """The user name, password and database name can contain any encoded character. Each character is decoded once."""
    text = quote(f"a{character}b", safe="")
    found = parse(f"postgresql://{text}:{text}@h/{text}")
    assert (found.user, found.password.reveal(), found.database) == (f"a{character}b",) * 3


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "does not begin with postgresql://"),
        ("canary", "does not begin with postgresql://"),
        ('"postgresql://u:canary@h/d"', "begins with a quote"),
        ("'postgresql://u:canary@h/d'", "begins with a quote"),
        ("mysql://u:canary@h/d", "does not begin with postgresql://"),
        ("postgresql:u:canary@h/d", "does not begin with postgresql://"),
        ("postgresql://u:can/ary@h/d", "an @ after the host"),
        ("postgresql://u:12/canary@h/d", "an @ after the host"),
        ("postgresql://u:12?canary@h/d", "an @ after the host"),
        ("postgresql://u:12#canary@h/d", "an @ after the host"),
        ("postgresql://u:p@canary/rest@h/d", "an @ after the host"),
        ("postgresql://u:p@canary/rest@h", "an @ after the host"),
        ("postgresql://u:p@canary/x?rest@h/d", "an @ after the host"),
        ("postgresql://u:p@canary/x#rest@h/d", "an @ after the host"),
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
def test_the_error_for_database_url_names_the_wrong_part(url, words):
    """The error for DATABASE_URL says which part is wrong but quotes nothing from the URL."""
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
def test_a_misleading_database_url_gets_a_remark(url, words):
    """If DATABASE_URL is misleading, payctl connects as Prisma does and adds a note."""
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
def test_every_spelling_and_part_of_a_password_is_a_secret(url, hidden):
    """`secrets_in` finds the whole password and its parts, in encoded and decoded form, even in an invalid URL."""
    assert {secret.reveal() for secret in secrets_in(url)} == hidden


def test_the_repr_of_a_database_url_shows_no_user_or_password():
    """The repr of a parsed URL shows neither the user name nor the password."""
    assert "canary" not in repr(parse("postgresql://canary-user:canary@h/d?password=canary"))
