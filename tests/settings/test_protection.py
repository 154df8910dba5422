"""Test that payctl recognises unprotected database connections."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.settings.protection import unprotected

PLAIN = "may be unencrypted"
NONE = "is not encrypted with TLS"
UNCHECKED = "does not check the certificate of"


@pytest.fixture
def weakness(tmp_path):
    """Return a function that looks for a weakness of a connection. ``CA`` stands for a file of certificates."""
    authority = tmp_path / "ca.pem"
    authority.write_text("PEM", "utf-8")

    def look(place, environ):
        url, given = f"postgresql://u:canary@{place}".replace("=CA", f"={authority}"), {"HOME": str(tmp_path)}
        for name, value in environ.items():
            given[name] = str(authority) if value == "CA" else value
        return unprotected(DatabaseSettings(Secret(url), given), given)

    return look


@pytest.mark.parametrize(
    ("place", "environ", "words"),
    [
        # The mode, from the URL or the environment.
        ("db.shop.vn/d", {}, PLAIN),
        ("db.shop.vn/d?sslmode=disable", {}, NONE),
        ("db.shop.vn/d?sslmode=allow", {}, PLAIN),
        ("db.shop.vn/d?sslmode=prefer", {}, PLAIN),
        ("db.shop.vn/d", {"PGSSLROOTCERT": "CA"}, PLAIN),
        ("db.shop.vn/d?sslmode=require", {}, UNCHECKED),
        ("db.shop.vn/d?sslmode=no-verify", {}, UNCHECKED),
        ("db.shop.vn/d?sslcert=CA&sslaccept=accept_invalid_certs", {}, UNCHECKED),
        ("db.shop.vn/d", {"PGSSLMODE": "require"}, UNCHECKED),
        ("db.shop.vn/d", {"PGSSLMODE": "require", "PGSSLROOTCERT": "CA"}, None),
        ("db.shop.vn/d", {"PGSSLMODE": "require", "HOME": "x" * 300}, UNCHECKED),
        ("db.shop.vn/d", {"PGSSLMODE": "verify-ca"}, None),
        ("db.shop.vn/d", {"PGSSLMODE": "verify-full"}, None),
        ("db.shop.vn/d?sslmode=prefer", {"PGSSLMODE": "verify-full"}, None),
        ("db.shop.vn/d?sslmode=verify-full", {}, None),
        ("db.shop.vn/d?sslcert=CA", {}, None),
        ("db.shop.vn/d?sslaccept=strict", {}, None),
        ("db.shop.vn/d?sslrootcert=system", {}, None),
        # Kerberos encrypts the connection and proves who the server is.
        ("db.shop.vn/d?gssencmode=require", {}, None),
        ("db.shop.vn/d", {"PGGSSENCMODE": "require"}, None),
        ("db.shop.vn/d", {"PGGSSENCMODE": "prefer"}, PLAIN),
        # The server. One remote server of several is enough.
        ("localhost/d", {}, None),
        ("127.0.0.1:6432/d", {}, None),
        ("[::1]/d", {}, None),
        ("localhost/d?host=/var/run/postgresql", {}, None),
        ("localhost/d?host=localhost,db.shop.vn", {}, PLAIN),
        ("localhost/d?hostaddr=10.0.0.5", {}, PLAIN),
        ("10.0.0.5/d", {}, PLAIN),
        # The environment.
        ("db.shop.vn/d", {"ENVIRONMENT": "staging"}, PLAIN),
        ("db.shop.vn/d", {"ENVIRONMENT": "ProdEu"}, PLAIN),
        ("db.shop.vn/d", {"ENVIRONMENT": "dev"}, None),
        ("db.shop.vn/d", {"ENVIRONMENT": "local"}, None),
        ("db.shop.vn/d", {"ENVIRONMENT": "test"}, None),
    ],
)
def test_a_connection_outside_development_must_check_its_server(weakness, place, environ, words):
    """Outside development, a connection to another machine is unprotected unless payctl checks the certificate.

    The text names the server, and contains no secret.
    """
    found = weakness(place, {"ENVIRONMENT": "prod", **environ})
    assert (found is None) == (words is None)
    assert found is None or (words in found and "canary" not in found)


def test_the_default_environment_needs_no_protection(weakness):
    """If ENVIRONMENT is not set, the environment is dev, so a developer's connection is accepted."""
    assert weakness("db.shop.vn/d", {}) is None


@pytest.mark.parametrize(("mode", "words"), [("prefer", PLAIN), ("require", None)])
def test_libpq_s_default_file_of_certificates_counts(weakness, tmp_path, mode, words):
    """If libpq's default file of certificates exists, libpq checks the server in the mode `require`."""
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").write_text("PEM", "utf-8")
    found = weakness("db.shop.vn/d", {"ENVIRONMENT": "prod", "PGSSLMODE": mode})
    assert found is None if words is None else words in found
