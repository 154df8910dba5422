r"""Generate a Debezium configuration that creates nearly the same messages as payctl.

The topic, key, partition, value bytes and most headers are the same. The headers for the correlation id, the
traceparent and the replay run are missing, because Debezium does not read payctl's own tables. The ``eventVersion``
header is missing, because Kafka Connect reads ``1.0`` as a number and would write ``1``.

Debezium's outbox router builds the topic's name from the last part of the event's type, such as ``COMPLETED`` in
``PAYMENT_COMPLETED``. Kafka Connect transforms cannot convert text to lower case, so each known last part has its own
router. An event of an unknown type goes to ``payment.unroutable``, which no consumer reads. See
https://debezium.io/documentation/reference/stable/transformations/outbox-event-router.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ticketbottle_payctl.domain.event import SOURCE, TOPICS
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.outbox.debezium_names import (
    HEARTBEAT_MESSAGE,
    HEARTBEATS,
    PUBLICATION,
    ROLE,
    SLOT,
    TOPIC_PREFIX,
    UNROUTABLE,
)

PASSWORD = "${file:/etc/payctl/cdc.properties:password}"  # noqa: S105 - a placeholder, not a password
_PLACEHOLDER = re.compile(r"\$\{[^:}\s]+:[^}\s]+\}")
_ROLE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_STRING = "org.apache.kafka.connect.storage.StringConverter"
_ROUTER = "org.apache.kafka.connect.transforms.RegexRouter"
_HEADER = "org.apache.kafka.connect.transforms.InsertHeader"
_HEADERS = ("id:header:eventId", "eventType:header:eventType", "aggregateType:header:aggregateType")


@dataclass(frozen=True, slots=True)
class CdcConfig:
    """A Debezium configuration.

    It contains the connector's properties, the SQL that the outbox table's owner must run, and the required topics.
    """

    connector: dict[str, str]
    sql: str
    topics: tuple[str, ...]


def cdc_config(
    database: DatabaseSettings, *, role: str = ROLE, password: str = PASSWORD, server: str | None = None
) -> CdcConfig:
    """Return the configuration for the database in DATABASE_URL, without connecting to it.

    The configuration does not contain a password. ``password`` is a placeholder that Kafka Connect's config provider
    replaces. If DATABASE_URL points to a pooler, ``server`` must be the address of the database server (``host`` or
    ``host:port``), because replication does not work through a pooler.

    Raises:
        InputError: ``password`` is not a placeholder, or ``role`` or ``server`` is not a valid name.
    """
    if not _PLACEHOLDER.fullmatch(password):
        message = "the connector's password is not a Kafka Connect placeholder"
        raise InputError(message, hint=f"write '{PASSWORD}' or '${{env:PAYCTL_CDC_PASSWORD}}'")
    if not _ROLE_NAME.fullmatch(role):
        message = "the connector's role is not a plain name of at most 63 characters"
        hint = "use lower-case letters, digits and underscores; begin with a letter or an underscore"
        raise InputError(message, hint=hint)
    connector = {
        "name": "payctl-outbox",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        **_place(database, server),
        "database.user": role,
        "database.password": password,
        **_capture(database.schema),
        **_forms(),
        **_transforms(),
    }
    return CdcConfig(connector, _sql(database.schema, role), (*TOPICS.values(), UNROUTABLE, HEARTBEATS))


def as_properties(values: dict[str, str]) -> str:
    """Return the properties in the format of a Java properties file, in which backslashes are doubled."""
    return "".join("{}={}\n".format(name, value.replace("\\", "\\\\")) for name, value in values.items())


def _place(database: DatabaseSettings, server: str | None) -> dict[str, str]:
    host, port = _given(server) if server else _only_server(database)
    names = ("sslmode", "sslrootcert")
    tls = {f"database.{name}": database.parameters[name] for name in names if name in database.parameters}
    return {
        "database.hostname": host,
        "database.port": port,
        "database.dbname": database.place.database,
        **tls,
    }


def _given(server: str) -> tuple[str, str]:
    where = urlsplit(f"//{server}")
    try:
        host, port = where.hostname, where.port or 5432
    except ValueError:
        host, port = None, 0
    if not host:
        message = "--server is not a host or host:port"
        raise InputError(message)
    return host, str(port)


def _only_server(database: DatabaseSettings) -> tuple[str, str]:
    host, port = database.place.servers[0]
    if len(database.place.servers) > 1 or host.startswith(("/", "@")):
        message = "DATABASE_URL names a socket or several servers, but Debezium connects to one server over TCP"
        raise InputError(message, hint="name it: --server HOST:PORT")
    return host, port


def _capture(schema: str) -> dict[str, str]:
    """Return the properties that make Debezium read inserts after the slot's position, and write heartbeats.

    Debezium does not take a snapshot. PostgreSQL keeps the write-ahead log after the slot's position. The position
    advances only when Debezium sends a message. If programs write only to other tables, the heartbeats advance the
    position.
    """
    return {
        "topic.prefix": TOPIC_PREFIX,
        "plugin.name": "pgoutput",
        "slot.name": SLOT,
        "publication.name": PUBLICATION,
        "publication.autocreate.mode": "disabled",
        "snapshot.mode": "no_data",
        "table.include.list": f"{re.escape(schema)}.outbox",
        "poll.interval.ms": "20",
        "heartbeat.interval.ms": "10000",
        "heartbeat.action.query": f"SELECT pg_logical_emit_message(false, '{HEARTBEAT_MESSAGE}', '')",
        "message.prefix.exclude.list": HEARTBEAT_MESSAGE,
    }


def _forms() -> dict[str, str]:
    return {
        "key.converter": _STRING,
        "value.converter": _STRING,
        "header.converter": _STRING,
        "tombstones.on.delete": "false",
        "time.precision.mode": "adaptive",
        "extended.headers.enabled": "false",
    }


def _transforms() -> dict[str, str]:
    tails = [event_type.removeprefix("PAYMENT_") for event_type in TOPICS]
    steps = {
        "outbox": {
            "type": "io.debezium.transforms.outbox.EventRouter",
            "table.field.event.id": "id",
            "table.field.event.key": "aggregateId",
            "table.field.event.payload": "payload",
            "route.by.field": "eventType",
            "route.topic.regex": f"PAYMENT_(?<tail>{'|'.join(tails)})",
            "route.topic.replacement": "payment.${tail}",
            "table.fields.additional.placement": ",".join(_HEADERS),
        }
    }
    # Events of unknown types are routed first. Otherwise an event whose type equals a topic's name would go to that
    # topic.
    ours = "|".join([*(rf"payment\.{tail}" for tail in tails), HEARTBEATS.replace(".", r"\.")])
    steps["unroutable"] = {"type": _ROUTER, "regex": f"(?s)(?!(?:{ours})$).*", "replacement": UNROUTABLE}
    for tail in tails:
        topic = TOPICS[f"PAYMENT_{tail}"]
        steps[tail.lower()] = {"type": _ROUTER, "regex": rf"payment\.{tail}", "replacement": topic}
    steps["source"] = {"type": _HEADER, "header": "source", "value.literal": SOURCE}
    values = {f"transforms.{step}.{name}": value for step, own in steps.items() for name, value in own.items()}
    return {"transforms": ",".join(steps), **values}


def _sql(schema: str, role: str) -> str:
    table = f'"{schema}"."outbox"'
    return f"""\
-- As the owner of {table} or a superuser, once. SHOW wal_level must say logical.
CREATE ROLE {role} LOGIN REPLICATION;  -- on Amazon RDS: CREATE ROLE {role} LOGIN; GRANT rds_replication TO {role};
GRANT payctl_publisher TO {role};  -- for `payctl cdc cut-over`, `mark` and `cut-back`
GRANT SELECT, INSERT, UPDATE ON payctl.runs TO {role};  -- for the record of who handed the outbox over
GRANT USAGE ON SCHEMA "{schema}" TO {role};
GRANT SELECT ON {table} TO {role};
CREATE PUBLICATION {PUBLICATION} FOR TABLE {table} WITH (publish = 'insert');
-- The replication slot {SLOT} is created by `payctl cdc cut-over` during the handover.
"""
