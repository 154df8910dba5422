"""List every variable that payctl reads, with its type, default, example and meaning, and the programs that read it.

docs/reference/environment.md is generated from this list. Defaults come from the settings if possible, so that the page
and the settings always agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli.commands.config import names
from ticketbottle_payctl.formats import gateway_name
from ticketbottle_payctl.providers.queries import QUERIES
from ticketbottle_payctl.settings import Settings

WHOLE, TEXT, FLAG, URL, FILE, ARN, SECRET = "whole number", "text", "true or false", "URL", "file", "ARN", "secret"
NONE = ""
"""The ``default`` of a variable without a default. The variable is required, or a feature is off until it is set."""

CLI = "the command line"
WEBHOOK, PUBLISH, CLEANUP, WATCH, PROBE = "webhook", "publish-outbox", "cleanup", "watch-payments", "probe"
RECONCILE = "reconcile-payments"
IN_THE_VPC = (WEBHOOK, PUBLISH, CLEANUP, WATCH, RECONCILE)
BEFORE = "before-traffic"
FUNCTIONS = (*IN_THE_VPC, PROBE, BEFORE)
ALL = (CLI, *FUNCTIONS)
"""All programs that read variables: each function, and the command line, which can run in a container."""


class Variable(NamedTuple):
    """An environment variable. ``default`` is a description for people, or :data:`NONE`."""

    name: str
    kind: str
    default: str
    readers: tuple[str, ...]
    example: str
    meaning: str


class Section(NamedTuple):
    """A group of variables that belong together."""

    title: str
    introduction: str
    variables: tuple[Variable, ...]


def with_default(name: str, kind: str, readers: tuple[str, ...], example: str, meaning: str) -> Variable:
    """Return a variable whose default comes from the settings.

    Raises:
        KeyError: :data:`names.DEFAULTED` does not contain the variable.
    """
    if name not in names.DEFAULTED:
        message = f"add {name} to ticketbottle_payctl/cli/commands/config/names.py: DEFAULTED"
        raise KeyError(message)
    return Variable(name, kind, str(names.DEFAULTED[name](Settings.from_env({}))), readers, example, meaning)


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
        "If true, payctl keeps connections open. If false, it opens one for each transaction.",
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
                "The authentication methods that the server may request.",
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
        "OUTBOX_MAX_RETRIES", WHOLE, (CLI, *IN_THE_VPC), "5", "The number of failures after which an event is dead."
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
        "The largest number of payments that one scheduled run may settle. A larger plan changes nothing.",
    ),
    with_default(
        "PAYCTL_LOOP_SECONDS",
        WHOLE,
        (PUBLISH,),
        "50",
        "The number of seconds for which one tick publishes. With 0, a tick publishes the backlog once.",
    ),
)
_AWS = (
    Variable(
        "PAYCTL_ALERTS_TOPIC_ARN",
        ARN,
        NONE,
        (WEBHOOK, PUBLISH, CLEANUP),
        "arn:aws:sns:...",
        "The SNS topic for alerts to operators.",
    ),
    Variable(
        "PAYCTL_DEAD_EVENTS_QUEUE_URL",
        URL,
        NONE,
        (PUBLISH,),
        "https://sqs...",
        "The SQS queue for a message about each dead event.",
    ),
    Variable(
        "PAYCTL_PROBE_URL",
        URL,
        NONE,
        (PROBE,),
        "https://pay.example.com",
        "The address that the probe sends its forged callbacks to.",
    ),
    Variable(
        "PAYCTL_NEW_VERSION",
        ARN,
        NONE,
        (BEFORE,),
        "arn:aws:lambda:...:7",
        "The new version of the webhook, which must refuse forged callbacks.",
    ),
    Variable(
        "AWS_REGION", TEXT, NONE, ALL, "ap-southeast-1", "The region of AWS's services and of the token for Amazon MSK."
    ),
    Variable("AWS_DEFAULT_REGION", TEXT, NONE, ALL, "ap-southeast-1", "The region, if AWS_REGION is not set."),
    Variable(
        "AWS_ENDPOINT_URL",
        URL,
        NONE,
        IN_THE_VPC,
        "http://127.0.0.1:5000",
        "The address of a server that replaces AWS in tests.",
    ),
)
_OF_LAMBDA = (
    Variable("AWS_LAMBDA_FUNCTION_VERSION", TEXT, NONE, (WEBHOOK,), "7", "The version of the webhook in its metrics."),
    Variable("AWS_LAMBDA_FUNCTION_NAME", TEXT, NONE, FUNCTIONS, "payctl-prod-webhook", "The service name in spans."),
    Variable(
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        TEXT,
        NONE,
        (WEBHOOK,),
        "provisioned-concurrency",
        "The start type. With provisioned concurrency, the webhook connects before its first callback.",
    ),
    Variable(
        "AWS_XRAY_DAEMON_ADDRESS",
        "host:port",
        NONE,
        FUNCTIONS,
        "169.254.100.1:2000",
        "The address that payctl sends spans to.",
    ),
    Variable(
        "_X_AMZN_TRACE_ID",
        TEXT,
        NONE,
        (WEBHOOK,),
        "Root=1-...;Parent=...",
        "X-Ray's trace id and span id of this request.",
    ),
)
_TRACING = (
    Variable(
        "PAYCTL_TRACES",
        "off or xray-udp",
        "off",
        FUNCTIONS,
        "xray-udp",
        "Whether payctl sends its own spans; needs `make package SPANS=1`.",
    ),
    Variable("OTEL_SERVICE_NAME", TEXT, "payctl", ALL, "payctl-prod", "The service name in spans."),
    *(
        Variable(name, kind, NONE, (CLI,), example, meaning)
        for name, kind, example, meaning in (
            ("OTEL_TRACES_EXPORTER", "otlp, console or none", "otlp", "The exporter for spans; needs the otel extra."),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                URL,
                "http://127.0.0.1:4318",
                "The address that payctl sends spans to. Setting this variable turns spans on.",
            ),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", URL, "http://127.0.0.1:4318/v1/traces", "The same, for spans only."),
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "grpc or http/protobuf",
                "grpc",
                "The protocol for spans; http/protobuf by default.",
            ),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc or http/protobuf", "grpc", "The same, for spans only."),
            ("OTEL_SDK_DISABLED", FLAG, "true", "If true, payctl sends no spans, regardless of the other variables."),
        )
    ),
)
_CLI = (
    Variable("PAYCTL_PROFILE", TEXT, NONE, (CLI,), "staging", "The profile, if `-p` is not given."),
    Variable("PAYCTL_CONFIG", FILE, "~/.config/payctl/config.toml", (CLI,), "ops.toml", "The configuration file."),
    Variable(
        "PAYCTL_OUTPUT",
        "table, json, ndjson, csv or none",
        "table",
        (CLI,),
        "json",
        "The output format, if `-o` is not given.",
    ),
    Variable("PAYCTL_ACTOR", TEXT, NONE, (CLI,), "linh@example.com", "The operator's name in the record of a run."),
    *(
        Variable(
            name,
            URL,
            "the gateway's own",
            (CLI, RECONCILE),
            "http://127.0.0.1:8080",
            "The server that payctl asks instead of the gateway: a test server or your own reverse proxy.",
        )
        for name in names.ASKED_AT
    ),
    Variable("NO_COLOR", TEXT, NONE, (CLI,), "1", "Any value switches colours off."),
    Variable("TERM", TEXT, NONE, (CLI,), "dumb", "If dumb, payctl does not show colours or progress."),
    Variable(
        "HOME", "directory", NONE, (CLI,), "/home/linh", "The directory of .config, if XDG_CONFIG_HOME is not set."
    ),
    Variable(
        "XDG_CONFIG_HOME", "directory", "~/.config", (CLI,), "/etc/payctl", "The directory of payctl/config.toml."
    ),
    Variable(
        "XDG_CACHE_HOME",
        "directory",
        "~/.cache",
        (CLI,),
        "/var/cache",
        "The directory in which `payctl demo` caches PostgreSQL's files.",
    ),
)


def sections() -> Iterator[Section]:
    """Yield every variable, grouped into sections."""
    yield Section("General", "", _GENERAL)
    yield Section("Database", "If `DATABASE_URL` and a `PG` variable differ, the stricter value applies.", _DATABASE)
    yield Section("Kafka", "", _KAFKA)
    yield Section("Gateways", "A gateway is off unless all its signing values are set.", tuple(_keys()))
    yield Section("Outbox", "", _OUTBOX)
    yield Section("The functions on AWS", "The deployment template sets these variables.", _AWS)
    yield Section(
        "Secrets on AWS",
        "The functions read `X` from Secrets Manager if `X` is empty and `X_SECRET_ARN` names a secret. The secret is"
        " the value, or a JSON object with the value under `X`. The command line does not read Secrets Manager.",
        tuple(_arns()),
    )
    yield Section("Set by Lambda", "", _OF_LAMBDA)
    yield Section("Tracing", "", _TRACING)
    yield Section("The command line", "", _CLI)


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
