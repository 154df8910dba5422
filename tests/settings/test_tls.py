"""Test libpq's TLS parameters, which payctl computes from DATABASE_URL and the environment."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings.tls import tls

CHECKED_NOT = "DATABASE_URL turns off verification of the server's certificate"


@pytest.fixture
def files(tmp_path):
    """Return a function that replaces ``CA``, ``OWN`` and ``KEY`` in values with the paths of existing files."""
    for name in ("CA", "OWN", "KEY"):
        (tmp_path / name).write_text("PEM", "utf-8")

    def put(values):
        return {
            name: str(tmp_path / value) if value in {"CA", "OWN", "KEY"} else value for name, value in values.items()
        }

    return put


@pytest.mark.parametrize(
    ("given", "environ", "found", "remark"),
    [
        ({}, {}, {}, None),
        ({"sslmode": "prefer"}, {}, {"sslmode": "prefer"}, None),
        ({"sslmode": "require"}, {}, {"sslmode": "require"}, None),
        # Prisma's sslcert is the authority's certificate. A certificate that is named is always used.
        ({"sslcert": "CA"}, {}, {"sslmode": "verify-ca", "sslrootcert": "CA"}, None),
        ({"sslcert": "CA", "sslmode": "prefer"}, {}, {"sslmode": "verify-ca", "sslrootcert": "CA"}, None),
        ({"sslcert": "CA", "sslmode": "require"}, {}, {"sslmode": "verify-ca", "sslrootcert": "CA"}, None),
        ({"sslcert": "CA", "sslaccept": "strict"}, {}, {"sslmode": "verify-full", "sslrootcert": "CA"}, None),
        ({"sslrootcert": "CA"}, {}, {"sslmode": "verify-ca", "sslrootcert": "CA"}, None),
        ({"sslrootcert": "CA", "sslmode": "verify-full"}, {}, {"sslmode": "verify-full", "sslrootcert": "CA"}, None),
        ({"sslrootcert": "system"}, {}, {"sslmode": "verify-full", "sslrootcert": "system"}, None),
        # libpq's sslcert is the client's own certificate and comes with a key or an authority.
        ({"sslcert": "OWN", "sslkey": "KEY"}, {}, {"sslmode": "require", "sslcert": "OWN", "sslkey": "KEY"}, None),
        (
            {"sslcert": "OWN", "sslkey": "KEY", "sslrootcert": "CA"},
            {},
            {"sslmode": "verify-ca", "sslcert": "OWN", "sslkey": "KEY", "sslrootcert": "CA"},
            None,
        ),
        # A note says that the certificate is not checked.
        ({"sslmode": "no-verify"}, {}, {"sslmode": "require"}, CHECKED_NOT),
        ({"sslmode": "require", "sslaccept": "accept_invalid_certs"}, {}, {"sslmode": "require"}, CHECKED_NOT),
        ({"sslcert": "CA", "sslaccept": "accept_invalid_certs"}, {}, {"sslmode": "require"}, CHECKED_NOT),
        ({"sslmode": "verify-ca", "sslaccept": "accept_invalid_certs"}, {}, {"sslmode": "verify-ca"}, None),
        (
            {"sslaccept": "Strict", "sslcert": "CA"},
            {},
            {"sslmode": "verify-full", "sslrootcert": "CA"},
            "treats it as strict",
        ),
        ({"ssl": "true"}, {}, {"sslmode": "require"}, None),
        ({"ssl": "false"}, {}, {}, None),
        ({"requiressl": "1"}, {}, {"sslmode": "require"}, None),
        # The stricter of the two settings in the URL and the environment is used.
        ({}, {"PGSSLMODE": "verify-full"}, {"sslmode": "verify-full"}, None),
        ({"sslmode": "disable"}, {"PGSSLMODE": "verify-full"}, {"sslmode": "verify-full"}, None),
        ({"sslmode": "no-verify"}, {"PGSSLMODE": "verify-full"}, {"sslmode": "verify-full"}, None),
        ({"sslmode": "verify-full"}, {"PGSSLMODE": "prefer"}, {"sslmode": "verify-full"}, None),
        ({"sslmode": "prefer"}, {"PGREQUIRESSL": "1"}, {"sslmode": "require"}, None),
        (
            {"sslcert": "CA"},
            {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/theirs"},
            {"sslmode": "verify-full", "sslrootcert": "/theirs"},
            "PGSSLROOTCERT is set",
        ),
        (
            {"sslmode": "no-verify"},
            {"PGSSLROOTCERT": "/theirs"},
            {"sslmode": "require", "sslrootcert": "/theirs"},
            None,
        ),
        (
            {"sslmode": "require"},
            {"PGSSLROOTCERT": "system"},
            {"sslmode": "verify-full", "sslrootcert": "system"},
            None,
        ),
        (
            {"sslcert": "CA", "sslaccept": "accept_invalid_certs"},
            {"PGSSLMODE": "verify-ca"},
            {"sslmode": "verify-ca", "sslrootcert": "CA"},
            None,
        ),
        ({"channel_binding": "disable"}, {"PGCHANNELBINDING": "require"}, {"channel_binding": "require"}, None),
        ({"channel_binding": "require"}, {"PGCHANNELBINDING": "prefer"}, {"channel_binding": "require"}, None),
        (
            {"ssl_min_protocol_version": "TLSv1"},
            {"PGSSLMINPROTOCOLVERSION": "TLSv1.3"},
            {"ssl_min_protocol_version": "TLSv1.3"},
            None,
        ),
        ({"require_auth": "none"}, {"PGREQUIREAUTH": "scram-sha-256"}, {"require_auth": "scram-sha-256"}, None),
        ({"require_auth": "scram-sha-256"}, {}, {"require_auth": "scram-sha-256"}, None),
    ],
)
def test_the_stricter_tls_setting_of_url_and_environment_is_used(given, environ, found, remark, files):
    """The stricter of the two TLS settings in the URL and the environment applies.

    Prisma's values are translated to libpq's values, and a named certificate is always used.
    """
    made = tls(files(given), environ)
    assert made.parameters == files(found)
    assert (len(made.remarks), remark is None or remark in made.remarks[0]) == (0 if remark is None else 1, True)


def test_strict_without_a_certificate_uses_the_machine_s_authorities():
    """With sslaccept=strict and no certificate, payctl trusts the machine's authorities and checks the host name."""
    found = tls({"sslaccept": "strict"}, {}).parameters
    assert found["sslmode"] == "verify-full"
    assert found["sslrootcert"]


@pytest.mark.parametrize(
    ("given", "environ", "words"),
    [
        ({"sslmode": "canary"}, {}, "sslmode parameter of DATABASE_URL is not one of disable, allow"),
        ({"sslmode": "no_verify"}, {}, "sslmode parameter"),
        ({}, {"PGSSLMODE": "canary"}, "PGSSLMODE is not one of"),
        ({"channel_binding": "canary"}, {}, "channel_binding parameter"),
        ({"ssl_min_protocol_version": "canary"}, {}, "ssl_min_protocol_version parameter"),
        ({"channel_binding": "prefer"}, {"PGCHANNELBINDING": "canary"}, "PGCHANNELBINDING is not one of"),
        ({"sslidentity": "canary.p12"}, {}, "libpq cannot read PKCS#12 files"),
        ({"sslpassword": "canary"}, {}, "libpq cannot read PKCS#12 files"),
        ({"sslcert": "/canary"}, {}, "the file that DATABASE_URL names as sslcert or sslrootcert does not exist"),
        ({"sslrootcert": "/canary"}, {}, "does not exist"),
        ({"sslcert": "/canary", "sslkey": "KEY"}, {}, "the file that DATABASE_URL names as sslcert does not exist"),
        ({"sslcert": "OWN", "sslkey": "/canary"}, {}, "the file that DATABASE_URL names as sslkey does not exist"),
        ({"sslcert": "/"}, {}, "is not a regular file"),
        ({"sslcert": "/" + "x" * 300}, {}, "cannot be read"),
        ({"sslrootcert": "/" + "x" * 5000}, {}, "cannot be read"),
        ({"sslmode": "disable", "sslcert": "CA"}, {}, "sslmode=disable, but also a certificate"),
        ({"sslmode": "disable", "sslaccept": "strict"}, {}, "sslmode=disable, but also a certificate or sslaccept"),
    ],
)
def test_an_impossible_tls_setting_is_a_config_error(given, environ, words, files):
    """An impossible TLS setting raises ConfigError, which names the setting and the reason but not the value."""
    with pytest.raises(ConfigError) as error:
        tls(files(given), environ)
    assert words in error.value.message
    assert "canary" not in f"{error.value.message} {error.value.hint}"
