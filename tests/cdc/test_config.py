"""Test that `payctl cdc config` prints the right properties and SQL for Debezium, and never a password."""

import json

import pytest
from typer.testing import CliRunner

from ticketbottle_payctl.cli.app.main import app
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.jobs.cdc.config import PASSWORD, as_properties, cdc_config
from ticketbottle_payctl.settings import Settings

CANARY = "canary-password"  # pragma: allowlist secret
URL = f"postgresql://payments:{CANARY}@pooler.internal:6432/pay%20ments?schema=pay$ments&sslmode=verify-full"
ROUTER = "org.apache.kafka.connect.transforms.RegexRouter"
DESIGN = {
    "plugin.name": "pgoutput",
    "slot.name": "payctl_outbox",
    "publication.name": "payctl_outbox",
    "snapshot.mode": "no_data",
    "publication.autocreate.mode": "disabled",
    "tombstones.on.delete": "false",
    "time.precision.mode": "adaptive",
    "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    "value.converter": "org.apache.kafka.connect.storage.StringConverter",
    "header.converter": "org.apache.kafka.connect.storage.StringConverter",
    "heartbeat.interval.ms": "10000",
    "extended.headers.enabled": "false",
    "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
    "transforms.outbox.route.topic.regex": "PAYMENT_(?<tail>COMPLETED|FAILED|CANCELLED)",
    "transforms.outbox.route.topic.replacement": "payment.${tail}",
    "transforms.failed.type": ROUTER,
    "transforms.failed.regex": r"payment\.FAILED",
    "transforms.failed.replacement": "payment.failed",
    "transforms.unroutable.replacement": "payment.unroutable",
    "transforms.source.value.literal": "payment-service",
}


def made(url=URL, **options):
    """Return the cdc configuration for a database URL."""
    return cdc_config(Settings.from_env({"DATABASE_URL": url}).database, **options)


def test_the_connector_s_configuration_comes_from_database_url():
    """Host, port, database, schema and TLS mode come from DATABASE_URL.

    The connector has a separate role and password.
    """
    connector = made().connector
    assert connector["database.hostname"] == "pooler.internal"
    assert connector["database.port"] == "6432"
    assert connector["database.dbname"] == "pay ments"
    assert connector["database.sslmode"] == "verify-full"
    assert connector["database.user"] == "payctl_cdc"
    assert connector["database.password"] == PASSWORD
    assert connector["table.include.list"] == r"pay\$ments.outbox"
    assert connector.items() >= DESIGN.items()


@pytest.mark.parametrize(
    ("server", "place"), [("pg.internal", ("pg.internal", "5432")), ("pg.internal:5433", ("pg.internal", "5433"))]
)
def test_the_server_can_be_named_apart_from_database_url(server, place):
    """`--server` specifies a server that supports replication if DATABASE_URL points to a pooler."""
    connector = made(server=server).connector
    assert (connector["database.hostname"], connector["database.port"]) == place


@pytest.mark.parametrize("query", ["host=/var/run/postgresql", "host=a,b"])
def test_a_url_with_a_socket_or_a_list_needs_the_option_server(query):
    """Debezium connects to one server over TCP, so a URL with a socket or several hosts needs `--server`."""
    with pytest.raises(InputError, match="Debezium connects to one"):
        made(f"postgresql://u:p@localhost/d?{query}")
    assert made(f"postgresql://u:p@localhost/d?{query}", server="db:1").connector["database.hostname"] == "db"


@pytest.mark.parametrize("password", ["hunter2", "", "${tail}", "${file:/a b:c}", "x${file:/a:b}"])
def test_a_plain_password_is_refused(password):
    """`payctl cdc config` accepts only a placeholder as the password. The error does not show the given value."""
    with pytest.raises(InputError) as raised:
        made(password=password)
    assert not password or password not in raised.value.message


@pytest.mark.parametrize("options", [{"role": 'x"; DROP'}, {"role": "Payctl"}, {"server": "h:port"}])
def test_an_invalid_role_or_server_name_is_refused(options):
    """`payctl cdc config` checks each value that it writes into SQL or properties."""
    with pytest.raises(InputError):
        made(**options)


def test_printed_properties_are_read_back_unchanged(properties):
    """A Java properties parser reads the original values back from the printed properties."""
    connector = made().connector
    assert properties(as_properties(connector)) == connector


@pytest.mark.parametrize("form", ["table", "json"])
def test_cdc_config_prints_properties_or_json(form, properties):
    """The printed properties include SQL and topics as comments. The JSON document has the same content.

    Neither output contains a password.
    """
    result = CliRunner().invoke(app, ["cdc", "config", "-o", form], env={"DATABASE_URL": URL})
    assert result.exit_code == 0
    assert CANARY not in result.stdout + result.stderr
    if form == "json":
        document = json.loads(result.stdout)["result"]
        assert document == {"connector": made().connector, "sql": made().sql, "topics": list(made().topics)}
    else:
        assert properties(result.stdout) == made().connector
        assert all(f"# {line}" in result.stdout for line in made().sql.splitlines())


def test_cdc_config_can_print_only_the_sql():
    """``payctl cdc config --sql`` prints only the SQL."""
    result = CliRunner().invoke(app, ["cdc", "config", "--sql", "--role", "debezium"], env={"DATABASE_URL": URL})
    assert result.stdout == made(role="debezium").sql
