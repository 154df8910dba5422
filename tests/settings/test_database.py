"""Test that the connection settings correctly pass on, translate, ignore or refuse each DATABASE_URL parameter."""

from __future__ import annotations

import pytest
from psycopg2.extensions import parse_dsn

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings, tls
from ticketbottle_payctl.settings.database import LIBPQ, PRISMA

WHERE = {"host": "h", "hostaddr": "", "port": "5432", "dbname": "d", "user": "u"}


def made(query, **environ):
    """Return the database settings for a URL with these parameters."""
    return DatabaseSettings(Secret(f"postgresql://u:p@h/d?{query}"), environ)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connect_timeout", "10"),
        ("keepalives_idle", "60"),
        ("tcp_user_timeout", "0"),
        ("application_name", "me@desk"),
        ("options", "-c search_path=shop -c work_mem=4MB"),
        ("target_session_attrs", "read-write"),
        ("load_balance_hosts", "random"),
        ("passfile", "/run/passfile"),
    ],
)
def test_libpq_parameters_are_passed_on_unchanged(name, value):
    """The database settings contain libpq's parameters unchanged, without a note."""
    settings = made(f"{name}={value.replace(' ', '%20')}")
    assert settings.parameters == {**WHERE, name: value}
    assert settings.remarks == ()


def test_every_listed_parameter_exists_in_libpq():
    """The driver's libpq accepts each parameter name in payctl's lists."""
    for name in sorted(LIBPQ | tls.NAMES - {"sslaccept", "sslidentity", "ssl", "requiressl"}):
        assert parse_dsn(f"{name}=1") == {name: "1"}


@pytest.mark.parametrize("name", sorted(PRISMA))
def test_prisma_parameters_are_left_out(name):
    """Parameters for Prisma's pool and driver are ignored without a note."""
    settings = made(f"{name}=1")
    assert (settings.parameters, settings.remarks) == (WHERE, ())


@pytest.mark.parametrize(
    ("query", "remark"),
    [
        ("supa=base-pooler.x", "parameter supa of DATABASE_URL is ignored"),
        ("Connect_Timeout=5", "parameter Connect_Timeout of DATABASE_URL is ignored"),
        ("a%20b=canary", "a parameter with an invalid name of DATABASE_URL is ignored"),
        ("client_encoding=latin1", "payctl always uses UTF8"),
        ("replication=database", "payctl opens its own replication connection"),
    ],
)
def test_an_unknown_parameter_is_ignored_with_a_remark(query, remark):
    """An unknown parameter is ignored, as in Prisma. The note about it does not show the parameter's value."""
    settings = made(query)
    assert settings.parameters == WHERE
    assert (len(settings.remarks), remark in settings.remarks[0]) == (1, True)
    assert "canary" not in settings.remarks[0]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("connect_timeout=soon", "connect_timeout"),
        ("keepalives=1.5", "keepalives"),
        ("tcp_user_timeout=", "tcp_user_timeout"),
        ("target_session_attrs=canary", "target_session_attrs"),
        ("schema=a%20canary", "schema"),
        ("schema=a;canary", "schema"),
    ],
)
def test_a_wrong_parameter_value_is_a_config_error(query, name):
    """The error for an invalid DATABASE_URL parameter names the parameter but does not show its value."""
    with pytest.raises(ConfigError, match=f"the {name} parameter of DATABASE_URL") as error:
        made(query)
    assert "canary" not in error.value.message


@pytest.mark.parametrize(
    ("url", "parameters"),
    [
        ("postgresql://u:p@h:1/d", {**WHERE, "port": "1"}),
        ("postgresql://h/d", {name: value for name, value in WHERE.items() if name != "user"}),
        ("postgresql://u:p@h/x?dbname=d&port=2", {**WHERE, "port": "2"}),
        ("postgresql://x:y@h/d?user=u&password=p", WHERE),
        ("postgresql://u@h/d?hostaddr=10.0.0.1", {**WHERE, "hostaddr": "10.0.0.1"}),
        ("postgresql://u@x/d?host=a,b&port=1,", {**WHERE, "host": "a,b", "port": "1,5432"}),
        ("postgresql://u@/d?host=/run", None),
        ("postgresql://u@localhost/d?host=/run", {**WHERE, "host": "/run"}),
    ],
)
def test_the_connection_parameters_are_always_complete(url, parameters):
    """The host, address, port and database are always set for libpq, so PGHOST and similar variables have no effect."""
    if parameters is None:
        with pytest.raises(ConfigError):
            DatabaseSettings(Secret(url))
        return
    assert DatabaseSettings(Secret(url)).parameters == parameters


def test_passwords_are_stored_as_secrets(tmp_path):
    """The repr of the settings shows neither the user's password nor the key file's password."""
    key = tmp_path / "key.pem"
    key.write_text("PEM", "utf-8")
    settings = DatabaseSettings(Secret(f"postgresql://u:canary@h/d?sslkey={key}&sslpassword=canary"))
    assert settings.secrets == {"password": Secret("canary"), "sslpassword": Secret("canary")}
    assert "canary" not in repr(settings)
