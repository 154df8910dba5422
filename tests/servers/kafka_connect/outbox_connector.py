"""Configure the connector from ``payctl cdc config`` for a local worker. The configuration contains the password."""

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
    """Create a publication of inserts into the outbox. Updates and deletes are payctl's bookkeeping and not events."""
    connection.exec_driver_sql(
        f"CREATE PUBLICATION {debezium_names.PUBLICATION} FOR TABLE outbox WITH (publish = 'insert')"
    )


def slot_is_active(connection: Connection) -> bool:
    """Return whether the connector is reading the write-ahead log.

    Without a snapshot, the connector can miss events that were inserted earlier.
    """
    query = "SELECT bool_or(active) FROM pg_replication_slots WHERE slot_name = %s"
    return bool(connection.exec_driver_sql(query, (debezium_names.SLOT,)).scalar())


def outbox_connector(database_url: str) -> dict[str, str]:
    """Return the connector's properties for the outbox in ``database_url``. The connector logs in as the URL's user."""
    parts = urlsplit(database_url)
    own = {"database.user": parts.username or "", "database.password": parts.password or ""}
    return cdc_config(DatabaseSettings(Secret(database_url))).connector | own
