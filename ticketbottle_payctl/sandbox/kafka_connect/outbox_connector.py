r"""Debezium's outbox router set up so that its messages are payctl's: topic, key, value and headers.

No transform lower-cases, hence one router for each known type; whatever else there is goes to
``payment.unroutable`` instead of to a topic that somebody reads.
See https://debezium.io/documentation/reference/stable/transformations/outbox-event-router.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

PUBLICATION: Final = "payctl_outbox"
SLOT: Final = "payctl_outbox"
UNROUTABLE: Final = "payment.unroutable"

_ROUTER: Final = "org.apache.kafka.connect.transforms.RegexRouter"
_TYPES: Final = ("COMPLETED", "FAILED", "CANCELLED")

_OUTBOX_ROUTER: Final = {
    "type": "io.debezium.transforms.outbox.EventRouter",
    "table.field.event.id": "id",
    "table.field.event.key": "aggregateId",
    "table.field.event.payload": "payload",
    "route.by.field": "eventType",
    "route.topic.regex": f"PAYMENT_(?<tail>{'|'.join(_TYPES)})",
    "route.topic.replacement": "payment.${tail}",
    "table.fields.additional.placement": (
        "id:header:eventId,eventType:header:eventType,aggregateType:header:aggregateType"
    ),
}


def create_publication(connection: Connection) -> None:
    """Publish inserts into the outbox; updates and deletes are payctl's bookkeeping, no events."""
    connection.exec_driver_sql(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE outbox WITH (publish = 'insert')")


def slot_is_active(connection: Connection) -> bool:
    """Whether the connector reads the log; an event inserted before that may be missed, there being no snapshot."""
    query = f"SELECT bool_or(active) FROM pg_replication_slots WHERE slot_name = '{SLOT}'"  # noqa: S608 - a constant
    return bool(connection.exec_driver_sql(query).scalar())


def outbox_connector(database_url: str) -> dict[str, str]:
    """The connector's properties for the outbox in the database at ``database_url``."""
    parts = urlsplit(database_url)
    return {
        "name": "payctl-outbox",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.hostname": parts.hostname or "",
        "database.port": str(parts.port or 5432),
        "database.user": parts.username or "",
        "database.password": parts.password or "",
        "database.dbname": parts.path.lstrip("/"),
        "topic.prefix": "payctl",
        "plugin.name": "pgoutput",
        "slot.name": SLOT,
        "publication.name": PUBLICATION,
        "publication.autocreate.mode": "disabled",
        "snapshot.mode": "no_data",
        "table.include.list": "public.outbox",
        "tombstones.on.delete": "false",
        "time.precision.mode": "adaptive",
        "header.converter": "org.apache.kafka.connect.storage.StringConverter",
        "heartbeat.interval.ms": "10000",
        "extended.headers.enabled": "false",
        **_transforms(),
    }


def _transforms() -> dict[str, str]:
    steps = {"outbox": _OUTBOX_ROUTER}
    for kind in _TYPES:
        name = kind.lower()
        steps[name] = {"type": _ROUTER, "regex": rf"payment\.{kind}", "replacement": f"payment.{name}"}
    steps["unroutable"] = {"type": _ROUTER, "regex": r"(?!payment\.).*", "replacement": UNROUTABLE}
    values = {f"transforms.{step}.{name}": value for step, own in steps.items() for name, value in own.items()}
    return {"transforms": ",".join(steps), **values}
