"""The connector that ``payctl cdc config`` describes, for a local worker that is given the password itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ticketbottle_payctl.jobs.cdc.config import cdc_config
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.outbox import debezium_names

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

UNROUTABLE: Final = debezium_names.UNROUTABLE


def create_publication(connection: Connection) -> None:
    """Publish inserts into the outbox; updates and deletes are payctl's bookkeeping, no events."""
    connection.exec_driver_sql(
        f"CREATE PUBLICATION {debezium_names.PUBLICATION} FOR TABLE outbox WITH (publish = 'insert')"
    )


def slot_is_active(connection: Connection) -> bool:
    """Whether the connector reads the log; an event inserted before that may be missed, there being no snapshot."""
    query = "SELECT bool_or(active) FROM pg_replication_slots WHERE slot_name = %s"
    return bool(connection.exec_driver_sql(query, (debezium_names.SLOT,)).scalar())


def outbox_connector(database_url: str) -> dict[str, str]:
    """The connector's properties for the outbox in the database at ``database_url``, logged in as its user."""
    parts = urlsplit(database_url)
    own = {"database.user": parts.username or "", "database.password": parts.password or ""}
    return cdc_config(DatabaseSettings(Secret(database_url))).connector | own
