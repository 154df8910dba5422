"""Test that payctl recognises database URLs that name the same server and database."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings.database_url import parse
from ticketbottle_payctl.settings.place import leads_to, place_of


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://h/d", "h:5432/d"),
        ("postgresql:///d", "localhost:5432/d"),
        ("postgresql://u:p@h:5433/d", "h:5433/d"),
        ("postgresql://whatever/d?host=127.0.0.1&port=5433", "127.0.0.1:5433/d"),
        ("postgresql://whatever:1/d?host=h", "h:1/d"),
        ("postgresql://h/whatever?dbname=d", "h:5432/d"),
        ("postgresql://whatever/d?hostaddr=10.0.0.1", "10.0.0.1:5432/d"),
        ("postgresql://whatever/d?hostaddr=::1", "[::1]:5432/d"),
        ("postgresql://[::1]:5433/d", "[::1]:5433/d"),
        ("postgresql://localhost/d?host=/cloudsql/one", "/cloudsql/one:5432/d"),
        ("postgresql://%2Fvar%2Frun/d", "/var/run:5432/d"),
        ("postgresql://localhost/d?host=a,b", "a:5432,b:5432/d"),
        ("postgresql://localhost/d?host=a,b&port=1,2", "a:1,b:2/d"),
        ("postgresql://localhost/d?host=a,b&port=,2", "a:5432,b:2/d"),
        ("postgresql://localhost/d?host=a,b&hostaddr=,10.0.0.2", "a:5432,10.0.0.2:5432/d"),
        ("postgresql:///d?hostaddr=10.0.0.1,10.0.0.2", "10.0.0.1:5432,10.0.0.2:5432/d"),
        ("postgresql://h/a%2Fb%40c", "h:5432/a/b@c"),
    ],
)
def test_a_database_url_leads_to_one_place(url, place):
    """A parameter overrides the same part of DATABASE_URL, and an address overrides a host name, as in libpq."""
    assert str(place_of(parse(url))) == place


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://h", "names no database"),
        ("postgresql://h/?dbname=", "names no database"),
        ("postgresql://h/d?port=x", "not a number from 1 to 65535"),
        ("postgresql://h/d?port=0", "not a number from 1 to 65535"),
        ("postgresql://h/d?port=65536", "not a number from 1 to 65535"),
        ("postgresql://h/d?port=1,2", "different numbers"),
        ("postgresql://h/d?host=a,b&hostaddr=10.0.0.1", "different numbers"),
        ("postgresql://h/d?hostaddr=canary", "not an IP address"),
        ("postgresql://h/d?host=/postgresql://u:canary@h/d", "host parameter of DATABASE_URL contains a URL"),
    ],
)
def test_an_inconsistent_place_is_a_config_error(url, words):
    """If a host, a port or a database in DATABASE_URL cannot be right, the error says why without showing the value."""
    with pytest.raises(ConfigError, match=words) as error:
        place_of(parse(url))
    assert "canary" not in error.value.message
    assert leads_to(url) is None


LOCAL = (
    *("localhost", "LOCALHOST.", "127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "[::]", "db.localhost"),
    *("x/d?host=/var/run/postgresql&x=", "x/d?host=@abstract&x=", "x/d?hostaddr=127.0.0.1&x="),
)


@pytest.mark.parametrize("host", LOCAL)
def test_every_name_of_this_machine_is_one_server(host):
    """The name localhost, a loopback address and a socket count as the same host.

    A different port or database is a different location.
    """
    one = leads_to(f"postgresql://{host}/d")
    assert one.may_be(leads_to("postgresql://localhost/d"))
    assert leads_to("postgresql://localhost/d").may_be(one)
    assert not one.may_be(leads_to("postgresql://localhost:5433/d"))
    assert not one.may_be(leads_to("postgresql://localhost/other"))
    assert not one.may_be(leads_to("postgresql://db.example/d"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("h/d", "H./d", True),
        ("h/d", "h:5432/d?schema=x", True),
        ("10.0.0.1/d", "h/d?hostaddr=10.0.0.1", True),
        ("[2001:db8::1]/d", "[2001:0db8:0:0::1]/d", True),
        ("h/d", "x/d?host=a,h", True),
        ("x/d?host=a,b", "x/d?host=c,b", True),
        ("x/d?host=a,b&port=1,2", "x/d?host=b,a&port=1,2", False),
        ("h/d", "h/D", False),
    ],
)
def test_different_spellings_of_a_place_are_equal(one, other, same):
    """Equivalent spellings of a database URL are the same location.

    Two host lists can be the same location if they share a server.
    """
    assert leads_to(f"postgresql://u:p@{one}").may_be(leads_to(f"postgresql://{other}")) is same
