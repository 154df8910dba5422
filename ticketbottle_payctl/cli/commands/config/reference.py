"""List every variable that payctl reads, with its type, default, example, meaning, and the programs that read it.

docs/reference/environment.md is generated from this list. Defaults come from the settings if possible, so that the page
and the settings always agree.
"""

from __future__ import annotations

from collections.abc import Iterator

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli.commands.config import names
from ticketbottle_payctl.cli.commands.config.variable import (
    ALL,
    ARN,
    CLEANUP,
    CLI,
    FILE,
    FLAG,
    IN_THE_VPC,
    NONE,
    PUBLISH,
    RECONCILE,
    SECRET,
    TEXT,
    WEBHOOK,
    WHOLE,
    Section,
    Variable,
    with_default,
)
from ticketbottle_payctl.cli.commands.config.variables_of_cli import COMMAND_LINE
from ticketbottle_payctl.cli.commands.config.variables_on_aws import AWS, OF_LAMBDA, TRACING
from ticketbottle_payctl.formats import gateway_name
from ticketbottle_payctl.providers.queries import QUERIES

_GENERAL = (
    with_default(
        "ENVIRONMENT",
        TEXT,
        ALL,
        "prod",
        "The name of the environment. With names such as prod or production, payctl refuses test commands.",
    ),
    with_default(
        "LOG_LEVEL",
        "debug, info, warn or error",
        ALL,
        "info",
        "The lowest level that payctl logs. On the command line, the default is warn, and a setting can only lower it.",
    ),
    Variable("TZ", "time zone", "the machine's", (CLI,), "Asia/Ho_Chi_Minh", "The time zone for times in results."),
)
_DATABASE = (
    Variable(
        "DATABASE_URL",
        SECRET,
        NONE,
        (CLI, *IN_THE_VPC),
        "postgresql://payctl_operator:...@db.example:5432/payments",
        "The database's URL, in Prisma's format. See [database-url.md](../how-to/database-url.md).",
    ),
    Variable(
        "PAYCTL_DB_POOL",
        FLAG,
        "true",
        (CLI, *IN_THE_VPC),
        "false",
        "If true, payctl keeps connections open. If false, payctl opens a connection for each transaction.",
    ),
    Variable(
        "PGSSLMODE",
        "libpq's sslmode",
        NONE,
        (CLI, *IN_THE_VPC),
        "verify-full",
        "The minimum level of TLS and certificate checking.",
    ),
    Variable(
        "PGSSLROOTCERT", FILE, NONE, (CLI, *IN_THE_VPC), "/opt/payctl-ca.pem", "The trusted certificate authorities."
    ),
    *(
        Variable(name, kind, NONE, (CLI, *IN_THE_VPC), example, meaning)
        for name, kind, example, meaning in (
            ("PGSSLCERT", FILE, "/opt/payctl.crt", "The client's certificate."),
            ("PGSSLKEY", FILE, "/opt/payctl.key", "The client's key."),
            ("PGREQUIRESSL", "1", "1", "The same as PGSSLMODE=require."),
            (
                "PGSSLMINPROTOCOLVERSION",
                "TLS version",
                "TLSv1.3",
                "The minimum version of TLS. If DATABASE_URL sets a version too, the higher version applies.",
            ),
            (
                "PGCHANNELBINDING",
                "disable, prefer or require",
                "require",
                "Whether the login is bound to the TLS connection.",
            ),
            ("PGGSSENCMODE", "disable, prefer or require", "disable", "Encryption by GSSAPI."),
            (
                "PGREQUIREAUTH",
                "libpq's require_auth",
                "scram-sha-256",
                "The authentication methods that the server is allowed to request.",
            ),
            (
                "PGREQUIREPEER",
                TEXT,
                "postgres",
                "The required owner of the server process, for a connection through a socket.",
            ),
            ("PGSSLCRL", FILE, "/etc/payctl/revoked.pem", "A file with revoked certificates."),
            ("PGSSLCRLDIR", "directory", "/etc/payctl/revoked", "A directory with revoked certificates."),
        )
    ),
    Variable(
        "PGAPPNAME", TEXT, "payctl", (CLI, *IN_THE_VPC), "payctl-night", "The name of the session in pg_stat_activity."
    ),
    Variable("PGCONNECT_TIMEOUT", "seconds", "3", (CLI, *IN_THE_VPC), "5", "The time limit for connecting."),
)
_KAFKA = (
    Variable(
        "KAFKA_BROKERS",
        "host:port, separated by commas",
        NONE,
        (CLI, PUBLISH),
        "b-1.example:9098,b-2.example:9098",
        "The brokers.",
    ),
    Variable("KAFKA_SSL", FLAG, "false", (CLI, PUBLISH), "true", "Whether payctl uses TLS. Always true with aws-iam."),
    Variable(
        "KAFKA_SASL_MECHANISM",
        "plain, scram-sha-256, scram-sha-512 or aws-iam",
        NONE,
        (CLI, PUBLISH),
        "aws-iam",
        "The login method. See [kafka-security.md](../how-to/kafka-security.md).",
    ),
    Variable("KAFKA_USERNAME", SECRET, NONE, (CLI, PUBLISH), "payctl", "The user for plain and scram."),
    Variable("KAFKA_PASSWORD", SECRET, NONE, (CLI, PUBLISH), "...", "The password for KAFKA_USERNAME."),
    Variable(
        "KAFKA_CA_FILE", FILE, NONE, (CLI, PUBLISH), "/opt/payctl-ca.pem", "The certificate authority of the brokers."
    ),
    Variable(
        "KAFKA_CLIENT_ID", TEXT, "payctl-ENVIRONMENT", (CLI, PUBLISH), "payctl-prod", "The client's name in Kafka."
    ),
)
_OUTBOX = (
    with_default("OUTBOX_BATCH_SIZE", WHOLE, (CLI, PUBLISH), "1000", "The number of events in a batch."),
    with_default(
        "OUTBOX_MAX_RETRIES",
        WHOLE,
        (CLI, *IN_THE_VPC),
        "5",
        "The number of failures after which an event is dead."
        " A larger value makes dead events with fewer failures pending again, including superseded events.",
    ),
    with_default(
        "OUTBOX_RETENTION_DAYS",
        WHOLE,
        (CLI, CLEANUP),
        "30",
        "The number of days after which the cleanup deletes published events.",
    ),
    with_default(
        "PAYCTL_SHARDS", WHOLE, (CLI, PUBLISH), "4", "The number of shards. All publishers need the same number."
    ),
    with_default(
        "PAYCTL_RECONCILE_MAX_PAYMENTS",
        WHOLE,
        (RECONCILE,),
        "200",
        "The maximum number of payments that one scheduled run can settle. A run with a larger plan settles nothing.",
    ),
    with_default(
        "PAYCTL_LOOP_SECONDS",
        WHOLE,
        (PUBLISH,),
        "50",
        "The number of seconds for which one tick publishes. With 0, a tick publishes the backlog once.",
    ),
)


def sections() -> Iterator[Section]:
    """Yield every variable, grouped into sections."""
    yield Section("General", "", _GENERAL)
    yield Section("Database", "If `DATABASE_URL` and a `PG` variable differ, the stricter value applies.", _DATABASE)
    yield Section("Kafka", "", _KAFKA)
    yield Section("Gateways", "A gateway is off unless all its signing values are set.", tuple(_keys()))
    yield Section("Outbox", "", _OUTBOX)
    yield Section("The functions on AWS", "The deployment template sets these variables.", AWS)
    yield Section(
        "Secrets on AWS",
        "The functions read `X` from Secrets Manager if `X` is empty and `X_SECRET_ARN` names a secret. The secret is"
        " the value, or a JSON object with the value under `X`. The command line does not read from Secrets Manager.",
        tuple(_arns()),
    )
    yield Section("Set by Lambda", "", OF_LAMBDA)
    yield Section("Tracing", "", TRACING)
    yield Section("The command line", "", COMMAND_LINE)


def _keys() -> Iterator[Variable]:
    for gateway in providers.GATEWAYS.values():
        for field in gateway.fields:
            asks = field.name in QUERIES[gateway.name].needs
            readers = (CLI, *[WEBHOOK] * field.signs_callbacks, *[RECONCILE] * asks)
            use = "to check callbacks" if field.signs_callbacks else "only for querying the gateway about a payment"
            yield Variable(
                field.env, SECRET, NONE, readers, "...", f"{gateway_name(gateway.name)}'s {field.name}, {use}."
            )
            before = "The value from before a rotation" + ("; both are tried." if field.signs_callbacks else ".")
            yield Variable(f"{field.env}{names.PREVIOUS}", SECRET, NONE, readers, "...", before)


def _arns() -> Iterator[Variable]:
    known = {one.name: one for one in (*_DATABASE, *_KAFKA, *_keys())}
    for name in names.ARNS:
        of = known[name.removesuffix(names.SECRET_ARN)]
        readers = tuple(reader for reader in of.readers if reader != CLI)
        if readers:
            yield Variable(
                name,
                ARN,
                NONE,
                readers,
                "arn:aws:secretsmanager:...-AbCdEf",
                f"The ARN of the secret that contains {of.name}.",
            )
